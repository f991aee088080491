package tune

import (
	"fmt"
	"slices"
	"time"

	"sluice/cmd/internal/bench"
)

// Row has the measurements of a choice: one value per run, in the order of the runs.
type Row struct {
	Choice
	Frames []float64 `json:"frames_per_second"`
	P50    []float64 `json:"p50_ns"`
	P99    []float64 `json:"p99_ns"`
	P999   []float64 `json:"p99.9_ns"`
	CPU    []float64 `json:"server_cpu_ns_per_frame"`
	Broken string    `json:"broken,omitempty"` // promise that a run broke, in words
}

// Goal is the rate and latency that the user asked for.
type Goal struct {
	Rate int           // frames per second; 0 is as fast as possible
	P99  time.Duration // latency that is good enough; 0 is as low as possible
}

// Advice is a recommended choice, with reasons.
type Advice struct {
	Choice
	Clear   bool     `json:"clear"`   // measurements decided, not simplicity among equal choices
	Missed  bool     `json:"missed"`  // no choice reached the rate or latency of the goal
	Reasons []string `json:"reasons"` // sentences in the order of the decisions
}

const (
	reachedShare = 0.99 // share of the rate from which it counts as reached
	worthShare   = 0.05 // a smaller difference of medians does not justify a less simple choice
	fewRuns      = 3    // with fewer runs the spread is assumed
	fewSpread    = 0.2  // to be at least this share
)

// spread is the median of the runs, and the lowest and highest of them.
type spread struct{ mid, low, high float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// figure is a measurement by which rows are compared.
type figure struct {
	name string
	of   func(*Row) []float64
	text func(float64) string
	more bool // higher is better
}

func figures() (frames, p99, cpu figure) {
	return figure{"frames/s", func(r *Row) []float64 { return r.Frames }, bench.Amount, true},
		figure{"p99", func(r *Row) []float64 { return r.P99 }, bench.Micros, false},
		figure{"CPU per frame", func(r *Row) []float64 { return r.CPU }, bench.Micros, false}
}

// better reports whether a is clearly better than b: every run of a is better than every run of b,
// and the medians differ by more than worthShare.
func (f *figure) better(a, b *Row) bool {
	x, y := f.bounds(a), f.bounds(b)
	if f.more {
		x, y = spread{y.mid, y.low, y.high}, x
	}
	return x.high < y.low && y.mid-x.mid > worthShare*x.mid
}

// bounds returns the spread of a row's runs. For few runs it is at least fewSpread.
func (f *figure) bounds(r *Row) spread {
	v := f.of(r)
	s := spreadOf(v)
	if len(v) < fewRuns {
		s.low, s.high = min(s.low, s.mid*(1-fewSpread)), max(s.high, s.mid*(1+fewSpread))
	}
	return s
}

// best returns the row with the best median.
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

// Advise chooses a row in steps: the rows that reach the rate; of these the rows that meet the
// latency of the goal, or those with the lowest p99 (without a rate, those with the most frames);
// of these the rows with the lowest CPU; and of rows that are still equal the simplest. It returns
// nil if no row is left.
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
	few := slices.ContainsFunc(left, tooFew)
	a.Clear = len(left) == 1 && !few
	slices.SortFunc(left, func(x, y *Row) int { return simpler(x.Choice, y.Choice) })
	a.Choice = left[0].Choice
	if few {
		a.say("Fewer than %d runs of a choice do not show how much its runs differ, so nothing here is "+
			"certain: use --runs %d or more.", fewRuns, fewRuns)
	}
	if len(left) > 1 {
		a.say("Of the %d equal choices this is the simplest: sleeping rather than spinning, few "+
			"shards, few goroutines.", len(left))
	}
	return a
}

func (a *Advice) say(format string, args ...any) {
	a.Reasons = append(a.Reasons, fmt.Sprintf(format, args...))
}

// reaching keeps the rows whose median reaches the rate, to be compared by p99: a single run may miss it, or
// reach it, because of the machine. If no row reaches it, reaching keeps all, to be compared by frames.
func (a *Advice) reaching(rows []*Row, rate int, frames, p99 *figure) (left []*Row, by *figure) {
	unsure, least := 0, reachedShare*float64(rate)
	for _, r := range rows {
		if s := spreadOf(r.Frames); s.mid >= least {
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
		a.say("NO CHOICE REACHED %s frames/s; the highest was %s (%v), so frames/s decide.",
			bench.Amount(float64(rate)), bench.Amount(frames.bounds(best).mid), best.Choice)
		return rows, frames
	case len(rows):
	default:
		a.say("%d of %d choices did not reach %s frames/s by their median and are left out.",
			len(rows)-len(left), len(rows), bench.Amount(float64(rate)))
	}
	if unsure > 0 {
		a.say("%d of %d missed %s frames/s in some runs; lateness shows in p99.", unsure,
			len(left), bench.Amount(float64(rate)))
	}
	return left, p99
}

// fastEnough keeps the rows that meet the p99 of the goal; p99 is not compared after that. If no
// row meets it, fastEnough keeps all, to be compared by p99.
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
		a.say("NO CHOICE MET a p99 of %v; the lowest was %s (%v).", most,
			bench.Micros(p99.bounds(best).mid), best.Choice)
		return rows, p99
	}
	a.say("%[2]d of %[3]d meet a p99 of %[1]v, so CPU decides among them.", most, len(left), len(rows))
	if unsure > 0 {
		a.say("%d of these do not meet it in every run.", unsure)
	}
	return left, nil
}

// narrow keeps the row that is best by the figure, and the rows that are not clearly worse.
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
		a.say("%s: the differences are noise, within the spread of the runs; medians are %s.",
			f.name, f.medians(rows))
	case len(left) == 1:
		next := f.best(worse)
		a.say("%s: %s is %s than all others; the next is %s (%v).", f.name, text(best),
			certain("better", rows), text(next), next.Choice)
	default:
		a.say("%s: the best is %s (%v); %d of %d are %s; the others differ by noise, "+
			"with medians of %s.",
			f.name, text(best), best.Choice, len(worse), len(rows), certain("worse", rows), f.medians(left))
	}
	return left
}

// tooFew reports whether a row has too few runs to tell a difference from noise.
func tooFew(r *Row) bool { return len(r.Frames) < fewRuns }

// certain says how certain a difference between rows is.
func certain(word string, rows []*Row) string {
	if slices.ContainsFunc(rows, tooFew) {
		return word + " in too few runs"
	}
	return "clearly " + word
}

// medians formats the lowest and highest median of the rows.
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
