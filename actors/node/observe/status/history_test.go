package status

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/telemetry"
)

// past is a history over recorders that the test writes, with a clock that the test moves.
type past struct {
	*history
	collector *telemetry.Collector
	recorders map[string]*telemetry.Recorder
	requests  float64
	at        int64
}

func newPast() *past {
	p := &past{collector: telemetry.NewCollector(telemetry.NewClock()),
		recorders: map[string]*telemetry.Recorder{}}
	for _, a := range []actorID{{"gate", telemetry.NoShard}, {"encode", telemetry.NoShard},
		{"egress", 0}, {"egress", 1}} {
		p.recorders[name(a)] = p.collector.Register(a.kind, a.shard)
	}
	p.collector.Gauge(telemetry.ListenerRequests, telemetry.NoShard, "",
		func() float64 { return p.requests })
	p.collector.Gauge(telemetry.JournalCommits, telemetry.NoShard, "",
		func() float64 { return p.requests / 10 })
	for _, r := range p.recorders {
		r.Park()
	}
	p.history = newHistory(p.collector, func() int64 { return p.at }, time.Now)
	return p
}

func name(a actorID) string {
	if a.shard == telemetry.NoShard {
		return a.kind
	}
	return a.kind + string(rune('0'+a.shard))
}

// record has an actor write into its block.
func (p *past) record(actor string, f func(b *telemetry.Block)) {
	r := p.recorders[actor]
	r.Unpark()
	f(r.B)
	r.Park()
}

// next takes a point after d.
func (p *past) next(d time.Duration) Point {
	p.at += int64(d)
	return p.take()
}

func answers(ns uint64, n uint32) func(b *telemetry.Block) {
	return func(b *telemetry.Block) { b.H[telemetry.StageWhole].RecordN(ns, n) }
}

// near allows for the width of a histogram's bucket.
func near(got, want uint64) bool { return got >= want-want/32 && got <= want+want/32 }

func TestPercentileCoversItsSecond(t *testing.T) {
	p := newPast()
	p.record("egress0", answers(1e9, 1000)) // a terrible second
	if got := p.next(time.Second).Whole; got.Count != 1000 || !near(got.P50, 1e9) || got.Max != 1e9 {
		t.Fatalf("the first second: %+v", got)
	}
	if got := p.next(time.Second).Whole; got != nil {
		t.Fatalf("a second without answers has %+v", got)
	}
	// Few values: p99.9 is the largest of them, which is not the largest of all time.
	p.record("egress0", answers(1e5, 9))
	p.record("egress1", answers(2e6, 1))
	got := p.next(time.Second).Whole
	if got.Count != 10 || !near(got.P50, 1e5) || !near(got.P99, 2e6) || !near(got.P999, 2e6) ||
		!near(got.Max, 2e6) || !near(uint64(got.Mean), 290_000) {
		t.Fatalf("a good second after a terrible one: %+v", got)
	}
}

func TestPercentileRank(t *testing.T) {
	p := newPast()
	p.record("egress0", func(b *telemetry.Block) {
		b.H[telemetry.StageWhole].RecordN(1e3, 989)
		b.H[telemetry.StageWhole].RecordN(1e6, 10)
		b.H[telemetry.StageWhole].RecordN(1e9, 1)
	})
	got := p.next(time.Second).Whole
	if !near(got.P50, 1e3) || !near(got.P99, 1e6) || !near(got.P999, 1e6) || got.Max != 1e9 {
		t.Fatalf("%+v", got)
	}
}

func TestRateIsPerElapsedSecond(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration
		want float64
	}{
		{"a second", time.Second, 3000}, {"a late look", 1500 * time.Millisecond, 2000},
		{"an early look", 500 * time.Millisecond, 6000},
		{"no time at all", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPast()
			p.record("egress0", func(b *telemetry.Block) { b.C[telemetry.EgressFramesSent] = 7_000_000 }) // earlier
			p.requests = 5_000_000
			p.next(time.Minute)
			p.record("egress0", func(b *telemetry.Block) {
				b.C[telemetry.EgressFramesSent] = 1000
				b.C[telemetry.RunnerBusyTime] = 250e6
			})
			p.record("egress1", func(b *telemetry.Block) { b.C[telemetry.EgressFramesSent] = 2000 })
			p.record("gate", func(b *telemetry.Block) {
				b.C[telemetry.GateSlots] = 3000
				b.C[telemetry.DropKicked.Counter()] = 3000
			})
			p.requests += 3000
			got := p.next(tt.took)
			if got.Responses != tt.want || got.Released != tt.want || got.Requests != tt.want ||
				got.Commits != tt.want/10 || got.Dropped != tt.want {
				t.Fatalf("want %v a second, have %+v", tt.want, got)
			}
			if one, two := p.shard(0), p.shard(1); one.Responses != tt.want/3 ||
				two.Responses != 2*tt.want/3 {
				t.Fatalf("shards: %+v, %+v", one, two)
			}
			if tt.took == time.Second && p.shard(0).Busy != .25 {
				t.Fatalf("shard 0 was busy for %v of the second", p.shard(0).Busy)
			}
		})
	}
}

func TestStagesCoverLastSecondsOnly(t *testing.T) {
	p := newPast()
	row := func() *Latency {
		table, _ := p.stages()
		return table[telemetry.StageWhole].Latency
	}
	p.record("egress0", answers(1e9, 5))
	p.next(time.Second)
	for range window - 1 {
		p.record("egress1", answers(1e4, 10))
		p.next(time.Second)
	}
	if got := row(); got.Count != 5+10*(window-1) || got.Max != 1e9 {
		t.Fatalf("within the window: %+v", got)
	}
	p.next(time.Second)
	if got := row(); got.Count != 10*(window-1) || !near(got.Max, 1e4) || !near(got.P999, 1e4) {
		t.Fatalf("a second later: %+v", got)
	}
	for range window {
		p.next(time.Second)
	}
	if got := row(); got != nil {
		t.Fatalf("after %d quiet seconds: %+v", window, got)
	}
}

func TestPointsAfterNumber(t *testing.T) {
	p := newPast()
	if got := p.after(0); len(got) != 0 {
		t.Fatalf("points before the first: %v", got)
	}
	for range Kept + 20 {
		p.next(time.Second)
	}
	for _, tt := range []struct {
		name        string
		n           uint64
		first, many uint64
	}{
		{"everything that is kept", 0, 21, Kept}, {"one that is forgotten", 7, 21, Kept},
		{"the last few", Kept + 17, Kept + 18, 3}, {"the newest", Kept + 20, 0, 0},
		{"of another run", Kept + 999, 21, Kept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := p.after(tt.n)
			if uint64(len(got)) != tt.many ||
				tt.many > 0 && (got[0].N != tt.first || got[len(got)-1].N != Kept+20) {
				t.Fatalf("%d points from %v", len(got), got[:min(len(got), 1)])
			}
		})
	}
}

// A Watcher takes a point each second until Close.
func TestWatcherTakesPointPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := telemetry.NewClock()
		points := make(chan Point, 16)
		l := &Watcher{
			history: newHistory(telemetry.NewCollector(clock), clock.Now, time.Now),
			onPoint: func(p Point) { points <- p },
			stop:    make(chan struct{}), done: make(chan struct{}),
		}
		go l.run()
		time.Sleep(3500 * time.Millisecond)
		l.Close()
		if len(points) != 3 {
			t.Errorf("%d points in 3.5 s", len(points))
		}
	})
}
