package bench

import (
	"fmt"
	"io"
	"strings"
)

// column is one column of the table.
type column struct {
	head string
	cell func(r *Row) string
	axis bool // left out, and named in the caption, when it is the same in all rows
}

func columns() []column {
	return []column{
		{"net", func(r *Row) string { return r.Spec.Net }, true},
		{"connections", func(r *Row) string { return fmt.Sprint(r.Spec.Connections) }, true},
		{"frame B", func(r *Row) string { return fmt.Sprint(r.Spec.Frame) }, true},
		{"rate/s", func(r *Row) string { return rateText(r.Spec.Rate) }, true},
		{"stalled", func(r *Row) string { return fmt.Sprint(r.Spec.Stalled) }, true},
		{"server", func(r *Row) string { return r.Spec.Name() }, false},
		{"frames/s", func(r *Row) string {
			s := r.of(func(res *Result) float64 { return res.Frames })
			return amount(s.mid) + fmt.Sprintf(" (%s-%s)", amount(s.low), amount(s.high))
		}, false},
		{"p50 us", func(r *Row) string { return r.of(func(res *Result) float64 { return res.P50 }).text(micro) }, false},
		{"p99 us", func(r *Row) string { return r.of(func(res *Result) float64 { return res.P99 }).text(micro) }, false},
		{"p99.9 us", func(r *Row) string { return r.of(func(res *Result) float64 { return res.P999 }).text(micro) }, false},
		{"max us", func(r *Row) string { return digits(r.of(func(res *Result) float64 { return res.Max }).mid / micro) }, false},
		{"server CPU us/frame", func(r *Row) string { return r.of((*Result).serverCPU).text(micro) }, false},
		{"client CPU", func(r *Row) string { return digits(r.of((*Result).clientCPU).mid / micro) }, false},
		{"frames/send", func(r *Row) string { return digits(r.of((*Result).framesPerSend).mid) }, false},
		{"sends/submit", func(r *Row) string { return digits(r.of((*Result).sendsPerSubmit).mid) }, false},
		{"allocs/frame", func(r *Row) string { return digits(r.of((*Result).allocs).mid) }, false},
		{"GCs", func(r *Row) string {
			return fmt.Sprintf("%.0f", r.of(func(res *Result) float64 { return float64(res.Server.GCs) }).mid)
		}, false},
	}
}

func rateText(rate int) string {
	if rate == 0 {
		return "full speed"
	}
	return fmt.Sprint(rate)
}

// writeTable writes the rows as a Markdown table, with what is the same in all above it and doubts below.
func writeTable(w io.Writer, rows []*Row) {
	var shown []column
	var same []string
	for _, c := range columns() {
		if c.axis && constant(rows, c.cell) {
			same = append(same, c.head+" "+c.cell(rows[0]))
		} else {
			shown = append(shown, c)
		}
	}
	s := &rows[0].Spec
	if s.Net == "tcp" && s.Congestion != "" {
		same = append(same, "congestion control "+s.Congestion)
	}
	fmt.Fprintf(w, "Same in all rows: %s. Medians of %d runs of %v (smallest-largest).\n\n", strings.Join(same, ", "), len(rows[0].Results), s.Run)
	cells := [][]string{nil}
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
	writeCells(w, cells)
	writeStalled(w, rows)
	writeDoubts(w, rows)
}

func constant(rows []*Row, cell func(*Row) string) bool {
	for _, r := range rows {
		if cell(r) != cell(rows[0]) {
			return false
		}
	}
	return true
}

// writeCells aligns the cells; the first line is the head.
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

// where names a row among others.
func (r *Row) where() string {
	s := &r.Spec
	text := fmt.Sprintf("%s, %s, %d connections, %d B, rate %s", s.Name(), s.Net, s.Connections, s.Frame, rateText(s.Rate))
	if s.Stalled > 0 {
		text += fmt.Sprintf(", %d stalled", s.Stalled)
	}
	return text
}

// writeDoubts lists what is wrong with rows, each text once, with the rows it is about.
func writeDoubts(w io.Writer, rows []*Row) {
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
			fmt.Fprintf(w, "- FAILED, row %d: %v; %s\n", n+1, f, first)
		}
	}
	for _, text := range order {
		f := found[text]
		amount := digits(f.low.value)
		if f.high.value > f.low.value {
			amount += " to " + digits(f.high.value)
		}
		fmt.Fprintf(w, "- Careful: %s %s %s (row %s).\n", text, amount, f.low.unit, strings.Join(f.rows, ", "))
	}
	if len(order) > 0 {
		fmt.Fprintln(w)
	}
}

// refusedMost is how many sends a second a blocked client may cost.
const refusedMost = 2

// stall relates a row with stalled clients to the same without.
type stall struct {
	row      *Row
	p50      float64 // medians, relative to those of the row without
	p999     float64
	refused  float64 // the largest of the runs
	complete bool
}

func stalls(rows []*Row) (all []stall) {
	for _, r := range rows {
		if r.Spec.Stalled == 0 {
			continue
		}
		for _, base := range rows {
			spec := r.Spec
			if spec.Stalled = 0; spec != base.Spec {
				continue
			}
			relative := func(f func(*Result) float64) float64 { return r.of(f).mid / base.of(f).mid }
			faults, _ := r.faults()
			all = append(all, stall{
				row: r, p50: relative(func(res *Result) float64 { return res.P50 }), p999: relative(func(res *Result) float64 { return res.P999 }),
				refused: r.of((*Result).refused).high, complete: faults == Faults{},
			})
		}
	}
	return all
}

// writeStalled says what stalled clients did to the others.
func writeStalled(w io.Writer, rows []*Row) {
	all := stalls(rows)
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "Clients that read, with stalled ones beside them, relative to without; a stalled client may cost %d refused sends a second:\n\n", refusedMost)
	cells := [][]string{{"server", "connections", "stalled", "p50", "p99.9", "refused sends/stalled client/s", "closed by the server", "all frames of the others arrived"}}
	for _, s := range all {
		yes := "yes"
		if !s.complete {
			yes = "NO"
		}
		closed := s.row.of(func(res *Result) float64 { return float64(res.Counts.Closed) }).high
		cells = append(cells, []string{s.row.Spec.Name(), fmt.Sprint(s.row.Spec.Connections), fmt.Sprint(s.row.Spec.Stalled),
			fmt.Sprintf("%.2fx", s.p50), fmt.Sprintf("%.2fx", s.p999), digits(s.refused), fmt.Sprintf("%.0f", closed), yes})
	}
	writeCells(w, cells)
}
