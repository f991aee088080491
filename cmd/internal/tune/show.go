package tune

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sluice/cmd/internal/bench"
)

// report is the result of the command. As JSON its times are in ns, one value per run.
type report struct {
	Load     load     `json:"load"`
	Engine   string   `json:"engine"` // engine in use
	Machine  layout   `json:"machine"`
	Complete bool     `json:"complete"` // false if the command was stopped early
	Rows     []Row    `json:"rows"`
	Advice   *Advice  `json:"advice"` // null if every choice broke a promise
	Flags    string   `json:"flags"`  // flags of `sluice serve`
	Doubts   []string `json:"doubts"` // reasons why the results may not be due to the server alone
}

// load is the load that was measured.
type load struct {
	Connections int     `json:"connections"`
	Frame       int     `json:"frame_bytes"`
	Rate        int     `json:"rate"`
	Net         string  `json:"net"`
	IO          string  `json:"io"`
	Seconds     float64 `json:"seconds"`
	Target      int64   `json:"latency_target_ns"`
	Topics      int     `json:"topics,omitempty"` // the rate is that of their frames, to all subscribers
	Each        int     `json:"topics_of_a_client,omitempty"`
}

func loadOf(s *bench.Spec, target time.Duration) load {
	return load{s.Connections, s.Frame, s.Rate, s.Net, s.IO, s.Run.Seconds(), int64(target),
		s.Fan.Topics, s.Fan.Each}
}

// write writes the report as text.
func (r *report) write(w io.Writer) {
	l := &r.Load
	rate := fmt.Sprintf("%d frames/s", l.Rate)
	if l.Rate == 0 {
		rate = "as fast as possible"
	}
	if l.Topics > 0 {
		fmt.Fprintf(w, "%d topics, of which each client has %d; the rate is that of topic frames.\n", l.Topics, l.Each)
	}
	fmt.Fprintf(w, "%d connections, frames of %d B, %s, %s, engine %s.\nMedians of %s of "+
		"%gs (smallest-largest).\n", l.Connections, l.Frame, rate, l.Net, r.Engine, bench.Runs(r.runs()), l.Seconds)
	fmt.Fprintln(w, r.Machine.sentence())
	if !r.Complete {
		fmt.Fprintln(w, "STOPPED EARLY: some runs are missing.")
	}
	fmt.Fprintln(w)
	r.table(w)
	for _, d := range r.Doubts {
		fmt.Fprintf(w, "Careful: %s.\n", d)
	}
	if r.Advice == nil {
		fmt.Fprintln(w, "No recommendation: every choice broke a promise.")
		return
	}
	fmt.Fprintf(w, "\nRecommended: %v\n", r.Advice.Choice)
	for _, reason := range r.Advice.Reasons {
		fmt.Fprintf(w, "  - %s\n", reason)
	}
	if !r.Advice.Clear {
		fmt.Fprintln(w,
			"  - Longer and more runs (--seconds, --runs) on an otherwise idle machine separate "+
				"smaller differences.")
	}
	fmt.Fprintf(w, "\n  sluice serve %s\n", r.Flags)
}

// runs returns the number of runs per choice. If the command was stopped, some choices have fewer.
func (r *report) runs() (n int) {
	for i := range r.Rows {
		n = max(n, len(r.Rows[i].Frames))
	}
	return n
}

// table writes the rows and marks the recommended one. Only the figures that decide have bounds, so
// that a line fits a terminal of 100 columns. The JSON has every run.
func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  shards\tplacement\tidle\tframes/s\tp50 us\tp99 us\tp99.9 us\tCPU us/frame\t")
	for i := range r.Rows {
		row := &r.Rows[i]
		mark, note := " ", ""
		if r.Advice != nil && r.Advice.Choice == row.Choice {
			mark = "*"
		}
		switch n := len(row.Frames); {
		case row.Broken != "":
			note = "BROKE A PROMISE: " + row.Broken
		case n < r.runs():
			note = fmt.Sprintf("%d runs", n)
		}
		us := func(x float64) string { return bench.Digits(x / 1e3) }
		frames, p99 := bench.Amount(spreadOf(row.Frames).mid), spreadOf(row.P99).text(us)
		if r.Load.Rate == 0 {
			frames, p99 = spreadOf(row.Frames).text(bench.Amount), us(spreadOf(row.P99).mid)
		}
		fmt.Fprintf(t, "%s %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, row.Shards, row.Placement,
			row.Idle,
			frames, us(spreadOf(row.P50).mid), p99, us(spreadOf(row.P999).mid), spreadOf(row.CPU).text(us), note)
	}
	_ = t.Flush() // an error of w is returned by its next use
	fmt.Fprintln(w)
}

// sentence describes which CPUs the server and the load used.
func (l *layout) sentence() string {
	server := fmt.Sprintf("Server and publisher (which stands for application and journal) ran "+
		"on CPUs %s", cpuList(l.Server))
	if len(l.Load) > 0 {
		return fmt.Sprintf("%s, clients on CPUs %s: the server had %d of %d cores.", server,
			cpuList(l.Load), len(l.Server), len(l.Server)+len(l.Load))
	}
	return fmt.Sprintf("%s, and so did the clients, because %s.", server, l.why)
}

func (s spread) text(f func(float64) string) string {
	mid, low, high := f(s.mid), f(s.low), f(s.high)
	if low == high {
		return mid
	}
	return fmt.Sprintf("%s (%s-%s)", mid, low, high)
}
