package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// column is one column of the table.
type column struct {
	head string
	cell func(r *Row) string
	axis bool   // named in the caption instead if it is the same in all rows
	rest string // value of an axis that is not named in the caption either
}

func columns() []column {
	mid := func(f func(*Result) float64) func(*Row) string {
		return func(r *Row) string { return Digits(r.of(f).mid) }
	}
	us := func(f func(*Result) float64) func(*Row) string {
		return func(r *Row) string { return r.of(f).text(micro) }
	}
	axis := func(head, rest string, f func(*Spec) any) column {
		return column{head, func(r *Row) string { return fmt.Sprint(f(&r.Spec)) }, true, rest}
	}
	value := func(head string, cell func(*Row) string) column { return column{head: head, cell: cell} }
	return []column{
		axis("net", "", func(s *Spec) any { return s.Net }),
		axis("connections", "", func(s *Spec) any { return s.Connections }),
		axis("frame B", "", func(s *Spec) any { return s.Frame }),
		axis("rate/s", "", func(s *Spec) any { return s.rateText() }),
		axis("burst", "0", func(s *Spec) any { return s.Burst }),
		axis("in a row", "1", func(s *Spec) any { return max(s.Repeat, 1) }),
		axis("next connection", "random", func(s *Spec) any { return orElse(s.Pick, "random") }),
		axis("lag", "0s", func(s *Spec) any { return s.Lag }),
		axis("stalled", "0", func(s *Spec) any { return s.Stalled }),
		axis("churn/s", "0", func(s *Spec) any { return s.Churn }),
		axis("topics", "0", func(s *Spec) any { return s.Fan.Topics }),
		axis("topics of a client", "0", func(s *Spec) any { return s.Fan.Each }),
		axis("own %", "0", func(s *Spec) any { return s.Fan.Own }),
		axis("mode", "", func(s *Spec) any { return s.Fan.Mode }),
		value("server", func(r *Row) string { return r.Spec.Name() }),
		value("frames/s", func(r *Row) string {
			s := r.of(func(res *Result) float64 { return res.Frames })
			return Amount(s.mid) + fmt.Sprintf(" (%s-%s)", Amount(s.low), Amount(s.high))
		}),
		value("p50 us", us(func(res *Result) float64 { return res.P50 })),
		value("p99 us", us(func(res *Result) float64 { return res.P99 })),
		value("p99.9 us", us(func(res *Result) float64 { return res.P999 })),
		value("max us",
			func(r *Row) string { return Digits(r.of(func(res *Result) float64 { return res.Max }).mid / micro) }),
		value("server CPU us/frame", us((*Result).serverCPU)),
		value("client CPU",
			func(r *Row) string { return Digits(r.of((*Result).clientCPU).mid / micro) }),
		value("frames/send", mid((*Result).framesPerSend)),
		value("sends/submit", mid((*Result).sendsPerSubmit)),
		value("allocs/frame", mid((*Result).allocs)),
		value("GCs (us)", func(r *Row) string {
			gcs := r.of(func(res *Result) float64 { return float64(res.Server.GCs) }).mid
			return fmt.Sprintf("%.0f (%s)", gcs,
				Digits(r.of(func(res *Result) float64 { return float64(res.Server.Pauses) }).mid/micro))
		}),
		value("MiB (over idle)", func(r *Row) string {
			return fmt.Sprintf("%s (%s)", Digits(r.of((*Result).peak).mid),
				Digits(r.of((*Result).overIdle).mid))
		}),
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// rateText formats the rate.
func (s *Spec) rateText() string {
	switch {
	case s.Server == ordersServer || s.Server == syncServer:
		return "one by one"
	case s.Rate == 0:
		return "full speed"
	}
	return fmt.Sprint(s.Rate)
}

// tabulate returns the cells of a table, whose first line is the head, and a sentence with the
// values that are the same in all rows.
func tabulate(rows []*Row) (same string, cells [][]string) {
	var shown []column
	var fixed []string
	all := columns()
	if rows[0].Spec.Hiccups {
		all = append(all,
			column{head: "p99.9 us while the host ran",
				cell: func(r *Row) string { return r.of((*Result).calmP999).text(micro) }},
			column{head: "% of the time",
				cell: func(r *Row) string { return r.of(func(res *Result) float64 { return 100 * res.Calm.Share }).text(1) }})
	}
	if rows[0].Spec.Fan.Topics > 0 && rows[0].Spec.Rate > 0 {
		for i, head := range []string{"last client p50 us", "p99 us of that"} {
			all = append(all, column{head: head,
				cell: func(r *Row) string { return r.of(func(res *Result) float64 { return res.Last[i] }).text(micro) }})
		}
	}
	for _, c := range all {
		switch {
		case !c.axis || !constant(rows, c.cell):
			shown = append(shown, c)
		case c.cell(rows[0]) != c.rest:
			fixed = append(fixed, c.head+" "+c.cell(rows[0]))
		}
	}
	s := &rows[0].Spec
	if s.overTCP() && s.Congestion != "" {
		fixed = append(fixed, "congestion control "+s.Congestion)
	}
	same = fmt.Sprintf("Same in all rows: %s. Medians of %s of %v (smallest-largest).",
		strings.Join(fixed, ", "), Runs(len(rows[0].Results)), s.Run)
	cells = [][]string{nil}
	for _, c := range shown {
		cells[0] = append(cells[0], c.head)
	}
	for _, r := range rows {
		var line []string
		for _, c := range shown {
			line = append(line, c.cell(r))
		}
		cells = append(cells, line)
	}
	return same, cells
}

// writeTable writes the rows as a Markdown table, with common values above and doubts below.
func writeTable(w io.Writer, rows []*Row) {
	same, cells := tabulate(rows)
	fmt.Fprintf(w, "%s\n\n", same)
	writeCells(w, cells)
	writeStalled(w, rows)
	writeTLS(w, rows)
	for _, line := range remarks(rows) {
		fmt.Fprintf(w, "- %s\n", line)
	}
	fmt.Fprintln(w)
}

func constant(rows []*Row, cell func(*Row) string) bool {
	for _, r := range rows {
		if cell(r) != cell(rows[0]) {
			return false
		}
	}
	return true
}

// writeCells writes aligned cells. The first line is the head.
func writeCells(w io.Writer, cells [][]string) {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], len(c), 3)
		}
	}
	for n, line := range cells {
		for i, c := range line {
			fmt.Fprintf(w, "| %-*s ", width[i], c)
		}
		fmt.Fprintln(w, "|")
		for i := range line {
			if n == 0 {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width[i]+2))
			}
		}
		if n == 0 {
			fmt.Fprintln(w, "|")
		}
	}
	fmt.Fprintln(w)
}

// where identifies a row in messages.
func (r *Row) where() string {
	s := &r.Spec
	text := fmt.Sprintf("%s, %s, %d connections, %d B, rate %s", s.Name(), s.Net, s.Connections,
		s.Frame, s.rateText())
	if s.Stalled > 0 {
		text += fmt.Sprintf(", %d stalled", s.Stalled)
	}
	text += s.Fan.text()
	return text
}

// remarks lists faults and doubts of the rows. Each text of a doubt appears once, with its rows.
func remarks(rows []*Row) (lines []string) {
	type finding struct {
		rows      []string
		low, high doubt
	}
	var order []string
	found := map[string]*finding{}
	for n, r := range rows {
		for _, d := range r.doubts() {
			f := found[d.text]
			if f == nil {
				f = &finding{low: d, high: d}
				order, found[d.text] = append(order, d.text), f
			}
			f.rows = append(f.rows, fmt.Sprint(n+1))
			if d.value < f.low.value {
				f.low = d
			}
			if d.value > f.high.value {
				f.high = d
			}
		}
		if f, first := r.faults(); f != (Faults{}) {
			lines = append(lines, fmt.Sprintf("FAILED, row %d: %v; %s", n+1, f, first))
		}
		if g := r.guests(); g != "" {
			lines = append(lines, fmt.Sprintf("Row %d: %s", n+1, g))
		}
	}
	for _, text := range order {
		f := found[text]
		amount := Digits(f.low.value)
		if f.high.value > f.low.value {
			amount += " to " + Digits(f.high.value)
		}
		lines = append(lines, fmt.Sprintf("Careful: %s %s %s (row %s).", text, amount, f.low.unit,
			strings.Join(f.rows, ", ")))
	}
	return lines
}

// guests describes the results of transient clients, "" without any.
func (r *Row) guests() string {
	if r.Spec.Churn == 0 {
		return ""
	}
	of := func(f func(*Guests) float64) spread { return r.of(func(res *Result) float64 { return f(&res.Guests) }) }
	return fmt.Sprintf("of %.0f transient clients in a run, %.0f received all their frames, in "+
		"%s us (p99 %s us) from the scheduled connect.",
		of(func(g *Guests) float64 { return float64(g.Wanted) }).mid,
		of(func(g *Guests) float64 { return float64(g.Served) }).mid,
		of(func(g *Guests) float64 { return g.P50 }).text(micro), of(func(g *Guests) float64 { return g.P99 }).text(micro))
}

// refusedMost is the most refused sends per second that a blocked client may cause.
const refusedMost = 2

// stall relates a row with stalled clients to the same row without them.
type stall struct {
	row      *Row
	p50      spread // relative to the row without stalled clients, by parts
	p999     spread
	calm     spread  // p999 without hiccups of the host
	refused  float64 // highest of the runs
	complete bool
}

func stalls(rows []*Row) (all []stall) {
	for _, r := range rows {
		if r.Spec.Stalled == 0 {
			continue
		}
		if base := unstalled(rows, r); base != nil {
			faults, _ := r.faults()
			beside, alone := r.parts(), base.parts()
			all = append(all, stall{
				row: r, p50: ratio(beside, alone, (*Result).p50), p999: ratio(beside, alone,
					(*Result).p999), calm: ratio(beside, alone, (*Result).calmP999),
				refused: r.of((*Result).refused).high, complete: faults == Faults{},
			})
		}
	}
	return all
}

// writeStalled writes the effect of stalled clients on the others.
func writeStalled(w io.Writer, rows []*Row) {
	all := stalls(rows)
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "Clients that read, beside stalled clients, relative to none stalled; a "+
		"stalled client may cause %d refused sends per second.", refusedMost)
	if runs := len(rows[0].Results); runs >= 2*partsMost {
		fmt.Fprintf(w, " Consecutive runs are merged into %d of %v:", partsMost,
			time.Duration(runs)*rows[0].Spec.Run/partsMost)
	}
	fmt.Fprint(w, "\n\n")
	cells := [][]string{{"server", "connections", "stalled", "p50", "p99.9",
		"refused sends/stalled client/s", "closed by the server", "all frames of the others arrived"}}
	for _, s := range all {
		yes := "yes"
		if !s.complete {
			yes = "NO"
		}
		closed := s.row.of(func(res *Result) float64 { return float64(res.Counts.Closed) }).high
		cells = append(cells, []string{s.row.Spec.Name(), fmt.Sprint(s.row.Spec.Connections),
			fmt.Sprint(s.row.Spec.Stalled),
			s.p50.times(), s.p999.times(), Digits(s.refused), fmt.Sprintf("%.0f", closed), yes})
	}
	if rows[0].Spec.Hiccups {
		cells[0] = slices.Insert(cells[0], 5, "p99.9 while the host ran")
		for i, s := range all {
			cells[i+1] = slices.Insert(cells[i+1], 5, s.calm.times())
		}
	}
	writeCells(w, cells)
}
