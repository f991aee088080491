package bench

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// planted returns a row whose runs have the given server CPU time per frame (ns) and p99.9 (ns), a
// pair per run.
func planted(spec Spec, runs ...[2]float64) *Row {
	r := &Row{Spec: spec}
	for _, v := range runs {
		r.Results = append(r.Results, &Result{
			Spec: spec, Frames: 1e6, P50: v[1] / 10, P999: v[1], Server: Usage{At: 1e9,
				User: int64(v[0] * 1e6), Peak: 70 << 20}, Idle: 20 << 20,
		})
	}
	return r
}

// verdictOn returns the line of the goal whose text begins with what, judged by rows of one
// section.
func verdictOn(t *testing.T, what, section string, rows ...*Row) goalLine {
	for _, l := range judge([]pageSection{{name: section, rows: rows}}, "", nil) {
		if strings.HasPrefix(l.what, what) {
			return l
		}
	}
	t.Fatalf("no goal %q", what)
	return goalLine{}
}

func TestGoalsAreComputedFromRows(t *testing.T) {
	own := Spec{Server: "sluice", Connections: 64, Rate: 1000}
	with := func(change func(*Spec)) Spec {
		s := own
		change(&s)
		return s
	}
	shards := func(k int) Spec { return with(func(s *Spec) { s.Shards = k }) }
	beside := func(stalled int) Spec {
		return with(func(s *Spec) { s.Connections, s.Stalled = 100, stalled })
	}
	server := func(name string) Spec { return with(func(s *Spec) { s.Server = name }) }
	many := with(func(s *Spec) { s.Connections, s.Rate = 10000, 1e6 })
	one, full := with(func(s *Spec) { s.Connections = 1 }), with(func(s *Spec) { s.Rate = 0 })
	peer := func(s Spec) Spec { s.Server = "gnet"; return s }
	faulty := planted(own, [2]float64{1, 1})
	faulty.Results[0].Faults.Gaps = 1
	closed := planted(many, [2]float64{1, 1})
	closed.Results[0].Counts.Closed = 1
	slow := planted(many, [2]float64{1, 1})
	slow.Results[0].Frames = 9e5
	for _, tt := range []struct {
		name, what, section, measured, verdict string
		rows                                   []*Row
	}{
		{"ratio of medians, bounds of rounds", "server CPU per frame, 256", "limit",
			"1.20x (0.50-3.00)", "met, 4.0 % to spare",
			[]*Row{planted(own, [2]float64{120, 1}, [2]float64{100, 1}, [2]float64{300, 1}),
				planted(server("bare"), [2]float64{100, 1}, [2]float64{200, 1}, [2]float64{100, 1})}},
		{"ratio beyond the goal", "the same with 8", "limit8", "1.80x (1.80-1.80)",
			"missed by 20.0 %",
			[]*Row{planted(own, [2]float64{180, 1}), planted(server("bare8"), [2]float64{100, 1})}},
		{"missed rate is reported", "server CPU per frame, 256", "limit",
			", bare reached 50 % of the rate", "met",
			[]*Row{planted(own, [2]float64{1, 1}),
				planted(with(func(s *Spec) { s.Server, s.Rate = "bare", 2e6 }), [2]float64{100, 1})}},
		{"peer left out", "server CPU per frame, 256", "limit", "-", "not measured",
			[]*Row{planted(own, [2]float64{1, 1})}},
		{"fast server that loses frames", "server CPU per frame, 256", "limit", "1.00x",
			"missed: sluice", []*Row{faulty, planted(server("bare"), [2]float64{1, 1})}},
		{"better than a peer everywhere", "server CPU per frame against gnet", "peers",
			"at worst 0.90x (0.90-0.90) with 64 at full speed; met in 2 of 2", "met, 10.0 % to spare",
			[]*Row{planted(own, [2]float64{50, 1}), planted(peer(own), [2]float64{100, 1}),
				planted(full, [2]float64{90, 1}), planted(peer(full), [2]float64{100, 1})}},
		{"worse than a peer once", "p99.9 against gnet", "peers",
			"at worst 1.50x (1.50-1.50) with 64 at 1000; met in 1 of 2", "missed by 50.0 %",
			[]*Row{planted(own, [2]float64{1, 15}), planted(peer(own), [2]float64{1, 10}),
				planted(full, [2]float64{1, 9}), planted(peer(full), [2]float64{1, 10})}},
		{"equal is not better with many connections", "p99.9 against gnet", "peers",
			"at worst 1.00x", "missed",
			[]*Row{planted(own, [2]float64{1, 10}), planted(peer(own), [2]float64{1, 10})}},
		{"equal is enough with one", "p99.9 against gnet", "peers", "at worst 1.00x", "met",
			[]*Row{planted(one, [2]float64{1, 10}), planted(peer(one), [2]float64{1, 10})}},
		{"frames a second", "whole pipeline", "throughput", "1.00 M", "missed by 700.0 %",
			[]*Row{planted(own, [2]float64{1, 1})}},
		{"a tenth of the clients stalled", "p50 of healthy", "stalled", "1.05x",
			"met, 0.0 % to spare", []*Row{
				planted(beside(0), [2]float64{1, 100}), planted(beside(1), [2]float64{1, 90}),
				planted(beside(10), [2]float64{1, 105})}},
		{"the worst of the stalled", "p99.9 of healthy", "stalled", ", 10 stalled",
			"missed by 14.3 %", []*Row{
				planted(beside(0), [2]float64{1, 100}), planted(beside(1), [2]float64{1, 101}),
				planted(beside(10), [2]float64{1, 120})}},
		{"form with the lowest CPU is judged, for latency too", "p99.9 against gnet", "peers",
			"at worst 2.00x (2.00-2.00) with 64 at 1000, K=1; met in 0 of 1", "missed by 100.0 %",
			[]*Row{
				planted(shards(2), [2]float64{50, 1}), planted(shards(1),
					[2]float64{40, 20}), planted(peer(own), [2]float64{100, 10})}},
		{"other engines than the first are not judged", "server CPU per frame against gnet",
			"peers", "at worst 0.50x (0.50-0.50) with 64 at 1000, K=2; met in 1 of 1", "met", []*Row{
				planted(with(func(s *Spec) { s.Shards, s.IO = 2, "uring" }), [2]float64{50, 1}),
				planted(with(func(s *Spec) { s.Shards, s.IO = 1, "poll" }), [2]float64{40, 20}),
				planted(peer(own), [2]float64{100, 10})}},
		{"four shards against one, not two", "server CPU per frame with 4", "shards", "1.05x",
			"met, 4.5 %", []*Row{
				planted(shards(1), [2]float64{100, 1}), planted(shards(2), [2]float64{900, 1}),
				planted(shards(4), [2]float64{105, 1})}},
		{"memory over idle", "10,000", "many", "50.0 (50.0-50.0) MiB", "met",
			[]*Row{planted(many, [2]float64{1, 1})}},
		{"connection closed", "10,000", "many", "1 closed", "missed: 1 connections were closed",
			[]*Row{closed}},
		{"rate missed", "10,000", "many", "900 k frames/s", "missed: 90 % of the rate", []*Row{slow}},
		{"order to answer against fdatasync", "durable", "durable", "3.00x", "missed by 50.0 %",
			[]*Row{planted(server(ordersServer), [2]float64{1, 30}),
				planted(server(syncServer), [2]float64{1, 10})}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := verdictOn(t, tt.what, tt.section, tt.rows...)
			if !strings.Contains(l.measured, tt.measured) || !strings.HasPrefix(l.verdict, tt.verdict) {
				t.Errorf("measured %q, %q; want %q, %q", l.measured, l.verdict, tt.measured, tt.verdict)
			}
		})
	}
}

func TestNullRingReadsMicroBenchmarks(t *testing.T) {
	const text = "goos: linux\nBenchmarkPipeline/batch=16-2 7 549 ns/op 2.9 Mslots/s 45.0 " +
		"ns/slot 0 B/op\nBenchmarkGate-2 7 29 ns/op 99.0 ns/slot\n"
	if v := nullRing(text, 60); v.share != 0.75 || v.measured != "45.0 ns batch=16; met in 1 of 1" {
		t.Errorf("%+v", v)
	}
	if v := nullRing(text+"BenchmarkPipeline/batch=256-2 7 549 ns/op 2.9 Mslots/s 120 ns/slot\n",
		60); v.share != 2 || !strings.HasSuffix(v.measured, "met in 1 of 2") {
		t.Errorf("%+v", v)
	}
	if v := nullRing("PASS\n", 60); !math.IsNaN(v.share) {
		t.Errorf("%+v", v)
	}
}

func TestUnmeasuredGoalsAreReported(t *testing.T) {
	lines := judge([]pageSection{{name: "limit", note: "Without bare.\n\nSo there is nothing."}},
		"", nil)
	if len(lines) != len(goals())+1 {
		t.Errorf("%d lines for %d goals and the micro benchmark", len(lines), len(goals()))
	}
	for _, l := range lines {
		if !strings.HasPrefix(l.verdict, "not measured: ") {
			t.Errorf("%s: %s", l.what, l.verdict)
		}
	}
	if want := "not measured: Without bare. So there is nothing."; lines[0].verdict != want {
		t.Errorf("verdict %q, want %q", lines[0].verdict, want)
	}
	if some := judge(nil, "", []string{"goroutines"}); len(some) != 2 {
		t.Errorf("%d lines for a section with 2 goals", len(some))
	}
}

func TestMergeGoalsReplacesMeasuredLines(t *testing.T) {
	was := []goalLine{{"fast", "<= 1x", "2x", "missed by 100.0 %"}, {"small", "<= 1", "1", "met"},
		{"steady", "<= 1", "3", "missed"}}
	text := &strings.Builder{}
	writeCells(text, goalCells(was))
	page, err := replaceSection("a\n<!-- begin goals -->\n<!-- end goals -->\n| no | goal | at | "+
		"all |\n", "goals", text.String())
	if err != nil {
		t.Fatal(err)
	}
	now := []goalLine{{"fast", "<= 1x", "0.50x", "met, 50.0 % to spare"},
		{"steady", "<= 1", "-", "not measured: no"}}
	want := []goalLine{now[0], was[1], was[2]}
	if got := mergeGoals(page, "goals", now); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestGoalsOfTopicsAreComputedFromRows(t *testing.T) {
	with := func(change func(*Spec)) Spec {
		s := Spec{Server: "sluice", IO: "uring", Shards: 1, Connections: 200, Fan: Fan{Topics: 1, Each: 1, Subscribers: 200}}
		change(&s)
		return s
	}
	server := func(name string) Spec { return with(func(s *Spec) { s.Server = name }) }
	stalled := func(n int) Spec { return with(func(s *Spec) { s.Stalled = n }) }
	topics := func(n int) Spec { return with(func(s *Spec) { s.Fan.Topics, s.Fan.Each = n, n }) }
	last := planted(server("loop"), [2]float64{1, 1})
	last.Results[0].Last[0] = 10
	ours := planted(server("sluice"), [2]float64{1, 1})
	ours.Results[0].Last[0] = 5
	lossy := planted(topics(1), [2]float64{1, 1})
	lossy.Results[0].Skipped = 3
	for _, tt := range []struct {
		what, section, measured, verdict string
		rows                             []*Row
	}{
		{"server CPU per delivered frame, 64 B, 1,000 subscribers of one topic, full speed, against the bare", "fan",
			"1.40x", "met", []*Row{planted(server("sluice"), [2]float64{140, 1}), planted(server("tape"), [2]float64{100, 1})}},
		{"p50 of the last subscriber", "fan-events", "0.50x", "met", []*Row{ours, last}},
		{"half of the frames", "fan-own", "0.60x", "met",
			[]*Row{planted(server("sluice"), [2]float64{60, 1}), planted(server(slotsServer), [2]float64{100, 1})}},
		{"clients of 64 topics", "fan-sets", "2.00x", "missed by 33.3 %",
			[]*Row{planted(topics(1), [2]float64{100, 1}), planted(topics(64), [2]float64{200, 1})}},
		{"10 % of the subscribers stalled: p50", "fan-stalled", "1.00x (1.00-9.00), median of 3 pairs", "met", []*Row{
			planted(stalled(0), [2]float64{1, 10}, [2]float64{1, 20}, [2]float64{1, 30}),
			planted(stalled(20), [2]float64{1, 90}, [2]float64{1, 20}, [2]float64{1, 30})}},
		{"memory over idle", "fan-stalled", "1.00x", "met",
			[]*Row{planted(stalled(20), [2]float64{1, 1}), planted(stalled(100), [2]float64{1, 1})}},
		{"1,000 topics", "fan-many", "3 frames lost", "missed: clients that read lost frames", []*Row{lossy}},
		{"10,000 subscribers", "fan-many", "-", "not measured", nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			for _, l := range judgeAll(topicGoals(), []pageSection{{name: tt.section, rows: tt.rows}}, nil) {
				if strings.HasPrefix(l.what, tt.what) {
					if !strings.Contains(l.measured, tt.measured) || !strings.HasPrefix(l.verdict, tt.verdict) {
						t.Errorf("measured %q, %q; want %q, %q", l.measured, l.verdict, tt.measured, tt.verdict)
					}
					return
				}
			}
			t.Error("no such goal")
		})
	}
}

// Goals name existing sections, and docs/benchmarks.md has a place for each section.
func TestEverySectionHasAPlace(t *testing.T) {
	sections, err := profile("full")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	names := []string{"goals", "environment", "micro"}
	for _, s := range slices.Concat(sections, topicSections(), tlsSections()) {
		names = append(names, s.name)
	}
	for _, name := range append(names, topicGoalsPlace, tlsGoalsPlace, "tls-environment") {
		if _, err := replaceSection(page, name, ""); err != nil {
			t.Error(err)
		}
		if strings.Index(page, "<!-- begin "+name+" -->") < strings.Index(page,
			"<!-- begin goals -->") {
			t.Errorf("section %s comes before the goals", name)
		}
	}
	for _, g := range goals() {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == g.section }) {
			t.Errorf("goal %q is about a section %q, which is not in the profile", g.what, g.section)
		}
	}
	for _, g := range append(topicGoals(), tlsGoals()...) {
		if !slices.ContainsFunc(append(topicSections(), tlsSections()...),
			func(s section) bool { return s.name == g.section }) {
			t.Errorf("goal %q is about a section %q, which is not in the profile", g.what, g.section)
		}
	}
}

func TestSectionsWithoutPeers(t *testing.T) {
	r := &Runner{Command: []string{"bench"}, Peers: "/nonexistent/peers"}
	for _, tt := range []struct {
		flags string
		ok    bool
		left  string
		note  string
	}{
		{"--peer sluice,bare", false, "sluice", "Without bare"},
		{"--peer sluice,netpoll,goroutines", true, "sluice goroutines", "`make peers` builds it"},
		{"--peer sluice", true, "sluice", ""},
	} {
		plan, err := (&section{flags: tt.flags + " --seconds 1s"}).plan()
		if err != nil {
			t.Fatal(err)
		}
		note, ok := plan.without(r)
		if ok != tt.ok || strings.Join(plan.Peer, " ") != tt.left || !strings.Contains(note, tt.note) {
			t.Errorf("%s: %v, %q, %q", tt.flags, ok, plan.Peer, note)
		}
	}
}
