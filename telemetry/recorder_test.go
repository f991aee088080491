package telemetry

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConcurrentCollectionLosesNothing runs actors that poll, wait without polling, park and unpark,
// against a collector with a timeout of 1 µs. It compares the totals with what was recorded.
func TestConcurrentCollectionLosesNothing(t *testing.T) {
	const actors, rounds = 3, 3000
	c := NewCollector(NewClock())
	c.timeout = time.Microsecond
	var running sync.WaitGroup
	for i := range actors {
		rec := c.Register("actor", i)
		running.Go(func() { recordAndPark(rec, i, rounds) })
	}
	var done atomic.Bool
	go func() {
		running.Wait()
		done.Store(true)
	}()
	for !done.Load() {
		c.Collect(0)
		runtime.Gosched()
	}
	if still := c.Final(); still != 0 {
		t.Fatalf("%d actors still run after all have parked", still)
	}
	c.Each(func(a *Totals) {
		want := uint64(rounds)
		if a.C[GateSlots] != want || a.H[StageGate].Count != 3*want || a.Batch.Count != want {
			t.Errorf("actor %d: %d slots, %d waits, %d batches arrived of %d, %d, %d",
				a.Shard, a.C[GateSlots], a.H[StageGate].Count, a.Batch.Count, want, 3*want, want)
		}
		if a.M[MarkInbox] != rounds-1 {
			t.Errorf("actor %d: mark %d, want %d", a.Shard, a.M[MarkInbox], rounds-1)
		}
		t.Logf("actor %d: %d stale collections", a.Shard, a.Stale)
	})
}

func recordAndPark(rec *Recorder, i, rounds int) {
	for n := range rounds {
		rec.B.C[GateSlots]++
		rec.B.H[StageGate].Record(uint64(n))
		rec.B.H[StageGate].RecordN(uint64(n), 2)
		rec.B.Batch.Record(uint64(n))
		rec.B.Mark(MarkInbox, uint64(n))
		switch (n + i) % 7 {
		case 0, 1, 2:
			rec.Poll()
		case 3:
			rec.Park()
			runtime.Gosched()
			rec.Unpark()
		case 4:
			runtime.Gosched()
		}
	}
	rec.Park()
}

// TestFinalCollectsBothBlocks constructs the case that needs two passes: one block was handed over
// late, and a second one with data was lent by Park.
func TestFinalCollectsBothBlocks(t *testing.T) {
	c := NewCollector(NewClock())
	c.timeout = 0
	rec := c.Register("gate", NoShard)
	rec.B.C[GateSlots] = 1
	if stale := c.Collect(0); stale != 1 {
		t.Fatalf("stale = %d, want 1: the actor runs and did not poll", stale)
	}
	rec.Poll()
	rec.B.C[GateSlots] = 10
	rec.Park()
	c.Final()
	if got := c.Sum().C[GateSlots]; got != 11 {
		t.Errorf("collected %d of 11", got)
	}
}

func TestParkedActorIsCollectedWithoutPolling(t *testing.T) {
	c := NewCollector(NewClock())
	c.timeout = 0
	rec := c.Register("egress", 0)
	for round := uint64(1); round <= 3; round++ {
		rec.B.C[EgressSlots] += 5
		rec.Park()
		for range 3 {
			if stale := c.Collect(0); stale != 0 {
				t.Fatalf("round %d: stale = %d", round, stale)
			}
		}
		if got := c.Sum().C[EgressSlots]; got != 5*round {
			t.Fatalf("round %d: collected %d, want %d", round, got, 5*round)
		}
		rec.Unpark()
	}
}

func TestOpenRequestIsWithdrawnAfterPark(t *testing.T) {
	c := NewCollector(NewClock())
	c.timeout = 0
	rec := c.Register("egress", 0)
	rec.B.C[EgressSlots] = 3
	c.Collect(0) // leaves a request open
	rec.Park()
	if stale := c.Collect(0); stale != 0 {
		t.Fatalf("stale = %d, want 0", stale)
	}
	if got := c.Sum().C[EgressSlots]; got != 3 {
		t.Errorf("collected %d, want 3", got)
	}
	rec.Unpark()
	if rec.B.C[EgressSlots] != 0 {
		t.Error("block is not zeroed")
	}
}

// TestExchangeFailsAfterUnpark executes the interleaving in which the actor unparks between the
// collector's load and its exchange.
func TestExchangeFailsAfterUnpark(t *testing.T) {
	rec := NewRecorder()
	rec.Park()
	seen := rec.parked.Load()
	rec.Unpark()
	if rec.exchange(seen) {
		t.Fatal("the collector owns a block that the actor writes")
	}
	if rec.spare == nil || rec.parked.Load() != nil {
		t.Error("the failed exchange moved a block")
	}
}

func TestCollectHonorsMinAge(t *testing.T) {
	c := NewCollector(NewClock())
	rec := c.Register("gate", NoShard)
	rec.B.C[GateSlots] = 1
	rec.Park()
	c.Collect(time.Hour)
	rec.Unpark()
	rec.B.C[GateSlots] = 1
	rec.Park()
	c.Collect(time.Hour)
	if got := c.Sum().C[GateSlots]; got != 1 {
		t.Errorf("collected %d, want 1: the collection was younger than asked for", got)
	}
	c.Final()
	if got := c.Sum().C[GateSlots]; got != 2 {
		t.Errorf("collected %d, want 2: Final ignores the age", got)
	}
}

func TestOnlyActorsThatDoNotAnswerAreSilent(t *testing.T) {
	c := NewCollector(NewClock())
	c.timeout = 0
	parked, standing := c.Register("egress", 0), c.Register("egress", 1)
	parked.Park()
	standing.B.C[EgressSlots] = 1
	before := c.clock.Now()
	c.Collect(0)
	c.Each(func(a *Totals) {
		if answered := a.AnsweredAt >= before; answered != (a.Shard == 0) {
			t.Errorf("shard %d: answered %v, stale %d", a.Shard, answered, a.Stale)
		}
		if a.Stale != uint64(a.Shard) {
			t.Errorf("shard %d: stale %d", a.Shard, a.Stale)
		}
		if got := a.Silent(a.AnsweredAt + 5); got != 5 {
			t.Errorf("silent for %v, want 5ns", got)
		}
	})
}

func TestViewsResetOnlyTheirOwnMarks(t *testing.T) {
	c := NewCollector(NewClock())
	rec := c.Register("egress", 2)
	first, second := c.NewView(), c.NewView()
	read := func(v *View) (mark uint64) {
		v.Each(func(_ *Totals, m [NumMarks]uint64) { mark = m[MarkBuffered] })
		return mark
	}
	put := func(v uint64) {
		rec.B.Mark(MarkBuffered, v)
		rec.B.Mark(MarkBuffered, v/2)
		rec.Park()
		c.Collect(0)
		rec.Unpark()
	}
	put(100)
	if got := read(first); got != 100 {
		t.Errorf("first view: %d, want 100", got)
	}
	put(40)
	if got := read(first); got != 40 {
		t.Errorf("first view after its reset: %d, want 40", got)
	}
	if got := read(second); got != 100 {
		t.Errorf("second view: %d, want 100", got)
	}
	if got := c.Sum().M[MarkBuffered]; got != 100 {
		t.Errorf("since the start: %d, want 100", got)
	}
}

func TestViolatedParkContractPanics(t *testing.T) {
	mustPanic := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
		}()
		f()
	}
	mustPanic("second Park", func() { r := NewRecorder(); r.Park(); r.Park() })
	mustPanic("Unpark while running", func() { NewRecorder().Unpark() })
	mustPanic("record while parked", func() { r := NewRecorder(); r.Park(); r.B.C[GateSlots]++ })
	mustPanic("box of size 3", func() { NewTraceBox(3) })
}

func TestHotCallsDoNotAllocate(t *testing.T) {
	clock := NewClock()
	rec, box, sampler := NewRecorder(), NewTraceBox(4), NewSampler(NewRules(0.5, time.Millisecond))
	var r TraceRec
	seq := uint64(0)
	allocs := testing.AllocsPerRun(1000, func() {
		seq++
		now := clock.Now()
		rec.B.H[StageWhole].Record(uint64(now))
		rec.B.H[StageSend].RecordN(uint64(now), 3)
		rec.B.C[DropFenced.Counter()]++
		rec.B.Mark(MarkBatch, seq)
		rules := sampler.Load()
		if _, ok := rules.Head(seq, 1, false); ok || rules.Slow(uint64(now)) {
			r.Stamp(PointCompleted, now)
			box.TryPut(&r)
		}
		rec.Poll()
		rec.Park()
		rec.Unpark()
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
