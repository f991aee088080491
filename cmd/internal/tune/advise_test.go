package tune

import (
	"strings"
	"testing"
	"time"

	"sluice/cmd/internal/config"
)

// planted is a row with three runs around each value: frames/s, p99 in us and CPU in us. spread is
// the share by which they differ.
func planted(c Choice, frames, p99, cpu, spread float64) Row {
	around := func(v float64) []float64 { return []float64{v, v * (1 - spread), v * (1 + spread)} }
	return Row{Choice: c, Frames: []float64{frames, frames, frames}, P99: around(p99 * 1e3),
		CPU: around(cpu * 1e3)}
}

func onlyRun(r Row) Row {
	r.Frames, r.P99, r.CPU = r.Frames[:1], r.P99[:1], r.CPU[:1]
	return r
}

func TestAdvice(t *testing.T) {
	one, front, spread, four := Choice{1, "fused", "adaptive"}, Choice{2, "front",
		"adaptive"}, Choice{2, "spread", "adaptive"}, Choice{4, "front", "adaptive"}
	spin := Choice{1, "fused", "spin"}
	rate := Goal{Rate: 10000}
	broken := func(r Row) Row { r.Broken = "gaps 1"; return r }
	for _, tt := range []struct {
		name   string
		rows   []Row
		goal   Goal
		want   Choice
		clear  bool
		missed bool
		words  string // of one reason
	}{
		{"clearly lower latency wins despite more CPU",
			[]Row{planted(one, 1e4, 300, 5, .05), planted(front, 1e4, 100, 9, .05),
				planted(four, 1e4, 200, 6, .05)}, rate, front, true, false,
			"100 us is clearly better than all others; the next is 200 us (4 shards front adaptive)"},
		{"one run is not clear",
			[]Row{onlyRun(planted(one, 1e4, 300, 5, 0)), onlyRun(planted(front, 1e4, 100, 9, 0))},
			rate, front, false, false, "100 us is better in too few runs than all others"},
		{"one run names the remedy",
			[]Row{onlyRun(planted(one, 1e4, 300, 5, 0)), onlyRun(planted(front, 1e4, 100, 9, 0))},
			rate, front, false, false, "use --runs 3 or more"},
		{"noise: fewest shards and simplest placement",
			[]Row{planted(four, 1e4, 100, 5, .3), planted(spread, 1e4, 110, 5.5, .3),
				planted(spin, 1e4, 115, 5, .3), planted(one, 1e4, 120, 6, .3),
				planted(front, 1e4, 105, 5, .3)}, rate, one, false, false, "are noise"},
		{"equal latency: lower CPU wins",
			[]Row{planted(one, 1e4, 100, 9, .05), planted(front, 1e4, 101, 5, .05)}, rate, front,
			true, false, "CPU per frame: 5.00 us is clearly better"},
		{"a clear difference of 2 % does not justify a shard",
			[]Row{planted(one, 1e4, 102, 5.1, .001), planted(front, 1e4, 100, 5, .001)}, rate, one,
			false, false, "noise"},
		{"choices that miss the rate are left out despite lower latency",
			[]Row{planted(one, 9000, 50, 2, .01), planted(front, 1e4, 100, 5, .01),
				planted(four, 1e4, 200, 5, .01)}, rate, front, true, false,
			"1 of 3 choices did not reach 10.0 k frames/s"},
		{"no choice reaches the rate: most frames win",
			[]Row{planted(one, 5000, 50, 2, .01), planted(front, 7000, 900, 5, .01)}, rate, front,
			true, true, "NO CHOICE REACHED 10.0 k frames/s; the highest was 7000"},
		{"rate missed in some runs: reported, not judged",
			[]Row{{Choice: one, Frames: []float64{9e3, 1e4, 1e4}, P99: []float64{90e3, 100e3, 130e3},
				CPU: []float64{5e3, 5e3, 6e3}}, planted(front, 1e4, 105, 5, .1)}, rate, one, false, false,
			"1 of 2 missed 10.0 k frames/s in some runs"},
		{"one run that reached the rate does not save a choice that missed it in the others",
			[]Row{{Choice: one, Frames: []float64{0, 0, 1e4}, P99: []float64{90e3, 6e9, 3e9},
				CPU: []float64{5e3, 9e7, 6e7}}, planted(front, 1e4, 105, 5, .1)}, rate, front, true, false,
			"1 of 2 choices did not reach 10.0 k frames/s by their median"},
		{"noise never selects spinning, even for fewer shards",
			[]Row{planted(spin, 1e4, 100, 5, .3), planted(front, 1e4, 110, 5, .3)}, rate, front,
			false, false, "sleeping rather than spinning"},
		{"choices that meet the target are compared by CPU alone",
			[]Row{planted(one, 1e4, 300, 5, .05), planted(front, 1e4, 100, 9, .05),
				planted(four, 1e4, 600, 2, .05)},
			Goal{10000, 400 * time.Microsecond}, one, true, false, "2 of 3 meet a p99 of 400µs"},
		{"target met in some runs: reported, the median counts",
			[]Row{planted(one, 1e4, 300, 5, .5), planted(front, 1e4, 600, 5, .05),
				planted(four, 1e4, 450, 1, .5)},
			Goal{10000, 400 * time.Microsecond}, one, true, false, "1 of these do not meet it in every run"},
		{"no choice meets the target: lowest latency wins",
			[]Row{planted(one, 1e4, 300, 5, .05), planted(front, 1e4, 100, 9, .05)},
			Goal{10000, 50 * time.Microsecond}, front, true, true,
			"NO CHOICE MET a p99 of 50µs; the lowest was 100 us"},
		{"as fast as possible: most frames win despite latency",
			[]Row{planted(one, 1e6, 100, 1, .01), planted(front, 2e6, 900, 1, .01)}, Goal{}, front,
			true, false, "frames/s: 2.00 M is clearly better"},
		{"a choice that lost frames is never recommended",
			[]Row{broken(planted(one, 1e4, 10, 1, .01)), planted(front, 1e4, 100, 9, .01)}, rate,
			front, true, false, "1 of 2 choices broke a promise"},
		{"single runs that differ by 10 % are noise",
			[]Row{{Choice: one, Frames: []float64{1e4}, P99: []float64{110e3}, CPU: []float64{5e3}},
				{Choice: front, Frames: []float64{1e4}, P99: []float64{100e3},
					CPU: []float64{5e3}}}, rate, one, false, false, "noise"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Advise(tt.rows, tt.goal)
			reasons := strings.Join(a.Reasons, "\n")
			if a.Choice != tt.want || a.Clear != tt.clear || a.Missed != tt.missed ||
				!strings.Contains(reasons, tt.words) {
				t.Errorf("%v, clear %t, missed %t, want %v, %t, %t and %q; reasons:\n%s", a.Choice,
					a.Clear, a.Missed, tt.want, tt.clear, tt.missed, tt.words, reasons)
			}
		})
	}
	if a := Advise([]Row{broken(planted(one, 1e4, 10, 1, .01))}, rate); a != nil {
		t.Errorf("advice %v without a valid row", a)
	}
}

func TestAdvisedFlagsAreAcceptedByServe(t *testing.T) {
	for _, c := range choices(12, 1000) {
		s := config.DefaultServer()
		rest, err := s.Set().Load(strings.Fields(c.Flags()), nil)
		if err != nil || len(rest) > 0 || s.Shards != c.Shards ||
			s.Placement.String() != c.Placement || s.Idle.String() != c.Idle {
			t.Errorf("%s: %v; parsed as %d %v %v", c.Flags(), err, s.Shards, s.Placement, s.Idle)
		}
	}
}
