package live

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Frame is where a Snapshot is drawn with characters.
type Frame struct {
	Width, Height int  // of the terminal, in characters; Height 0 = as many lines as there are
	Color         bool // use the terminal's colours
}

const (
	leastWidth = 60
	plotRows   = 8
)

// WriteFrame draws a snapshot, which needs points for the plot and the rates; lines are cut to the frame.
func WriteFrame(w io.Writer, s *Snapshot, f Frame) error {
	p := &painter{Frame: f, s: s}
	p.Width = max(p.Width, leastWidth)
	if n := len(s.Points); n > 0 {
		p.now = s.Points[n-1]
	}
	p.head()
	p.flow()
	p.plot()
	p.stages()
	p.shards()
	p.clients()
	lines := p.lines
	if f.Height > 0 {
		lines = lines[:min(len(lines), f.Height)]
	}
	var b bytes.Buffer
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// painter makes the lines of a frame.
type painter struct {
	Frame
	s     *Snapshot
	now   Point
	lines []string
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
	if !p.Color || text == "" {
		return text
	}
	return "\x1b[" + strings.Join(how, ";") + "m" + text + "\x1b[0m"
}

// line adds a line, cut to the width: escape sequences take no room.
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

// title begins a block.
func (p *painter) title(text, note string) {
	p.line("")
	p.line(p.paint(text, bold) + "  " + p.paint(note, soft))
}

func (p *painter) head() {
	s, state, how := p.s, p.s.State, good
	switch {
	case s.State == "ready" && s.Gate.Wedged:
		state, how = "GATE SHUT for "+seconds(s.Gate.Seconds), red
	case s.State == "ready" && s.Degrade:
		state, how = "DEGRADED", gold
	case s.State != "ready":
		how = gold
	}
	policy := s.Policy
	if s.Alias != "" {
		policy = s.Alias
	}
	p.line(fmt.Sprintf("%s  %s  policy %s  engine %s  clients %s  event %s  up %s", p.paint("sluice", bold), p.paint(state, bold, how), policy, s.Engine,
		whole(float64(s.Clients)), whole(float64(s.Sequenced)), seconds(s.Up)))
}

// flow is the picture: what each part does, and what waits between them.
func (p *painter) flow() {
	s, q := p.s, p.s.Queues
	const column = 13
	row := func(cells ...string) {
		var b strings.Builder
		for _, c := range cells {
			b.WriteString(c + strings.Repeat(" ", max(1, column-utf8.RuneCountInString(c))))
		}
		p.line(b.String())
	}
	p.line("")
	row("readers", "> sequencer", "> gate", "> encoder", "> egress", "> sockets")
	row(rate(p.now.Requests)+"/s", "  "+rate(p.now.Events)+"/s", "  "+rate(p.now.Released)+"/s", "  "+rate(p.now.Encoded)+"/s", "  "+rate(p.now.Responses)+"/s",
		"  "+size(p.now.Bytes)+"/s")
	row("waiting:", "  "+size(float64(q.Requests.Depth)), "  "+whole(float64(q.Gate.Depth)), "  "+whole(float64(q.Encode.Depth)), "  "+size(float64(q.Egress.Depth)),
		"  "+size(float64(q.Buffered)))
	behind := ""
	if s.Sequenced > s.Persisted {
		behind = fmt.Sprintf(", %s events on the way to disk", whole(float64(s.Sequenced-s.Persisted)))
	}
	p.line(fmt.Sprintf("journal: %s syncs/s%s", rate(p.now.Commits), behind))
	switch {
	case s.Gate.Wedged:
		p.line(p.paint("gate: shut for "+seconds(s.Gate.Seconds)+", "+s.Gate.Why, bold, red))
	case s.Degrade:
		p.line(p.paint("gate: "+s.Policy+" asks for more nodes than are in view", gold))
	default:
		p.line("gate: open to " + s.Policy)
	}
}

// plot draws p50, p99 and p99.9 over the last minutes on a logarithmic axis. A column stands for the worst of its seconds.
func (p *painter) plot() {
	p.title("answer latency", "• p50  + p99  × p99.9, each second")
	const left, right = 8, 2
	columns := p.Width - left - right
	shown := kept
	for _, n := range []int{120, 60} {
		if len(p.s.Points) <= n {
			shown = n
		}
	}
	low, high := math.Inf(1), 0.0
	for _, x := range p.s.Points {
		if x.Whole != nil {
			low, high = min(low, float64(x.Whole.P50)), max(high, float64(x.Whole.P999))
		}
	}
	if high == 0 {
		p.line(fmt.Sprintf("%*sno answers in the last %d minutes", left, "", kept/60))
		return
	}
	bottom, top := math.Floor(math.Log10(max(low, 1))), math.Ceil(math.Log10(max(high, 1)*1.0001))
	grid := make([][]rune, plotRows)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", columns))
	}
	for i, x := range p.s.Points {
		if x.Whole == nil {
			continue
		}
		at := columns - 1 - (len(p.s.Points)-1-i)*columns/shown
		for _, mark := range []struct {
			ns   uint64
			sign rune
		}{{x.Whole.P999, '×'}, {x.Whole.P99, '+'}, {x.Whole.P50, '•'}} {
			up := (math.Log10(max(float64(mark.ns), 1)) - bottom) / max(top-bottom, 1)
			row := plotRows - 1 - int(math.Round(up*(plotRows-1)))
			if at >= 0 && row >= 0 && row < plotRows {
				grid[row][at] = mark.sign
			}
		}
	}
	for i, row := range grid {
		label := ""
		switch i {
		case 0:
			label = nanos(math.Pow(10, top))
		case plotRows - 1:
			label = nanos(math.Pow(10, bottom))
		}
		p.line(fmt.Sprintf("%*s ", left-1, label) + p.signs(row))
	}
	ago := fmt.Sprintf("-%d s", shown)
	p.line(p.paint(fmt.Sprintf("%*s%s%*s", left, "", ago, columns-len(ago), "now"), soft))
}

// signs colours a row of the plot.
func (p *painter) signs(row []rune) string {
	if !p.Color {
		return string(row)
	}
	return strings.NewReplacer("•", p.paint("•", blue), "+", p.paint("+", gold), "×", p.paint("×", red)).Replace(string(row))
}

func (p *painter) stages() {
	p.title("stage               mean      p50      p99    p99.9", fmt.Sprintf("last %d s", p.s.Seconds))
	for _, x := range p.s.Stages {
		name, l := x.Name, x.Latency
		if l == nil {
			continue
		}
		if name == "journal_wait" || name == "replica_wait" {
			name = "  " + strings.Replace(name, "_", " ", 1)
		}
		text := fmt.Sprintf("%-15s %8s %8s %8s %8s", name, nanos(l.Mean), nanos(float64(l.P50)), nanos(float64(l.P99)), nanos(float64(l.P999)))
		if x.Name == "whole" {
			text = p.paint(text, bold)
		}
		p.line(text)
	}
}

func (p *painter) shards() {
	p.title("shard  answers/s            clients  blocked   unsent   busy", "")
	most := 0.0
	for _, x := range p.s.Shards {
		most = max(most, x.Responses)
	}
	for _, x := range p.s.Shards {
		bar := 0
		if most > 0 {
			bar = int(math.Round(10 * x.Responses / most))
		}
		p.line(fmt.Sprintf("%5d  %9s %-10s %8d %8d %8s %6s", x.Shard, rate(x.Responses), strings.Repeat("=", bar), x.Clients, x.Blocked, size(float64(x.Buffered)), percent(x.Busy)))
	}
}

func (p *painter) clients() {
	p.title("slow clients", "")
	if len(p.s.Slow) == 0 {
		p.line("none: every client takes its answers as they come")
	}
	for _, c := range p.s.Slow {
		p.line(fmt.Sprintf("%-22s %-8s unsent %9s  blocked for %7s  shard %d  connection %d", c.From, c.State, size(float64(c.Unsent)), seconds(c.Lag), c.Shard, c.ID))
	}
	if t := p.s.Tracing; t.Left > 0 {
		p.line(fmt.Sprintf("connection %d is traced: %d answers to come", t.Connection, t.Left))
	}
	for _, d := range p.s.Dropped {
		p.line(fmt.Sprintf("dropped since start: %s answers, %s", whole(float64(d.Count)), strings.ReplaceAll(d.Reason, "_", " ")))
	}
}

// Numbers for people.

// three writes three significant digits.
func three(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func nanos(ns float64) string {
	for _, u := range []struct {
		name string
		ns   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if ns >= 0.9995*u.ns {
			return three(ns/u.ns) + " " + u.name
		}
	}
	return strconv.FormatFloat(ns, 'f', 0, 64) + " ns"
}

func size(bytes float64) string {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= u.bytes {
			return three(bytes/u.bytes) + " " + u.name
		}
	}
	return strconv.FormatFloat(bytes, 'f', 0, 64) + " B"
}

// whole groups the digits of a whole number.
func whole(v float64) string {
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func rate(v float64) string {
	switch {
	case v >= 999_950:
		return three(v/1e6) + " M"
	case v >= 99_950:
		return three(v/1e3) + " k"
	case v > 0 && v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return whole(v)
}

func percent(v float64) string {
	if v > 0 && v < 0.01 {
		return "<1 %"
	}
	return strconv.FormatFloat(100*v, 'f', 0, 64) + " %"
}

func seconds(s float64) string {
	switch {
	case s < 10:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case s < 120:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	}
	return strings.TrimSuffix(time.Duration(s*float64(time.Second)).Round(time.Minute).String(), "0s")
}
