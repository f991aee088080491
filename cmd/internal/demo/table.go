package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/telemetry"
)

// wait waits for d and prints progress: on a terminal one line that is overwritten, elsewhere a
// line per second.
func (r *run) wait(ctx context.Context, doing string, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	every := time.Second
	if r.Terminal {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	answers, at := r.answers.Load(), time.Now()
	for {
		select {
		case <-over.C:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("demo: %w", context.Cause(ctx))
		case now := <-tick.C:
			n := r.answers.Load()
			r.say(fmt.Sprintf("%-8s %10s orders  %10s fills  %7s responses/s", doing,
				thousands(r.orders.Load()), thousands(r.fills.Load()),
				thousands(int64(float64(n-answers)/now.Sub(at).Seconds()))))
			answers, at = n, now
		}
	}
}

// say prints a line of progress.
func (r *run) say(text string) {
	line := fmt.Sprintf("%5.1fs  %s", time.Since(r.began).Seconds(), text)
	if r.Terminal {
		fmt.Fprintf(r.Out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(r.Out, line)
}

// clear removes the line of progress before lasting output.
func (r *run) clear() {
	if r.Terminal {
		fmt.Fprint(r.Out, "\r\x1b[K")
		return
	}
	fmt.Fprintln(r.Out)
}

// table prints the results.
func (r *run) table() {
	r.traffic()
	r.latencies()
	r.promises()
}

func (r *run) traffic() {
	w := tabwriter.NewWriter(r.Out, 0, 0, 3, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	seconds := r.traded.Seconds()
	rate := func(n int64) string { return thousands(int64(float64(n) / seconds)) }
	orders, fills, answers := r.orders.Load(), r.fills.Load(), r.answers.Load()
	row("orders", "%s (%s/s), including cancels and replaces", thousands(orders), rate(orders))
	row("fills", "%s (%s/s), counted on both sides", thousands(fills), rate(fills))
	row("responses", "%s (%s/s)", thousands(answers), rate(answers))
	if f := r.found; f.copies > 0 {
		row("topics", "%d subscribers received %s frames (%s/s); %d read slowly, 1 nothing until the end:\n"+
			"\t%s gaps, after which a snapshot is sent (%s snapshots in all)", f.copies, thousands(int64(f.frames)),
			rate(int64(f.frames)), f.copies/slowEvery, thousands(int64(f.gaps)), thousands(int64(f.snapshots)))
	}
	s := r.server2
	row("engine", "%s", s.Diagnosis)
	row("shards", "%d", s.Shards)
	if commits := s.Gauge(telemetry.JournalCommits); commits > 0 {
		row("journal", "%s group commits after the restart, one fdatasync and %.1f events each",
			thousands(int64(commits)), s.Gauge(telemetry.SequencerEvents)/commits)
	}
	row("recovery", "%v from start to ready; %v from kill -9 to the first response",
		short(uint64(r.recovery)), short(uint64(r.firstAnswer.Load()-r.kill)))
}

func (r *run) latencies() {
	r.times.Final()
	const form = "%-22s %10v %8v %8v %8v %8v\n"
	fmt.Fprintf(r.Out, "\n"+form, "latency", "count", "p50", "p99", "p99.9", "max")
	row := func(name string, count, p50, p99, p999, most uint64) {
		fmt.Fprintf(r.Out, form, name, thousands(int64(count)), short(p50), short(p99), short(p999),
			short(most))
	}
	trip := &r.times.Sum().H[telemetry.StageWhole]
	row("client round trip", trip.Count, trip.Quantile(0.5), trip.Quantile(0.99),
		trip.Quantile(0.999), trip.Max)
	for _, s := range r.server2.Stages {
		row("server "+s.Stage, s.Count, s.P50, s.P99, s.P999, s.Max)
	}
}

// promises prints the result of the audit.
func (r *run) promises() {
	f := r.found
	fmt.Fprintf(r.Out,
		"\nEvery client keeps %d requests in flight, so a round trip includes queueing.\n"+
			"The stages of the server are those after the restart. The journal was replayed\n"+
			"through a second order book and compared with what the clients received:\n\n", window)
	w := tabwriter.NewWriter(r.Out, 0, 0, 3, ' ', 0)
	row := func(good bool, name, format string, args ...any) {
		mark := "ok"
		if !good {
			mark = "FAILED"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", mark, name, fmt.Sprintf(format, args...))
	}
	row(f.found == f.acked, "acknowledged orders",
		"%s of %s are in the journal under the acknowledged number",
		thousands(int64(f.found)), thousands(int64(f.acked)))
	row(f.same == f.received, "reports", "%s of %s equal the replay, in the same order",
		thousands(int64(f.same)), thousands(int64(f.received)))
	if f.copies > 0 {
		row(f.equal == f.copies, "subscribers' books", "%d of %d equal the replay, byte for byte (%s price levels)",
			f.equal, f.copies, thousands(int64(f.levels)))
	}
	row(f.agreed == f.asked, "positions", "%d of %d equal the replay", f.agreed, f.asked)
	row(len(f.wrong) == 0, "contradictions", "%d", len(f.wrong)+f.more)
	_ = w.Flush()
	fmt.Fprintf(r.Out,
		"\nThe acknowledgements of %s executed orders were lost in the crash (%s reports in all,\n"+
			"including fills for connections that were gone); %s orders had not reached the journal\n"+
			"and were sent again.\n",
		thousands(int64(f.unacked)), thousands(int64(f.lost)), thousands(int64(f.repeats)))
	for _, text := range f.wrong {
		fmt.Fprintf(r.Out, "  wrong: %s\n", text)
	}
	if f.more > 0 {
		fmt.Fprintf(r.Out, "  and %d more\n", f.more)
	}
	if len(f.wrong) == 0 {
		fmt.Fprintln(r.Out, "\nNothing acknowledged is missing.")
	}
}

// short formats nanoseconds with three digits.
func short(ns uint64) string {
	unit := time.Duration(1)
	for limit := uint64(1000); ns >= limit && limit < 1e18; limit *= 10 {
		unit *= 10
	}
	return time.Duration(ns).Round(unit).String()
}

// thousands formats 1234567 as 1,234,567.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 && text[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
