package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Row is all runs of one spec.
type Row struct {
	Spec    Spec
	Results []*Result
}

// spread is the median of a row's runs, and the bounds.
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

// partsMost is how many parts the runs of a row are put together to.
const partsMost = 5

// parts puts together runs that followed each other. Short runs take turns with those of other rows before the machine has
// changed; put together, their tail has as many frames as that of a long run. The results have the latencies only.
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

// together has the latencies of all results.
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

// faults adds up the violations of all runs; first describes one.
func (r *Row) faults() (f Faults, first string) {
	for _, res := range r.Results {
		f.add(res.Faults)
		if first == "" {
			first = res.First
		}
	}
	return f, first
}

// Values of the columns. What a frame costs is counted by frames received, since the server's own counts can be late when
// the machine is busy.
func (res *Result) serverCPU() float64 { return res.perFrame(res.Server.cpu(), &res.Server) }
func (res *Result) clientCPU() float64 { return res.perFrame(res.Clients.cpu(), &res.Clients) }
func (res *Result) allocs() float64    { return res.perFrame(int64(res.Server.Mallocs), &res.Server) }

// peak and overIdle are the resident memory of the server process in MiB: at most, and what of it came with the clients.
func (res *Result) peak() float64     { return float64(res.Server.Peak) / (1 << 20) }
func (res *Result) overIdle() float64 { return float64(res.Server.Peak-res.Idle) / (1 << 20) }

// perFrame divides what was consumed during u by the frames received in that time.
func (res *Result) perFrame(consumed int64, u *Usage) float64 {
	return float64(consumed) / max(res.Frames*float64(u.At)/1e9, 1)
}

func (res *Result) framesPerSend() float64 {
	return float64(res.Counts.Frames) / max(float64(res.Counts.Sends), 1)
}

func (res *Result) sendsPerSubmit() float64 {
	return float64(res.Counts.Sends+res.Counts.Refused) / max(float64(res.Counts.Submits), 1)
}

// refused is the number of sends that took nothing, for each blocked client and second.
func (res *Result) refused() float64 {
	return float64(res.Counts.Refused) / max(float64(res.Spec.Stalled), 1) / (float64(res.Server.At) / 1e9)
}

func (res *Result) p50() float64  { return res.P50 }
func (res *Result) p999() float64 { return res.P999 }

// calmP999 is P999 without the host's hiccups, where they were measured.
func (res *Result) calmP999() float64 {
	if res.Calm.Share == 0 {
		return res.P999
	}
	return res.Calm.P999
}

// wanted is the number of frames a second that the schedule had for clients that read.
func (s *Spec) wanted() float64 {
	return float64(s.Rate) * float64(s.Connections-s.Stalled) / float64(s.Connections)
}

// Bounds of credible results. Package tune applies the exported ones too.
const (
	rateShare   = 0.99 // of the wanted rate that has to be reached
	LateShare   = 0.5  // of a latency that may come from a late producer
	WaitShare   = 0.1  // of the time that the producer may have waited for receivers
	FullShare   = 0.2  // of the reads that may have filled the buffer
	OthersCores = 0.15 // that other processes may have used
	StolenCores = 0.05 // that the hypervisor may have kept
	calmShare   = 0.95 // of the time that has to be without hiccups of the host
)

// doubt is a reason not to take a row's numbers for the server's: a text, the same for all rows, and how bad it is in this one.
type doubt struct {
	text  string
	value float64
	unit  string
}

// doubts says why the numbers of a row are not, or not only, the server's. Each is judged by the median, so that one bad
// run of several does not count.
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
	if want := r.Spec.wanted(); want > 0 {
		got := mid(func(res *Result) float64 { return res.Frames })
		add(got < rateShare*want, "the target rate was missed, reached were", 100*got/want, "%")
		add(r.unpublished() && ring < 0.1, "the load generator was the bottleneck, of what the schedule wanted it published", 100*r.published(), "%")
		for i, name := range []string{"p50", "p99"} {
			late := mid(func(res *Result) float64 { return float64(res.Late[i]) })
			seen := mid(func(res *Result) float64 { return []float64{res.P50, res.P99}[i] })
			add(late > LateShare*seen && ring < 0.01, name+" is for a good part the load generator's, which published late by", late/micro, "us")
		}
	}
	add(peer > WaitShare && peer > ring, "the receivers were the bottleneck, the producer waited for them for", 100*peer, "% of the time")
	if r.Spec.Churn > 0 {
		served := mid(func(res *Result) float64 { return float64(res.Guests.Served) / max(float64(res.Guests.Wanted), 1) })
		add(served < rateShare, "clients that came and went were fewer than wanted,", 100*served, "%")
	}
	full := mid(func(res *Result) float64 { return res.FullRead })
	add(full > FullShare, "the receivers fell behind, the buffer was filled by", 100*full, "% of their reads")
	others := mid(func(res *Result) float64 { return res.Others })
	add(others > OthersCores, "the machine was shared, other processes used", others, "cores")
	stolen := mid(func(res *Result) float64 { return res.Stolen })
	add(stolen > StolenCores, "the hypervisor kept for itself", stolen, "cores")
	if calm := mid(func(res *Result) float64 { return res.Calm.Share }); r.Spec.Hiccups {
		add(calm > 0 && calm < calmShare, "the host did not run all processors, or what had waited was worked off, for", 100*(1-calm), "% of the time")
		add(calm == 0, "hiccups were not measured: "+orElse(r.Results[len(r.Results)-1].Calm.Why, "there was no time without"), 100, "% of the time")
	}
	return all
}

// published is the share of the frames wanted within the measured time that the producer published at all.
func (r *Row) published() float64 {
	return r.of(func(res *Result) float64 { return float64(res.InTime) }).mid / (float64(r.Spec.Rate) * r.Spec.Run.Seconds())
}

// unpublished tells whether that is too little, by more than a burst at each end.
func (r *Row) unpublished() bool {
	_, burst := r.Spec.tick()
	return r.published() < rateShare && (1-r.published())*float64(r.Spec.Rate)*r.Spec.Run.Seconds() > 2*max(burst, 1)
}

// Amount writes a count with three digits.
func Amount(v float64) string {
	switch {
	case v >= 1e6:
		return Digits(v/1e6) + " M"
	case v >= 1e4:
		return Digits(v/1e3) + " k"
	}
	return Digits(v)
}

// Micros writes a time in ns as us.
func Micros(ns float64) string { return Digits(ns/1e3) + " us" }

// Digits writes v with three significant digits.
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

// String is the median and the bounds.
func (s spread) text(unit float64) string {
	return fmt.Sprintf("%s (%s-%s)", Digits(s.mid/unit), Digits(s.low/unit), Digits(s.high/unit))
}

const micro = float64(time.Microsecond)
