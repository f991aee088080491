package bench

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// made returns a row whose runs have the given p50, twice that as p99 and three times that as
// p99.9, in us.
func made(spec Spec, us ...float64) *Row {
	r := &Row{Spec: spec}
	for _, v := range us {
		r.Results = append(r.Results, &Result{
			Spec: spec, P50: v * 1e3, P99: v * 2e3, P999: v * 3e3, Frames: spec.Wanted(),
			InTime: uint64(float64(spec.Rate) * spec.Run.Seconds()), Server: Usage{At: 1e9,
				User: 1e6}, Counts: Counts{Frames: 10, Sends: 5, Submits: 1},
		})
	}
	return r
}

func TestMediansAndBounds(t *testing.T) {
	p50 := func(res *Result) float64 { return res.P50 }
	for _, tt := range []struct {
		us   []float64
		want string
	}{
		{[]float64{3}, "3.00 (3.00-3.00)"},
		{[]float64{30, 1, 2}, "2.00 (1.00-30.0)"},
		{[]float64{4, 1, 3, 1000}, "3.50 (1.00-1000)"},
	} {
		if got := made(Spec{}, tt.us...).of(p50).text(micro); got != tt.want {
			t.Errorf("median of %v: %s, want %s", tt.us, got, tt.want)
		}
	}
}

// latencies returns a result with a frame of each latency in us, all of them while the host ran.
func latencies(spec Spec, us ...int64) *Result {
	res, hist := &Result{Spec: spec}, hdrhistogram.New(1, latencyMost, 3)
	for _, v := range us {
		_ = hist.RecordValue(v * 1000) // within the bounds
	}
	res.record(hist)
	res.Calm = Calm{Share: 0.5, hist: hist}
	return res
}

func TestConsecutiveRunsAreMerged(t *testing.T) {
	r := &Row{Spec: Spec{Stalled: 3}}
	for i := range int64(11) {
		r.Results = append(r.Results, latencies(r.Spec, i, i, i, 100*i))
	}
	var p50, p999 []float64
	for _, part := range r.parts().Results {
		p50, p999 = append(p50, math.Round(part.P50/1000)), append(p999,
			math.Round(part.calmP999()/1000))
		if part.Spec != r.Spec || part.Calm.Share != 0.5 {
			t.Errorf("a part has %+v of %+v", part.Calm, part.Spec)
		}
	}
	if !slices.Equal(p50, []float64{0, 3, 5, 7, 9}) ||
		!slices.Equal(p999, []float64{100, 300, 500, 700, 1000}) {
		t.Errorf("parts have p50 %v and p99.9 %v", p50, p999)
	}
	if r.Results = r.Results[:9]; r.parts() != r {
		t.Errorf("%d runs are merged, which are too few", len(r.Results))
	}
}

func TestDoubts(t *testing.T) {
	spec := Spec{Server: "sluice", Rate: 1000, Connections: 10, Run: time.Second, Hiccups: true}
	for _, tt := range []struct {
		name   string
		change func(*Result)
		want   string // "" for none
	}{
		{"no doubt", func(*Result) {}, ""},
		{"missed rate", func(r *Result) { r.Frames = 900 }, "target rate was missed"},
		{"late producer", func(r *Result) { r.Late[0] = 8e3 },
			"p50 is largely due to the load generator"},
		{"producer late because of the server",
			func(r *Result) { r.Late[0], r.WaitRing = 8e3, 5e8 }, ""},
		{"producer slower than the schedule", func(r *Result) { r.InTime = 900 },
			"load generator was the bottleneck"},
		{"producer waited for the server", func(r *Result) { r.InTime, r.WaitRing = 900, 5e8 }, ""},
		{"last burst slightly late", func(r *Result) { r.InTime = 998 }, ""},
		{"receivers slower than the server", func(r *Result) { r.WaitPeer = 5e8 },
			"receivers were the bottleneck"},
		{"server slower than the receivers", func(r *Result) { r.WaitPeer, r.WaitRing = 3e8, 5e8 }, ""},
		{"reads filled the buffer", func(r *Result) { r.FullRead = 0.5 }, "fell behind"},
		{"busy other processes", func(r *Result) { r.Others = 1 }, "machine was shared"},
		{"busy hypervisor", func(r *Result) { r.Stolen = 1 }, "hypervisor withheld"},
		{"host stopped processors", func(r *Result) { r.Calm.Share = 0.8 },
			"host did not run all processors"},
		{"host stopped processors briefly", func(r *Result) { r.Calm.Share = 0.98 }, ""},
		{"hiccups not measurable", func(r *Result) { r.Calm.Share, r.Calm.Why = 0, "CAP_SYS_NICE" },
			"hiccups were not measured: CAP_SYS_NICE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			row := made(spec, 10, 10, 10)
			for _, r := range row.Results {
				r.Calm.Share = 1
			}
			for _, r := range row.Results[1:] { // two of three: the median
				tt.change(r)
			}
			texts := ""
			for _, d := range row.doubts() {
				texts += d.text + "\n"
			}
			if tt.want == "" && texts != "" || !strings.Contains(texts, tt.want) {
				t.Errorf("doubts %q, want %q", texts, tt.want)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	spec := Spec{Server: "sluice", Rate: 1000, Connections: 10, Run: time.Second}
	stalled := spec
	stalled.Stalled = 1
	for _, tt := range []struct {
		name   string
		change func(base, stalled *Row)
		broken bool
	}{
		{"no violation", func(_, _ *Row) {}, false},
		{"gap in one run", func(base, _ *Row) { base.Results[1].Faults.Gaps = 1 }, true},
		{"stalled client retried in one run", func(_, s *Row) { s.Results[0].Counts.Refused = 3 },
			true},
		{"stalled client tried twice", func(_, s *Row) { s.Results[0].Counts.Refused = 2 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := []*Row{made(spec, 10, 20, 30), made(stalled, 30, 20, 40)}
			tt.change(rows[0], rows[1])
			if err := verdict(rows); errors.Is(err, ErrViolated) != tt.broken {
				t.Errorf("verdict %v", err)
			}
		})
	}
	if s := stalls([]*Row{made(spec, 10, 20, 30), made(stalled, 30, 20, 40)}); len(s) != 1 ||
		s[0].p50.mid != 1.5 || s[0].p999.mid != 1.5 || s[0].p50.low != 1 || s[0].p50.high != 3 || !s[0].complete {
		t.Errorf("ratios with stalled clients %+v, want 1.5", s)
	}
}

func TestReplaceSection(t *testing.T) {
	const page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n<!-- begin y -->\n<!-- end y -->\n"
	got, err := replaceSection(page, "x", "new\n\n")
	if want := strings.Replace(page, "old", "new", 1); err != nil || got != want {
		t.Errorf("page %q, %v; want %q", got, err, want)
	}
	if _, err := replaceSection(page, "z", "new"); err == nil ||
		!strings.Contains(err.Error(), "<!-- begin z -->") {
		t.Errorf("missing section: %v", err)
	}
}

func TestProfilesHavePlans(t *testing.T) {
	for _, name := range []string{"quick", "full", "topics", tlsNet} {
		sections, err := profile(name)
		if err != nil {
			t.Fatal(err)
		}
		total := time.Duration(0)
		for _, s := range sections {
			plan, err := s.plan()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, s.name, err)
			}
			specs, err := plan.Specs()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, s.name, err)
			}
			total += time.Duration(plan.Runs*len(specs)) * (plan.Warm + plan.Run + time.Second/2)
		}
		if most := map[string]time.Duration{"quick": 45 * time.Second,
			"full": 13 * time.Minute, "topics": 4 * time.Minute, tlsNet: 6 * time.Minute}[name]; total > most {
			t.Errorf("profile %s takes %v, at most %v", name, total, most)
		}
		t.Logf("profile %s takes %v", name, total)
	}
}
