package top

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"sluice/actors/node/observe/status"
)

// Frame is the area in which a Snapshot is drawn with characters.
type Frame struct {
	Width, Height int  // of the terminal, in characters: at least 60 wide; Height 0 means any number of lines
	Color         bool // use the colours of the terminal
}

const (
	leastWidth  = 60
	plotRows    = 8
	stagesWidth = 51 // of the table of stages
	shardsWidth = 60 // of the table of shards with all its columns
	gap         = 3  // of the two when they stand side by side
)

// WriteFrame draws a snapshot, which needs points for the plot and the rates. Lines are cut to the
// width, or to 60 characters if it is less. In a frame that is too low for all blocks below each other, the
// plot is lower and the tables are side by side.
func WriteFrame(w io.Writer, s *status.Snapshot, f Frame) error {
	p := &painter{Frame: f, s: s}
	p.Width = max(p.Width, leastWidth)
	if n := len(s.Points); n > 0 {
		p.now = s.Points[n-1]
	}
	lines := p.tall()
	if f.Height > 0 && len(lines) > f.Height {
		lines = p.low()
		lines = lines[:min(len(lines), f.Height)]
	}
	var b bytes.Buffer
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// painter makes the lines of a frame.
type painter struct {
	Frame
	s     *status.Snapshot
	now   status.Point
	lines []string // lines of the current block
}

// block returns the lines that draw adds.
func (p *painter) block(draw func()) []string {
	p.lines = nil
	draw()
	return p.lines
}

// tall has all blocks below each other.
func (p *painter) tall() (all []string) {
	all = append(p.block(p.head), "")
	for _, b := range [][]string{
		p.block(p.flow), p.block(func() { p.plot(plotRows, true) }), p.block(p.stages),
		p.block(func() { p.shards(true) }), p.block(func() { p.topics(len(p.s.Busiest)) }),
		p.block(func() { p.clients(len(p.s.Slow), len(p.s.Ended)) }),
	} {
		if len(b) > 0 {
			all = append(append(all, b...), "")
		}
	}
	return all[:len(all)-1]
}

// low fits all blocks into the height: the tables are side by side, and the plot gets the rest.
func (p *painter) low() []string {
	top := append(p.block(p.head), p.block(p.flow)...)
	stages, clients := p.block(p.stages), p.block(func() { p.clients(3, 1) })
	shards := p.block(func() { p.shards(p.Width >= stagesWidth+gap+shardsWidth) })
	left := p.Height - len(top) - len(clients)
	if most := max(len(stages), left-3); len(shards) > most { // a plot needs 3 lines
		shards = append(shards[:most-1],
			fmt.Sprintf("  ... %s", count(len(shards)-most+1, "more shard")))
	}
	tables := p.beside(stages, shards)
	left -= len(tables)
	topics := p.block(func() { p.topics(min(left/2-2, 4)) }) // the plot gets at least half of what is left
	topics = topics[:max(min(left, len(topics)), 0)]
	left -= len(topics)
	all := top
	if left >= 3 {
		all = append(all, p.block(func() { p.plot(min(left-1, plotRows+plotRows/2), false) })...)
	}
	return append(append(append(all, tables...), topics...), clients...)
}

// beside puts the table of shards to the right of the table of stages.
func (p *painter) beside(stages, shards []string) []string {
	return p.block(func() {
		for i := range max(len(stages), len(shards)) {
			var l, r string
			if i < len(stages) {
				l = stages[i]
			}
			if i < len(shards) {
				r = shards[i]
			}
			p.line(l + strings.Repeat(" ", max(stagesWidth-columns(l), 0)+gap) + r)
		}
	})
}

// Colours, as parameters of SGR.
const (
	bold = "1"
	soft = "2"
	red  = "31"
	good = "32"
	gold = "33"
	blue = "34"
)

func (p *painter) paint(text string, how ...string) string {
	if !p.Color || text == "" || len(how) == 0 {
		return text
	}
	return "\x1b[" + strings.Join(how, ";") + "m" + text + "\x1b[0m"
}

// columns is the width of a text; escape sequences have none.
func columns(text string) (n int) {
	escaped := false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escaped = true
		case escaped:
			escaped = r != 'm'
		default:
			n++
		}
	}
	return n
}

// line adds a line, cut to the width.
func (p *painter) line(text string) {
	width, escaped := 0, false
	for i, r := range text {
		switch {
		case r == '\x1b':
			escaped = true
		case escaped:
			escaped = r != 'm'
		default:
			if width++; width > p.Width {
				text = text[:i]
				if p.Color {
					text += "\x1b[0m"
				}
				p.lines = append(p.lines, text)
				return
			}
		}
	}
	p.lines = append(p.lines, strings.TrimRight(text, " "))
}

// wrap adds a text of words, in at most the given number of lines.
func (p *painter) wrap(text string, lines int, how ...string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if lines > 1 && line != "" && columns(line)+1+columns(word) > p.Width {
			p.line(p.paint(line, how...))
			line, lines = " ", lines-1
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.line(p.paint(line, how...))
}

func (p *painter) head() {
	s, state, how := p.s, p.s.State, good
	switch {
	case s.State == status.StateReady && s.Gate.Wedged:
		state, how = "GATE SHUT for "+seconds(s.Gate.Seconds), red
	case s.State == status.StateReady && len(s.Stalled) > 0:
		state, how = "STALLED", red
	case s.State == status.StateReady && s.Degraded:
		state, how = "DEGRADED", gold
	case s.State != status.StateReady:
		how = gold
	}
	engine := s.Engine
	if s.Fallback {
		engine += " (fallback)"
	}
	policy := s.Policy
	if s.PolicyName != "" {
		policy = s.PolicyName
	}
	p.line(fmt.Sprintf("%s  %s  clients %s  event %s  up %s  engine %s  policy %s",
		p.paint("sluice", bold), p.paint(state, bold, how),
		whole(float64(s.Clients)), whole(float64(s.Sequenced)), seconds(s.Up), engine, policy))
	p.members()
}

// flow is the rate of each stage, and the queues between them.
func (p *painter) flow() {
	s, q := p.s, p.s.Queues
	const column = 13
	row := func(cells ...string) {
		var b strings.Builder
		for _, c := range cells {
			b.WriteString(c + strings.Repeat(" ", max(1, column-columns(c))))
		}
		p.line(b.String())
	}
	waits := func(q status.Queue, text string) string {
		if 5*q.Depth > 4*q.Cap {
			return "  " + p.paint(text, bold, red)
		}
		return "  " + text
	}
	row("readers", "> sequencer", "> gate", "> encoder", "> egress", "> sockets")
	row(rate(p.now.Requests)+"/s", "  "+rate(p.now.Events)+"/s", "  "+rate(p.now.Released)+"/s",
		"  "+rate(p.now.Encoded)+"/s", "  "+rate(p.now.Responses)+"/s",
		"  "+size(p.now.Bytes)+"/s")
	row("waiting:", waits(q.Requests, size(float64(q.Requests.Depth))),
		waits(q.Gate, whole(float64(q.Gate.Depth))), waits(q.Encode, whole(float64(q.Encode.Depth))),
		waits(q.Egress, size(float64(q.Egress.Depth))), "  "+size(float64(q.Buffered)))
	behind := ""
	if s.Sequenced > s.Persisted {
		behind = fmt.Sprintf(", %s on the way to disk", count(int(s.Sequenced-s.Persisted), "event"))
	}
	p.line(fmt.Sprintf("journal: %s syncs/s%s", rate(p.now.Commits), behind))
	for _, one := range s.Stalled[:min(len(s.Stalled), 3)] {
		p.wrap(one.String(), 1, bold, red)
	}
	switch {
	case s.Gate.Wedged:
		p.wrap("gate: shut for "+seconds(s.Gate.Seconds)+", "+s.Gate.Why, 3, bold, red)
	case s.Degraded:
		p.wrap("gate: "+s.Policy+" asks for more nodes than are in view", 2, gold)
	case s.Gate.Waiting && s.Gate.Seconds >= 0.05:
		p.wrap("gate: waits for "+seconds(s.Gate.Seconds)+", "+s.Gate.Why, 2, gold)
	default:
		p.wrap("gate: open to "+s.Policy, 2)
	}
}

// stages is the table of stages. The parts of the wait at the gate follow the gate.
func (p *painter) stages() {
	const row = "%-15s %8s %8s %8s %8s"
	p.line(p.paint(fmt.Sprintf(row, fmt.Sprintf("last %d s", p.s.Seconds), "mean", "p50", "p99",
		"p99.9"), bold))
	part := func(s status.Stage) bool { return s.Name == "journal_wait" || s.Name == "replica_wait" }
	sorted := make([]status.Stage, 0, len(p.s.Stages))
	for _, x := range p.s.Stages {
		if part(x) {
			continue
		}
		sorted = append(sorted, x)
		if x.Name == "gate" {
			sorted = append(sorted, slices.DeleteFunc(slices.Clone(p.s.Stages),
				func(s status.Stage) bool { return !part(s) })...)
		}
	}
	none := true
	for _, x := range sorted {
		name, l := x.Name, x.Latency
		if l == nil {
			continue
		}
		none = false
		if part(x) {
			name = "  " + strings.Replace(name, "_", " ", 1)
		}
		text := fmt.Sprintf(row, name, nanos(l.Mean), nanos(float64(l.P50)), nanos(float64(l.P99)),
			nanos(float64(l.P999)))
		if x.Name == "whole" {
			text = p.paint(text, bold)
		}
		p.line(text)
	}
	if none {
		p.line("no responses")
	}
}

// shards is the table of shards, with all its columns if wide.
func (p *painter) shards(wide bool) {
	title := "shard responses/s   busy"
	if wide {
		title = "shard responses/s           clients  blocked   unsent   busy"
	}
	p.line(p.paint(title, bold))
	most := 0.0
	for _, x := range p.s.Shards {
		most = max(most, x.Responses)
	}
	for _, x := range p.s.Shards {
		bar := 0
		if most > 0 {
			bar = int(math.Round(10 * x.Responses / most))
		}
		text := fmt.Sprintf("%5d  %9s  %6s", x.Shard, rate(x.Responses), percent(x.Busy))
		if wide {
			text = fmt.Sprintf("%5d  %9s %-10s %8s %8s %8s %6s", x.Shard, rate(x.Responses),
				strings.Repeat("=", bar), whole(float64(x.Clients)), whole(float64(x.Blocked)),
				size(float64(x.Buffered)), percent(x.Busy))
		}
		if x.Blocked > 0 {
			text = p.paint(text, gold)
		}
		p.line(text)
	}
}

// clients lists slow clients and the connections that ended last, at most the given numbers.
func (p *painter) clients(slow, ended int) {
	none := ""
	switch {
	case p.s.Clients == 0:
		none = "no client is connected"
	case len(p.s.Slow) == 0:
		none = "none: every client takes its responses"
	}
	if none != "" {
		p.line(p.paint("slow clients", bold) + "  " + p.paint(none, soft))
	} else {
		p.line(p.paint(fmt.Sprintf("%-22s %-7s %9s %8s %14s %6s", "slow clients", "state", "unsent",
			"blocked", "connection", "shard"), bold))
	}
	for _, c := range p.s.Slow[:min(slow, len(p.s.Slow))] {
		text := fmt.Sprintf("%-22s %-7s %9s %8s %14d %6d", short(c.From), c.State,
			size(float64(c.Unsent+c.Behind)), seconds(c.Lag), c.ID, c.Shard)
		p.line(p.paint(text, gold))
	}
	if t := p.s.Tracing; t.Left > 0 {
		p.line(fmt.Sprintf("connection %d is traced: %s left", t.Connection,
			count(int(t.Left), "response")))
	}
	var dropped []string
	for _, d := range p.s.Dropped {
		dropped = append(dropped, whole(float64(d.Count))+" "+strings.ReplaceAll(d.Reason, "_", " "))
	}
	if dropped != nil {
		p.wrap("responses dropped since start: "+strings.Join(dropped, ", "), 2)
	}
	for _, e := range p.s.Ended[:min(ended, len(p.s.Ended))] {
		p.line(fmt.Sprintf("%-22s ended %s ago, %s, %s unsent", short(e.From), seconds(e.Ago),
			strings.ReplaceAll(e.Reason, "_", " "), size(float64(e.Unsent))))
	}
}
