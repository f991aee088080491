package sequencer

import (
	"runtime"
	"slices"
	"testing"

	"sluice/actors"
	"sluice/mailbox"
)

// leader is a stage whose queries wait for proofs.
type leader struct {
	*stage
	barriers *mailbox.Reader[actors.Barrier]
	asked    []uint64
}

func newLeader(t *testing.T, slots, list int) *leader {
	l := &leader{}
	l.stage = newStage(t, slots, func(c *Config[report, report]) {
		c.Barriers, l.barriers = mailbox.NewSPSC[actors.Barrier](list)
		c.Prove = func(ticket uint64) {
			if l.barriers.Len() == 0 {
				t.Error("a ticket is drawn before its barrier can be seen")
			}
			if l.slots.Len() != 0 {
				t.Error("slots can be seen before the ticket of their batch is drawn")
			}
			l.asked = append(l.asked, ticket)
		}
	})
	return l
}

// step steps the sequencer and returns the barriers that it put, and the slots, by tag.
func (l *leader) step() (put []actors.Barrier, kinds []actors.Kind) {
	l.now++
	l.seq.Step(l.now)
	l.take()
	for b := l.barriers.Batch(1); len(b) > 0; b = l.barriers.Batch(1) {
		put = append(put, b[0])
		l.barriers.Release(1)
	}
	for b := l.slots.Batch(1); len(b) > 0; b = l.slots.Batch(1) {
		kinds = append(kinds, b[0].Kind)
		l.slots.Release(1)
	}
	return put, kinds
}

func TestQueriesOfBatchDrawOneTicket(t *testing.T) {
	l := newLeader(t, 64, 4)
	batch := func(want []uint64, barriers ...actors.Barrier) {
		t.Helper()
		l.asked = nil
		if put, _ := l.step(); !slices.Equal(put, barriers) || !slices.Equal(l.asked, want) {
			t.Errorf("barriers %v, tickets %v; want %v, %v", put, l.asked, barriers, want)
		}
	}
	l.put(1, tagEvent, 1)
	batch(nil)
	l.put(1, tagEvent, 1, 2) // slots 1 and 2
	l.put(1, tagQuery, 1)
	l.put(1, tagEvent, 1)
	l.put(1, tagQuery)
	batch([]uint64{1}, actors.Barrier{From: 3, Ticket: 1})
	l.put(1, tagQuery, malformed) // refused, slot 6
	l.put(2, tagQuery, 1, 2)
	batch([]uint64{2}, actors.Barrier{From: 7, Ticket: 2})
	batch(nil)
}

// Slots of a query that found no room in the ring are behind the barrier of its batch.
func TestSpilledQueryIsBehindItsBarrier(t *testing.T) {
	l := newLeader(t, 4, 4)
	l.put(1, tagEvent, 1)
	l.put(1, tagQuery, 1, 1, 1, 1, 1, 1, 1)
	put, kinds := l.step()
	for range 3 {
		more, rest := l.step()
		put, kinds = append(put, more...), append(kinds, rest...)
	}
	if len(kinds) != 8 {
		t.Fatalf("%d slots, want 8", len(kinds))
	}
	if want := []actors.Barrier{{From: 1, Ticket: 1}}; !slices.Equal(put, want) {
		t.Errorf("barriers %v, want %v", put, want)
	}
}

func TestQueryWaitsForRoomInListOfBarriers(t *testing.T) {
	l := newLeader(t, 64, 2)
	for range 2 { // nobody takes their barriers
		l.put(1, tagQuery, 1)
		l.seq.Step(1)
		l.slots.Release(l.slots.Len())
	}
	l.put(1, tagEvent, 1)
	l.put(1, tagQuery, 1)
	l.put(1, tagEvent, 1)
	for range 3 {
		l.seq.Step(1)
	}
	if n := l.slots.Len(); n != 1 || l.seq.Done() {
		t.Fatalf("%d slots while the list is full, want that of the event before the query", n)
	}
	l.slots.Release(1)
	if waits := l.seq.Counts().Waits; waits != 1 {
		t.Errorf("%d waits for room, want 1", waits)
	}
	l.barriers.Release(1)
	if _, kinds := l.step(); !slices.Equal(kinds, []actors.Kind{actors.KindQuery, actors.KindReport}) {
		t.Errorf("slots of kinds %v once the list has room", kinds)
	}
	if want := []uint64{1, 2, 3}; !slices.Equal(l.asked, want) {
		t.Errorf("tickets %v, want %v", l.asked, want)
	}
}

// The requests before one that panics are answered, behind their barrier.
func TestPanicLeavesQueriesBehindTheirBarrier(t *testing.T) {
	l := newLeader(t, 64, 2)
	l.put(1, tagQuery, 1)
	l.put(1, tagPanic)
	put, kinds := l.step()
	if want := []actors.Barrier{{From: 0, Ticket: 1}}; !slices.Equal(put, want) || len(kinds) != 1 {
		t.Errorf("barriers %v and %d slots, want %v and the query's", put, len(kinds), want)
	}
}

func TestSequencerWakesWhenBarrierIsPassed(t *testing.T) {
	put, take := mailbox.NewSPSC[actors.Barrier](1)
	l := newStage(t, 64, func(c *Config[report, report]) { c.Barriers, c.Prove = put, func(uint64) {} })
	wait := l.run()
	for range 100 {
		l.put(1, tagQuery, 1)
	}
	l.queue.Close()
	for passed := 0; passed < 100; {
		n := l.slots.Len()
		l.slots.Release(n)
		passed += n
		take.Release(take.Len())
		runtime.Gosched()
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

func TestTicketsAllocateNothing(t *testing.T) {
	put, take := mailbox.NewSPSC[actors.Barrier](4)
	p := proofs{barriers: put, prove: func(uint64) {}}
	if n := testing.AllocsPerRun(1000, func() {
		if !p.begin(1) || !p.begin(2) {
			t.Fatal("no room")
		}
		p.seal()
		take.Release(take.Len())
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
