package telemetry

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// WriteText writes the totals up to the last collection as aligned tables: latencies by stage over all
// actors, then every counter and mark that is not zero, then every gauge, always in the same order. It
// does not collect.
func (c *Collector) WriteText(w io.Writer) error {
	out := &errWriter{w: w}
	sum := c.Sum()
	writeStages(out, sum)
	writeCounters(out, c)
	writeMarks(out, c)
	writeGauges(out, c)
	return out.err
}

func table(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
}

func writeStages(out io.Writer, sum *Totals) {
	t := table(out)
	defer t.Flush()
	fmt.Fprintln(t, "stage\tcount\tmean\tp50\tp90\tp99\tp99.9\tmax")
	for s := range Stage(NumStages) {
		if sum.H[s].Count != 0 {
			writeHist(t, s.Name(), &sum.H[s], duration)
		}
	}
	if sum.Batch.Count != 0 {
		writeHist(t, "batch size", &sum.Batch,
			func(v uint64) string { return strconv.FormatUint(v, 10) })
	}
}

func writeHist(t io.Writer, name string, h *HistTotal, text func(uint64) string) {
	fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", name, h.Count, text(uint64(h.Mean())),
		text(h.Quantile(0.5)), text(h.Quantile(0.9)), text(h.Quantile(0.99)), text(h.Quantile(0.999)), text(h.Max))
}

// duration prints nanoseconds with three significant digits.
func duration(ns uint64) string {
	d, unit := time.Duration(min(ns, 1<<62)), time.Nanosecond
	for limit := time.Duration(1000); d >= limit; limit *= 10 {
		unit = limit / 100
	}
	return d.Round(unit).String()
}

func writeCounters(out io.Writer, c *Collector) {
	info := counterInfo()
	t := table(out)
	defer t.Flush()
	fmt.Fprintln(t, "\nactor\tcounter\ttotal\tunit\tmeaning")
	c.Each(func(a *Totals) {
		name := actorName(a)
		for i, v := range a.C {
			if v != 0 {
				fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", name, info[i].title(), v, info[i].Unit,
					info[i].Help)
			}
		}
		if a.Stale != 0 {
			fmt.Fprintf(t,
				"%s\ttelemetry_stale\t%d\tcollections\tCollections that this actor did not "+
					"answer in time.\n", name, a.Stale)
		}
	})
}

func writeMarks(out io.Writer, c *Collector) {
	info := markInfo()
	t := table(out)
	defer t.Flush()
	fmt.Fprintln(t, "\nactor\thigh-water mark\thighest\tunit\tmeaning")
	c.Each(func(a *Totals) {
		for i, v := range a.M {
			if v != 0 {
				fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", actorName(a), info[i].Name, v, info[i].Unit,
					info[i].Help)
			}
		}
	})
}

func writeGauges(out io.Writer, c *Collector) {
	t := table(out)
	defer t.Flush()
	head := true
	c.Gauges(func(g Gauge, v float64) {
		if head {
			fmt.Fprintln(t, "\ngauge\tvalue\tunit\tmeaning")
			head = false
		}
		name := g.Name
		if g.Shard != NoShard {
			name += " " + strconv.Itoa(g.Shard)
		}
		if g.Label != "" {
			name += " " + g.Label + "=" + g.Value
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, strconv.FormatFloat(v, 'f', -1, 64), g.Unit, g.Help)
	})
}

func (i Info) title() string {
	if i.Label == "" {
		return i.Name
	}
	return i.Name + " " + i.Label + "=" + i.Value
}

func actorName(t *Totals) string {
	if t.Shard == NoShard {
		return t.Actor
	}
	return t.Actor + " " + strconv.Itoa(t.Shard)
}

// errWriter keeps the first error, so that the tables do not check each line.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.err = err
	return n, err
}
