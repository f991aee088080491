package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Row has all runs of one spec.
type Row struct {
	Spec    Spec
	Results []*Result
}

// spread is the median of the runs of a row, with the lowest and highest run.
type spread struct{ mid, low, high float64 }

func (r *Row) of(f func(*Result) float64) spread {
	var v []float64
	for _, res := range r.Results {
		v = append(v, f(res))
	}
	slices.Sort(v)
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// partsMost is the number of parts that the runs of a row are merged into.
const partsMost = 5

// parts merges consecutive runs. Short runs alternate with those of other rows before the machine
// changes; merged, they have as many frames in their tail as a long run. The results have latencies
// only.
func (r *Row) parts() *Row {
	n := len(r.Results)
	if n < 2*partsMost {
		return r
	}
	put := &Row{Spec: r.Spec}
	for i := range partsMost {
		put.Results = append(put.Results, together(r.Results[i*n/partsMost:(i+1)*n/partsMost]))
	}
	return put
}

// together merges the latencies of results.
func together(results []*Result) *Result {
	all := &Result{Spec: results[0].Spec}
	hist := hdrhistogram.New(1, latencyMost, 3)
	all.Calm.hist = hdrhistogram.New(1, latencyMost, 3)
	for _, res := range results {
		hist.Merge(res.hist)
		if res.Calm.hist != nil {
			all.Calm.hist.Merge(res.Calm.hist)
			all.Calm.Share += res.Calm.Share / float64(len(results))
		}
	}
	all.record(hist)
	all.Calm.record()
	return all
}

// faults adds up the violations of all runs. first describes one of them.
func (r *Row) faults() (f Faults, first string) {
	for _, res := range r.Results {
		f.add(res.Faults)
		if first == "" {
			first = res.First
		}
	}
	return f, first
}

// Values of the columns. Costs per frame are relative to received frames, because the counts of the
// server may be late on a busy machine.
func (res *Result) serverCPU() float64 { return res.perFrame(res.Server.cpu(), &res.Server) }
func (res *Result) clientCPU() float64 { return res.perFrame(res.Clients.cpu(), &res.Clients) }
func (res *Result) allocs() float64    { return res.perFrame(int64(res.Server.Mallocs), &res.Server) }

// peak and overIdle return the highest resident memory of the server process in MiB: in all, and
// above that before the first client.
func (res *Result) peak() float64     { return float64(res.Server.Peak) / (1 << 20) }
func (res *Result) overIdle() float64 { return float64(res.Server.Peak-res.Idle) / (1 << 20) }

// perFrame divides an amount consumed during u by the frames received in that time.
func (res *Result) perFrame(consumed int64, u *Usage) float64 {
	return float64(consumed) / max(res.Frames*float64(u.At)/1e9, 1)
}

func (res *Result) framesPerSend() float64 {
	return float64(res.Counts.Frames) / max(float64(res.Counts.Sends), 1)
}

func (res *Result) sendsPerSubmit() float64 {
	return float64(res.Counts.Sends+res.Counts.Refused) / max(float64(res.Counts.Submits), 1)
}

// refused returns the number of sends that took no bytes, per second and stalled client.
func (res *Result) refused() float64 {
	return float64(res.Counts.Refused) / max(float64(res.Spec.Stalled),
		1) / (float64(res.Server.At) / 1e9)
}

func (res *Result) p50() float64  { return res.P50 }
func (res *Result) p999() float64 { return res.P999 }

// calmP999 returns P999 without hiccups of the host, if these were measured.
func (res *Result) calmP999() float64 {
	if res.Calm.Share == 0 {
		return res.P999
	}
	return res.Calm.P999
}

// Wanted returns the frames per second that the schedule has for clients that read.
func (s *Spec) Wanted() float64 {
	if s.Fan.Topics > 0 {
		return float64(s.Rate) * s.perEvent()
	}
	return float64(s.Rate) * float64(s.Connections-s.Stalled) / float64(s.Connections)
}

// Bounds of credible results. Package tune applies the exported ones too.
const (
	rateShare   = 0.99 // share of the scheduled rate that must be reached
	LateShare   = 0.5  // share of a latency that may be due to a late producer
	WaitShare   = 0.1  // share of the time that the producer may wait for receivers
	FullShare   = 0.2  // share of the reads that may fill the buffer
	OthersCores = 0.15 // cores that other processes may use
	StolenCores = 0.05 // cores that the hypervisor may withhold
	calmShare   = 0.95 // share of the time that must be without hiccups of the host
)

// doubt is a reason why the results of a row may not be due to the server alone: a text, which is
// the same for all rows, and its extent in this row.
type doubt struct {
	text  string
	value float64
	unit  string
}

// doubts returns reasons why the results of a row may not be due to the server alone. Each is
// judged by the median, so that one bad run does not count.
func (r *Row) doubts() (all []doubt) {
	mid := func(f func(*Result) float64) float64 { return r.of(f).mid }
	share := func(f func(*Result) int64) float64 {
		return mid(func(res *Result) float64 { return float64(f(res)) / float64(res.Spec.Run) })
	}
	add := func(bad bool, text string, value float64, unit string) {
		if bad {
			all = append(all, doubt{text, value, unit})
		}
	}
	ring := share(func(res *Result) int64 { return res.WaitRing })
	peer := share(func(res *Result) int64 { return res.WaitPeer })
	if want := r.Spec.Wanted(); want > 0 {
		got := mid(func(res *Result) float64 { return res.Frames })
		add(got < rateShare*want, "the target rate was missed, the server reached", 100*got/want, "%")
		add(r.unpublished() && ring < 0.1,
			"the load generator was the bottleneck, of the schedule it published",
			100*r.published(), "%")
		for i, name := range []string{"p50", "p99"} {
			late := mid(func(res *Result) float64 { return float64(res.Late[i]) })
			seen := mid(func(res *Result) float64 { return []float64{res.P50, res.P99}[i] })
			add(late > LateShare*seen && ring < 0.01,
				name+" is largely due to the load generator, which was late by", late/micro, "us")
		}
	}
	add(peer > WaitShare && peer > ring,
		"the receivers were the bottleneck, the producer waited for them for", 100*peer,
		"% of the time")
	if r.Spec.Churn > 0 {
		served := mid(func(res *Result) float64 { return float64(res.Guests.Served) / max(float64(res.Guests.Wanted), 1) })
		add(served < rateShare, "not all scheduled transient clients were served, only", 100*served,
			"%")
	}
	full := mid(func(res *Result) float64 { return res.FullRead })
	add(full > FullShare, "the receivers fell behind, the buffer was filled by", 100*full,
		"% of their reads")
	skipped := mid(func(res *Result) float64 { return float64(res.Skipped) / float64(max(res.Sent, 1)) })
	add(skipped > 0, "clients lost topic frames as their mode allows,", 100*skipped, "%")
	others := mid(func(res *Result) float64 { return res.Others })
	add(others > OthersCores, "the machine was shared, other processes used", others, "cores")
	stolen := mid(func(res *Result) float64 { return res.Stolen })
	add(stolen > StolenCores, "the hypervisor withheld", stolen, "cores")
	if calm := mid(func(res *Result) float64 { return res.Calm.Share }); r.Spec.Hiccups {
		add(calm > 0 && calm < calmShare,
			"the host did not run all processors, or queued work was caught up, for", 100*(1-calm),
			"% of the time")
		add(calm == 0, "hiccups were not measured: "+orElse(r.Results[len(r.Results)-1].Calm.Why,
			"there was no time without hiccups"), 100, "% of the time")
	}
	return all
}

// published returns the share of the scheduled frames that the producer published.
func (r *Row) published() float64 {
	return r.of(func(res *Result) float64 { return float64(res.InTime) }).mid / (float64(r.Spec.Rate) * r.Spec.Run.Seconds())
}

// unpublished reports whether that share is too low, by more than a burst at each end.
func (r *Row) unpublished() bool {
	_, burst := r.Spec.tick()
	return r.published() < rateShare &&
		(1-r.published())*float64(r.Spec.Rate)*r.Spec.Run.Seconds() > 2*max(burst, 1)
}

// Amount formats a count with three digits.
func Amount(v float64) string {
	switch {
	case v >= 1e6:
		return Digits(v/1e6) + " M"
	case v >= 1e4:
		return Digits(v/1e3) + " k"
	}
	return Digits(v)
}

// Micros formats a time in ns as us.
func Micros(ns float64) string { return Digits(ns/1e3) + " us" }

// Digits formats v with three significant digits.
func Digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// text formats the median, with the lowest and highest run.
func (s spread) text(unit float64) string {
	return fmt.Sprintf("%s (%s-%s)", Digits(s.mid/unit), Digits(s.low/unit), Digits(s.high/unit))
}

const micro = float64(time.Microsecond)
