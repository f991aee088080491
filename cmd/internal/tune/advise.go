package tune

import (
	"fmt"
	"slices"
	"time"

	"sluice/cmd/internal/bench"
)

// Row is what was measured of a choice: a value a run, in the order of the runs.
type Row struct {
	Choice
	Frames []float64 `json:"frames_per_second"`
	P50    []float64 `json:"p50_ns"`
	P99    []float64 `json:"p99_ns"`
	P999   []float64 `json:"p99.9_ns"`
	CPU    []float64 `json:"server_cpu_ns_per_frame"`
	Broken string    `json:"broken,omitempty"` // the promise that a run broke, in words
}

// Goal is what the user asked for.
type Goal struct {
	Rate int           // frames a second; 0 is as fast as possible
	P99  time.Duration // latency that is good enough, 0 for as little as possible
}

// Advice is a choice and why.
type Advice struct {
	Choice
	Clear   bool     `json:"clear"`   // the numbers decided, and not simplicity among what cannot be told apart
	Missed  bool     `json:"missed"`  // rate or latency that was asked for was not reached by any choice
	Reasons []string `json:"reasons"` // sentences in the order of the decisions
}

const (
	reachedShare = 0.99 // of the rate that counts as reached
	worthShare   = 0.05 // a smaller difference of medians is not worth a less simple choice
	fewRuns      = 3    // with fewer runs their spread says little,
	fewSpread    = 0.2  // so it is taken to be at least this share
)

// spread is the median of the runs and their bounds.
type spread struct{ mid, low, high float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// figure is a column by which rows are compared.
type figure struct {
	name string
	of   func(*Row) []float64
	text func(float64) string
	more bool // more is better
}

func figures() (frames, p99, cpu figure) {
	return figure{"frames/s", func(r *Row) []float64 { return r.Frames }, bench.Amount, true},
		figure{"p99", func(r *Row) []float64 { return r.P99 }, bench.Micros, false},
		figure{"CPU a frame", func(r *Row) []float64 { return r.CPU }, bench.Micros, false}
}

// better tells whether row a is clearly better than b: no run of b as good as any of a, and medians far enough apart.
func (f *figure) better(a, b *Row) bool {
	x, y := f.bounds(a), f.bounds(b)
	if f.more {
		x, y = spread{y.mid, y.low, y.high}, x
	}
	return x.high < y.low && y.mid-x.mid > worthShare*x.mid
}

// bounds are the spread of a row's runs, or what it is taken to be if they are few.
func (f *figure) bounds(r *Row) spread {
	v := f.of(r)
	s := spreadOf(v)
	if len(v) < fewRuns {
		s.low, s.high = min(s.low, s.mid*(1-fewSpread)), max(s.high, s.mid*(1+fewSpread))
	}
	return s
}

// best is the row with the best median.
func (f *figure) best(rows []*Row) *Row {
	return slices.MinFunc(rows, func(a, b *Row) int {
		d := f.bounds(a).mid - f.bounds(b).mid
		if f.more {
			d = -d
		}
		switch {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return simpler(a.Choice, b.Choice)
	})
}

// Advise chooses among rows: what reaches the rate; then what meets the latency that is good enough, or has the least p99 (as
// fast as possible: the most frames); then what takes the least CPU; and of what cannot be told apart the simplest. It
// returns nil when there is nothing to choose from.
func Advise(rows []Row, goal Goal) *Advice {
	a := &Advice{}
	var left []*Row
	broken := 0
	for i := range rows {
		switch {
		case rows[i].Broken != "":
			broken++
		case len(rows[i].Frames) > 0:
			left = append(left, &rows[i])
		}
	}
	if broken > 0 {
		a.say("%d of %d choices broke a promise and are left out.", broken, len(rows))
	}
	if len(left) == 0 {
		return nil
	}
	frames, p99, cpu := figures()
	first := &frames
	if goal.Rate > 0 {
		left, first = a.reaching(left, goal.Rate, &frames, &p99)
	}
	if goal.P99 > 0 && first == &p99 {
		left, first = a.fastEnough(left, goal.P99, &p99)
	}
	if first != nil {
		left = a.narrow(left, first)
	}
	if len(left) > 1 {
		left = a.narrow(left, &cpu)
	}
	a.Clear = len(left) == 1
	slices.SortFunc(left, func(x, y *Row) int { return simpler(x.Choice, y.Choice) })
	a.Choice = left[0].Choice
	if !a.Clear {
		a.say("Of the %d that cannot be told apart this is the simplest: sleeping rather than spinning, few shards, few goroutines.", len(left))
	}
	return a
}

func (a *Advice) say(format string, args ...any) {
	a.Reasons = append(a.Reasons, fmt.Sprintf(format, args...))
}

// reaching keeps rows that reach the rate in at least one run, since a run that does not can be the machine's, to be compared by p99. If there is none it keeps all, to be compared by frames.
func (a *Advice) reaching(rows []*Row, rate int, frames, p99 *figure) (left []*Row, by *figure) {
	unsure, least := 0, reachedShare*float64(rate)
	for _, r := range rows {
		if s := spreadOf(r.Frames); s.high >= least {
			left = append(left, r)
			if s.low < least {
				unsure++
			}
		}
	}
	switch len(left) {
	case 0:
		best := frames.best(rows)
		a.Missed = true
		a.say("NO CHOICE REACHED %s frames/s; the most was %s (%v), so frames/s decide.", bench.Amount(float64(rate)), bench.Amount(frames.bounds(best).mid), best.Choice)
		return rows, frames
	case len(rows):
	default:
		a.say("%d of %d choices did not reach %s frames/s in any run and are left out.", len(rows)-len(left), len(rows), bench.Amount(float64(rate)))
	}
	if unsure > 0 {
		a.say("%d of %d reached %s frames/s in some runs only; being late shows in p99.", unsure, len(left), bench.Amount(float64(rate)))
	}
	return left, p99
}

// fastEnough keeps rows whose p99 is good enough; then it is no longer compared. If there is none it keeps all.
func (a *Advice) fastEnough(rows []*Row, most time.Duration, p99 *figure) (left []*Row, by *figure) {
	unsure := 0
	for _, r := range rows {
		if s := p99.bounds(r); s.mid <= float64(most) {
			left = append(left, r)
			if s.high > float64(most) {
				unsure++
			}
		}
	}
	if len(left) == 0 {
		best := p99.best(rows)
		a.Missed = true
		a.say("NO CHOICE MET a p99 of %v; the nearest was %s (%v).", most, bench.Micros(p99.bounds(best).mid), best.Choice)
		return rows, p99
	}
	a.say("A p99 of %v is met by %d of %d, so CPU decides among them.", most, len(left), len(rows))
	if unsure > 0 {
		a.say("By %d of these not in every run.", unsure)
	}
	return left, nil
}

// narrow keeps the row that is best by the figure, and those that cannot be told from it.
func (a *Advice) narrow(rows []*Row, f *figure) (left []*Row) {
	if len(rows) == 1 {
		a.say("Only %v is left to choose.", rows[0].Choice)
		return rows
	}
	best := f.best(rows)
	var worse []*Row
	for _, r := range rows {
		if f.better(best, r) {
			worse = append(worse, r)
		} else {
			left = append(left, r)
		}
	}
	text := func(r *Row) string { return f.text(f.bounds(r).mid) }
	switch {
	case len(worse) == 0:
		a.say("%s: the differences are within the spread of the runs, that is noise; medians are %s.", f.name, f.medians(rows))
	case len(left) == 1:
		next := f.best(worse)
		a.say("%s: %s is clearly better than all others, next is %s (%v).", f.name, text(best), text(next), next.Choice)
	default:
		a.say("%s: the best is %s (%v); clearly worse than that: %d of %d; the rest differ by noise, medians are %s.",
			f.name, text(best), best.Choice, len(worse), len(rows), f.medians(left))
	}
	return left
}

// medians writes the bounds of the rows' medians.
func (f *figure) medians(rows []*Row) string {
	var all []float64
	for _, r := range rows {
		all = append(all, f.bounds(r).mid)
	}
	low, high := f.text(slices.Min(all)), f.text(slices.Max(all))
	if low == high {
		return low
	}
	return low + " to " + high
}
