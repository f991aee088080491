package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// goal is a performance goal that is judged by rows of one section of the profile "full".
type goal struct {
	what, goal string
	section    string
	judge      func(rows []*Row) verdictOf
}

// verdictOf is the result of rows for a goal. share is the measured value relative to the goal: at
// most 1 if the goal is met, NaN if its rows are missing. A reason means that the goal is missed
// regardless of the share.
type verdictOf struct {
	measured string
	share    float64
	reason   string
}

// goalLine is a goal and its verdict in words.
type goalLine struct {
	what, goal, measured string
	verdict              string // met, missed or not measured, and by how much
}

// goals returns the goals of the project. A ratio is a ratio of medians of runs that alternated in
// one command.
func goals() []goal {
	cpu, p50, p999 := (*Result).serverCPU, (*Result).p50, (*Result).p999
	all := []goal{
		{"server CPU per frame, 256 connections, 1 frame a send, against a loop that only sends",
			"<= 1.25x", "limit", against("bare", cpu, 1.25)},
		{"the same with 8 frames a send", "<= 1.5x", "limit8", against("bare8", cpu, 1.5)},
		{"server CPU per frame, 1000 connections, 100,000/s, against a goroutine for each " +
			"connection", "<= 0.5x", "goroutines", against("goroutines", cpu, 0.5)},
		{"p99.9 of the same", "<= 0.5x", "goroutines", against("goroutines", p999, 0.5)},
	}
	for _, peer := range []string{"netpoll", "gnet", "classic", "single"} {
		const goal = "< 1x from 64 connections, <= 1x with one"
		all = append(all, verdictsOfPeer("server CPU per frame against "+peer, goal, peer, cpu),
			verdictsOfPeer("p99.9 against "+peer, goal, peer, p999))
	}
	return append(all,
		goal{"whole pipeline, coalescing, 256 connections, frames/s delivered and checked",
			">= 8 M", "throughput", throughput(8e6)},
		goal{"p50 at 1000/s with one connection, against a raw send and receive", "<= 1.5x", "pair",
			against("raw", p50, 1.5)},
		goal{"p50 of healthy clients with 1 % and 10 % stalled, against none", "<= 1.05x",
			"stalled", besideStalled(p50, 1.05)},
		goal{"p99.9 of healthy clients with 1 % and 10 % stalled, against none, while the host ran",
			"<= 1.05x", "stalled", besideStalled((*Result).calmP999, 1.05)},
		goal{"server CPU per frame with 4 shards against 1", "<= 1.1x", "shards", fourShards(1.1)},
		goal{"10,000 connections, a frame each per 100 ms: steady, no drops, resident memory " +
			"over idle", "<= 64 MiB", "many", steady(64)},
		goal{"durable round trip, one client, p50 against fdatasync alone", "<= 2x", "durable",
			durable(2)},
	)
}

// first returns the first row that satisfies wanted, nil for none.
func first(rows []*Row, wanted func(*Spec) bool) *Row {
	i := slices.IndexFunc(rows, func(r *Row) bool { return wanted(&r.Spec) && len(r.Results) > 0 })
	if i < 0 {
		return nil
	}
	return rows[i]
}

// served selects the rows of a server.
func served(name string) func(*Spec) bool { return func(s *Spec) bool { return s.Server == name } }

// own returns the row of sluice that is judged, among those that satisfy wanted. Like every peer,
// sluice is judged in its best form: the row with the lowest CPU per frame, whatever the goal. If
// io_uring is available it is one of the io_uring rows, which come first.
func own(rows []*Row, wanted func(*Spec) bool) (best *Row) {
	for _, r := range rows {
		if r.Spec.Server != "sluice" || len(r.Results) == 0 || !wanted(&r.Spec) {
			continue
		}
		if best == nil || r.Spec.IO == best.Spec.IO &&
			r.of((*Result).serverCPU).mid < best.of((*Result).serverCPU).mid {
			best = r
		}
	}
	return best
}

func anything(*Spec) bool { return true }

// form names the form of sluice in a row.
func (r *Row) form() string {
	if r.Spec.Shards == 0 {
		return ""
	}
	return fmt.Sprintf(", K=%d", r.Spec.Shards)
}

// ratio returns the ratio of the medians, with the lowest and highest ratio of a round.
func ratio(a, b *Row, of func(*Result) float64) spread {
	if a == nil || b == nil {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	s := spread{a.of(of).mid / b.of(of).mid, math.Inf(1), math.Inf(-1)}
	for i := range min(len(a.Results), len(b.Results)) {
		v := of(a.Results[i]) / of(b.Results[i])
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
	return s
}

// times formats a ratio.
func (s spread) times() string { return fmt.Sprintf("%.2fx (%.2f-%.2f)", s.mid, s.low, s.high) }

// atMost judges the ratio of two rows. A row that broke a promise misses the goal.
func atMost(limit float64, a, b *Row, of func(*Result) float64) verdictOf {
	return within(limit, ratio(a, b, of), a, b)
}

// within judges a ratio of two rows.
func within(limit float64, r spread, a, b *Row) verdictOf {
	if math.IsNaN(r.mid) {
		return verdictOf{share: math.NaN()}
	}
	return verdictOf{r.times() + missed(a) + missed(b), r.mid / limit, broken(a, b)}
}

// missed returns how much of its rate a row reached, "" if it reached all of it.
func missed(r *Row) string {
	want, got := r.Spec.Wanted(), r.of(func(res *Result) float64 { return res.Frames }).mid
	if got >= rateShare*want || r.Spec.Server == ordersServer || r.Spec.Server == syncServer {
		return ""
	}
	return fmt.Sprintf(", %s reached %.0f %% of the rate", r.Spec.Name(), 100*got/want)
}

func broken(rows ...*Row) string {
	for _, r := range rows {
		if f, _ := r.faults(); f != (Faults{}) {
			return fmt.Sprintf("%s broke a promise: %v", r.Spec.Name(), f)
		}
	}
	return ""
}

func against(peer string, of func(*Result) float64, limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		r := own(rows, anything)
		v := atMost(limit, r, first(rows, served(peer)), of)
		if r != nil {
			v.measured += r.form()
		}
		return v
	}
}

// verdictsOfPeer is met if sluice is better at every connection count and rate of the section. It
// reports the worst result.
func verdictsOfPeer(what, text, peer string, of func(*Result) float64) goal {
	return goal{what, text, "peers", func(rows []*Row) verdictOf {
		worst := verdictOf{share: math.NaN()}
		met, all := 0, 0
		for _, r := range rows {
			if r.Spec.Server != peer || len(r.Results) == 0 {
				continue
			}
			ours := own(rows,
				func(s *Spec) bool { return s.Connections == r.Spec.Connections && s.Rate == r.Spec.Rate })
			v := atMost(1, ours, r, of)
			if math.IsNaN(v.share) {
				continue
			}
			if r.Spec.Connections > 1 && v.share == 1 {
				v.share = math.Nextafter(1, 2) // equal is not better
			}
			v.measured += fmt.Sprintf(" with %d at %s", r.Spec.Connections,
				r.Spec.rateText()) + ours.form()
			if all++; v.share <= 1 && v.reason == "" {
				met++
			}
			if math.IsNaN(worst.share) ||
				worst.reason == "" && (v.reason != "" || v.share > worst.share) {
				worst = v
			}
		}
		if all > 0 {
			worst.measured = fmt.Sprintf("at worst %s; met in %d of %d", worst.measured, met, all)
		}
		return worst
	}}
}

func throughput(least float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		r := own(rows, anything)
		if r == nil {
			return verdictOf{share: math.NaN()}
		}
		v := r.of(func(res *Result) float64 { return res.Frames })
		return verdictOf{fmt.Sprintf("%s (%s-%s)", Amount(v.mid), Amount(v.low),
			Amount(v.high)) + r.form(), least / v.mid, broken(r)}
	}
}

// besideStalled judges every row with stalled clients against the row without them. It reports the
// worst result.
func besideStalled(of func(*Result) float64, limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		worst := verdictOf{share: math.NaN()}
		for _, r := range rows {
			if r.Spec.Stalled == 0 || r.Spec.Server != "sluice" || len(r.Results) == 0 {
				continue
			}
			base := unstalled(rows, r)
			if base == nil {
				continue
			}
			v := within(limit, ratio(r.parts(), base.parts(), of), r, base)
			v.measured += fmt.Sprintf(", %s, %d stalled", r.Spec.Name(), r.Spec.Stalled)
			if !math.IsNaN(v.share) &&
				(math.IsNaN(worst.share) || worst.reason == "" && (v.reason != "" || v.share > worst.share)) {
				worst = v
			}
		}
		if !math.IsNaN(worst.share) {
			worst.measured = "at worst " + worst.measured
		}
		return worst
	}
}

// unstalled returns the row that equals r except for stalled clients, of which it has none; nil for
// none.
func unstalled(rows []*Row, r *Row) *Row {
	spec := r.Spec
	spec.Stalled = 0
	return first(rows, func(s *Spec) bool { return *s == spec })
}

func fourShards(limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		shards := func(k int) *Row {
			return first(rows, func(s *Spec) bool { return s.Server == "sluice" && s.Shards == k })
		}
		return atMost(limit, shards(4), shards(1), (*Result).serverCPU)
	}
}

func steady(mib float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		r := own(rows, anything)
		if r == nil {
			return verdictOf{share: math.NaN()}
		}
		frames := r.of(func(res *Result) float64 { return res.Frames })
		over, p999 := r.of((*Result).overIdle), r.of(func(res *Result) float64 { return res.P999 })
		closed := r.of(func(res *Result) float64 { return float64(res.Counts.Closed) }).high
		v := verdictOf{
			measured: fmt.Sprintf("%s (%s-%s) MiB, p99.9 %s us, %s frames/s, %.0f closed",
				Digits(over.mid), Digits(over.low), Digits(over.high), p999.text(micro),
				Amount(frames.mid), closed),
			share: over.mid / mib, reason: broken(r),
		}
		if want := r.Spec.Wanted(); v.reason == "" && frames.mid < rateShare*want {
			v.reason = fmt.Sprintf("%.0f %% of the rate", 100*frames.mid/want)
		}
		if v.reason == "" && closed > 0 {
			v.reason = fmt.Sprintf("%.0f connections were closed", closed)
		}
		return v
	}
}

func durable(limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		return atMost(limit, first(rows, served(ordersServer)), first(rows, served(syncServer)),
			func(r *Result) float64 { return r.P50 })
	}
}

// line puts a verdict into words.
func (v verdictOf) line(what, goal, missing string) goalLine {
	l := goalLine{what, goal, v.measured, "met"}
	switch {
	case math.IsNaN(v.share):
		l.measured, l.verdict = "-", "not measured"
		if missing != "" {
			l.verdict += ": " + missing
		}
	case v.reason != "":
		l.verdict = "missed: " + v.reason
	case v.share > 1:
		l.verdict = fmt.Sprintf("missed by %.1f %%", 100*(v.share-1))
	default:
		l.verdict = fmt.Sprintf("met, %.1f %% to spare", 100*(1-v.share))
	}
	return l
}

// judge returns the table of goals from the sections measured in this command. With a list of
// sections, it has only their goals.
func judge(measured []pageSection, micro string, only []string) []goalLine {
	lines := judgeAll(goals(), measured, only)
	if len(only) == 0 || micro != "" {
		const what = "pipeline to a ring that costs nothing (gate, encode, hop, append), one " +
			"core, each batch size of the benchmark"
		lines = append(lines, nullRing(micro, 60).line(what,
			"<= 60 ns a slot (16.7 M slots/s; asked are 15 M)",
			"give the output of go test -bench with --micro"))
	}
	return lines
}

// judgeAll judges goals by the sections measured in this command, or by those of them that are named.
func judgeAll(goals []goal, measured []pageSection, only []string) (lines []goalLine) {
	for _, g := range goals {
		if len(only) > 0 && !slices.Contains(only, g.section) {
			continue
		}
		var rows []*Row
		missing := "section " + g.section + " was not run"
		for _, s := range measured {
			if s.name == g.section {
				rows, missing = s.rows, strings.Join(strings.Fields(s.note), " ")
			}
		}
		lines = append(lines, g.judge(rows).line(g.what, g.goal, missing))
	}
	return lines
}

// nullRing judges the output of BenchmarkPipeline. One batch size beyond the limit misses the goal.
func nullRing(text string, limit float64) verdictOf {
	most, met := 0.0, 0
	var each []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		i := slices.Index(fields, "ns/slot")
		if i < 1 || !strings.HasPrefix(fields[0], "BenchmarkPipeline/") {
			continue
		}
		if ns, err := strconv.ParseFloat(fields[i-1], 64); err == nil {
			name := strings.TrimPrefix(fields[0], "BenchmarkPipeline/")
			if end := strings.LastIndexByte(name, '-'); end > 0 {
				name = name[:end]
			}
			most, each = max(most, ns), append(each, Digits(ns)+" ns "+name)
			if ns <= limit {
				met++
			}
		}
	}
	if len(each) == 0 {
		return verdictOf{share: math.NaN()}
	}
	return verdictOf{fmt.Sprintf("%s; met in %d of %d", strings.Join(each, ", "), met, len(each)),
		most / limit, ""}
}

// goalCells returns the cells of a table of goals. The first line is the head.
func goalCells(lines []goalLine) [][]string {
	cells := [][]string{{"what", "goal", "measured", "verdict"}}
	for _, l := range lines {
		cells = append(cells, []string{l.what, l.goal, l.measured, l.verdict})
	}
	return cells
}
