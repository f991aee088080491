package sequencer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"sluice/actors"
	"sluice/durability"
)

// describe is a slot as the tables below write it: connection, kind, seq, and ! for Last, * for
// Bypass.
func describe(slots []actors.Slot[report, report]) string {
	var out []string
	for _, s := range slots {
		text := fmt.Sprintf("%d:%s@%d", s.Conn, [...]string{"R", "Q", "E", "B"}[s.Kind], s.Seq)
		if s.Last {
			text += "!"
		}
		if s.Bypass {
			text += "*"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestSlotsOfARequest(t *testing.T) {
	for _, c := range []struct {
		name string
		tag  uint8
		to   []byte
		want string
	}{
		{"the last report to the client ends its request", tagEvent, []byte{1, 1}, "1:R@1 1:R@1!"},
		{"a report to another connection ends no request", tagEvent, []byte{1, 2}, "1:R@1! 2:R@1"},
		{"reports to others in between", tagEvent, []byte{1, 2, 1, 3}, "1:R@1 2:R@1 1:R@1! 3:R@1"},
		{"an event that reports only to others still ends", tagEvent, []byte{2}, "2:R@1 1:B@1!"},
		{"an event without reports still ends", tagEvent, nil, "1:B@1!"},
		{"a query carries the last event, of which there is none yet", tagQuery, []byte{1, 1},
			"1:Q@0 1:Q@0!"},
		{"a query without an answer ends", tagQuery, nil, "1:B@0!"},
		{"a refused request waits for nothing", 0x2F, nil, "1:E@0!*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t, 64, nil)
			st.put(1, c.tag, c.to...)
			st.seq.Step(0)
			st.take()
			if got := describe(st.pass()); got != c.want {
				t.Errorf("slots %s, want %s", got, c.want)
			}
		})
	}
}

func TestSlotsAreStampedAndNumbered(t *testing.T) {
	st := newStage(t, 64, func(c *Config[report, report]) { c.State.last = 41 })
	st.put(1, tagQuery, 1)
	st.put(1, tagEvent, 1)
	st.put(1, tagQuery, 1)
	st.put(1, 0x2F)
	st.seq.Step(0)
	st.events = make([][]byte, 41)
	st.take()
	slots := st.pass()
	if got, want := describe(slots), "1:Q@41! 1:R@42! 1:Q@42! 1:E@42!*"; got != want {
		t.Fatalf("slots %s, want %s", got, want)
	}
	for i, s := range slots {
		if s.Received != 5 || s.Matched == 0 {
			t.Errorf("slot %d is stamped %d, %d; want 5 and a time", i, s.Received, s.Matched)
		}
	}
	if got := st.seq.Counts(); got != (Counts{Events: 1, Queries: 2, Refused: 1}) {
		t.Errorf("counts %+v", got)
	}
	if st.seq.Sequenced() != 42 || len(st.events) != 42 {
		t.Errorf("sequenced %d with %d events in the journal, want 42", st.seq.Sequenced(),
			len(st.events))
	}
}

// What does not fit the slot ring at once is written in parts, after its event, and still ends
// exactly once.
func TestRequestLargerThanSlotRing(t *testing.T) {
	for _, ring := range []int{2, 4, 16} {
		for _, to := range []string{"own", "others", "mixed", "own first"} {
			t.Run(fmt.Sprintf("%s over %d slots", to, ring), func(t *testing.T) {
				st := newStage(t, ring, nil)
				wait := st.run()
				for n := range 100 {
					body := make([]byte, n)
					for i := range body {
						own := to == "own" || to == "mixed" && i%3 == 0 || to == "own first" && i == 0
						body[i] = 2
						if own {
							body[i] = 1
						}
					}
					st.put(1, tagEvent, body...)
					got, ends := 0, 0
					for ends == 0 || st.slots.Len() > 0 || got < n {
						st.take()
						for _, s := range st.pass() {
							if int(s.Seq) != n+1 {
								t.Fatalf("slot of event %d among those of %d", s.Seq, n+1)
							}
							if s.Kind == actors.KindReport {
								got++
							}
							if s.Last {
								ends++
							} else if s.Conn == 1 && ends > 0 {
								t.Fatal("a slot of the connection after its request's end")
							}
						}
						runtime.Gosched()
					}
					if got != n || ends != 1 {
						t.Fatalf("%d reports and %d ends, want %d and 1", got, ends, n)
					}
				}
				st.queue.Close()
				if err := wait(); err != nil {
					t.Fatal(err)
				}
				if !st.slots.Done() || !st.log.Done() {
					t.Error("the rings are not closed")
				}
			})
		}
	}
}

func TestStopEndsEveryWait(t *testing.T) {
	for _, c := range []struct {
		name  string
		fill  func(st *stage)
		ready func(st *stage) bool
	}{
		{"idle", func(*stage) {}, func(*stage) bool { return true }},
		{"the slot ring is full", func(st *stage) { st.put(1, tagEvent, make3(1, 50)...) },
			func(st *stage) bool { return st.slots.Len() == 16 }},
		{"the journal's ring is full", func(st *stage) {
			req := trades(1, tagEvent, make3(1, 2000)...)
			for range 40 {
				_ = st.queue.Put(&req, nil, 1) // until it is closed
			}
		}, func(st *stage) bool { return st.log.Len() > 50_000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			slots := 16
			if strings.Contains(c.name, "journal") {
				slots = 1 << 17
			}
			st := newStage(t, slots, nil)
			wait := st.run()
			filled := make(chan struct{})
			go func() { defer close(filled); c.fill(st) }()
			for !c.ready(st) {
				runtime.Gosched()
			}
			st.seq.Stop()
			st.seq.Stop()
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			st.queue.Close()
			<-filled
		})
	}
}

func make3(conn byte, n int) []byte { return bytes.Repeat([]byte{conn}, n) }

// A request whose event finds no room in the journal's ring is kept, and carried out once when
// there is room.
func TestRequestWaitsForRoomInJournalRing(t *testing.T) {
	st := newStage(t, 1<<18, nil)
	const size, all = 3000, 60 // more than the ring of 64 KiB takes
	sent, want := 0, ""
	for seen := 0; seen < all; {
		for st.queue.Len() == 0 && sent < all { // until the ring is full
			for range 4 { // so that a step carries out some and keeps one
				st.put(1, tagEvent, make3(9, size-sent)...)
				sent++
			}
			for st.seq.Step(0) > 0 {
			}
		}
		for st.seq.Step(0) > 0 { // with the room of the last round
		}
		if st.seq.Done() {
			t.Fatal("done although the queue is open")
		}
		st.take()
		st.pass()
		if len(st.events) == seen {
			t.Fatalf("stuck after %d events", seen)
		}
		seen = len(st.events)
	}
	for i, ev := range st.events {
		if got := len(ev) - EventHeader; got != size-i {
			want += fmt.Sprintf("event %d has %d bytes, want %d\n", i, got, size-i)
		}
	}
	if want != "" {
		t.Error(want)
	}
	if waits := st.seq.Counts().Waits; waits == 0 {
		t.Error("it never waited, so the test shows nothing")
	}
	st.queue.Close()
	if st.seq.Step(0); !st.seq.Done() {
		t.Error("not done with the queue closed and empty")
	}
}

// Outputs that did not fit the slot ring are written before those of the next request.
func TestNextRequestWaitsForSpill(t *testing.T) {
	st := newStage(t, 16, nil)
	st.put(1, tagEvent, make3(1, 40)...)
	st.put(2, tagEvent, 2)
	st.put(3, 0x2F)
	var got []actors.Slot[report, report]
	for range 10 {
		for st.seq.Step(0) > 0 {
		}
		st.take()
		got = append(got, st.pass()...)
	}
	if len(got) != 42 || describe(got[39:]) != "1:R@1! 2:R@2! 3:E@2!*" {
		t.Errorf("%d slots, the last ones are %s; want 42 in the order of requests", len(got),
			describe(got[max(len(got)-3, 0):]))
	}
}

// A panic in the middle of a large output leaves nothing of its request, neither in the journal nor
// in the slot ring.
func TestPanicLeavesNoPartOfItsRequest(t *testing.T) {
	st := newStage(t, 16, nil)
	st.put(1, tagEvent, 1)
	st.put(9, tagEvent, append(make3(1, 40), 0)...) // the report to connection 0 panics, when 40 slots are written
	st.seq.Step(0)
	var p *PanicError
	if err := st.seq.Close(); !st.seq.Done() || !errors.As(err, &p) || p.Seq != 2 {
		t.Fatalf("error %v, want a PanicError near event 2", err)
	}
	st.take()
	if got := describe(st.slots.Batch(16)); len(st.events) != 1 || got != "1:R@1!" {
		t.Errorf("%d events and slots %s, want those of event 1", len(st.events), got)
	}
}

func TestPanicIsNotJournaled(t *testing.T) {
	st := newStage(t, 64, nil)
	wait := st.run()
	st.put(1, tagEvent, 1)
	st.put(9, tagPanic, 1)
	var p *PanicError
	if err := wait(); !errors.As(err, &p) || p.Conn != 9 || p.Tag != tagPanic ||
		!strings.Contains(err.Error(), "planted") {
		t.Fatalf("error %v, want a PanicError that names tag and connection", err)
	}
	st.take()
	if len(st.events) != 1 {
		t.Fatalf("%d events in the journal, want the one before the panic", len(st.events))
	}
	if got, want := describe(st.pass()), "1:R@1!"; got != want {
		t.Errorf("slots %s, want %s", got, want)
	}
}

// A replay gives the state of the run, from any snapshot on the way, and a copy that was made beside
// the run is that snapshot; so it includes whole events and all of them.
func TestReplayEqualsRun(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	taken := map[durability.Seq][]byte{0: nil}
	snapshots := newMarker(t)
	st := newStage(t, 1<<12, func(c *Config[report, report]) {
		c.Snapshots, c.SnapshotEvents,
			c.SnapshotBytes = snapshots.Snapshots, 10, 600
	})
	for range 300 {
		for range rng.IntN(40) {
			tag := []uint8{tagEvent, tagEvent, tagEvent, tagQuery, 0x2F}[rng.IntN(5)]
			st.put(uint64(1+rng.IntN(5)), tag, make3(byte(1+rng.IntN(5)), rng.IntN(9))...)
		}
		st.seq.Step(0)
		st.take()
		st.pass()
		if at, ok := snapshots.last(); ok && at.Seq == st.seq.state.last {
			taken[at.Seq] = append(sectionOf(t, st.seq.state), snapshotOf(t, st.app)...)
		}
	}
	if len(taken) < 10 || len(taken) != len(snapshots.marks)+1 {
		t.Fatalf("%d snapshots taken of %d, want many", len(taken)-1, len(snapshots.marks))
	}
	snapshots.copies(st, func() Application[report, report] { return &script{} },
		func(at Mark, snapshot []byte) {
			if !bytes.Equal(snapshot, taken[at.Seq]) {
				t.Fatalf("snapshot %d is %x, the run had %x", at.Seq, snapshot, taken[at.Seq])
			}
		})
	want := append(sectionOf(t, st.seq.state), snapshotOf(t, st.app)...)
	for seq, snapshot := range taken {
		app, state, n, err := replayOf(recovered{snapshot, seq, st.events})
		if err != nil {
			t.Fatal(err)
		}
		if got := append(sectionOf(t, state), snapshotOf(t, app)...); !bytes.Equal(got, want) ||
			n != uint64(len(st.events))-uint64(seq) {
			t.Fatalf("replay of %d events from snapshot %d gives %x, the run gave %x", n, seq, got,
				want)
		}
	}
}

func TestReplayNamesEventThatCannotBeApplied(t *testing.T) {
	fine, poison := trades(1, tagEvent), trades(1, tagPanic)
	good, bad := AppendEvent(nil, &fine), AppendEvent(nil, &poison)
	for _, c := range []struct {
		name, want string
		event      []byte
	}{
		{"an event that makes the application panic",
			"event 2 of the journal (request, tag 0x12) cannot be applied", bad},
		{"an event of a newer version", "event 2 of the journal: sequencer: event has version 7",
			[]byte{7}},
	} {
		_, _, n, err := replayOf(recovered{nil, 0, [][]byte{good, c.event}})
		if err == nil || !strings.Contains(err.Error(), c.want) || n != 1 {
			t.Errorf("%s: %d applied, error %v, want 1 and %q", c.name, n, err, c.want)
		}
	}
}

func TestSequencingAllocatesNothing(t *testing.T) {
	st := newStage(t, 1<<12, func(c *Config[report, report]) { c.CheckpointEvents = 16 })
	life, _ := newLife(t, nil)
	if err := life.queue.Introduce(1, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	life.settle()
	req, query, refused := trades(1, tagEvent, 1, 2, 1), trades(1, tagQuery, 1), trades(1, 0x2F)
	known, tick := trades(1, tagEvent, 1), trades(1, tagTick, 1)
	known.Identity.Number = 1
	for name, c := range map[string]struct {
		*stage
		requests []Event
	}{"plain": {st, []Event{req, query, refused}}, "alive": {life, []Event{known, tick, query}}} {
		allocs := testing.AllocsPerRun(200, func() {
			for range 16 {
				for i := range c.requests {
					if c.queue.Put(&c.requests[i], nil, 1) != nil {
						t.Fatal("the queue is closed")
					}
				}
			}
			c.wall += 20
			for c.seq.Step(0) > 0 {
			}
			for _, ok := c.log.Next(); ok; _, ok = c.log.Next() {
			}
			c.log.Release()
			for b := c.slots.Batch(4096); len(b) > 0; b = c.slots.Batch(4096) {
				c.slots.Release(len(b))
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for 48 requests, want none", name, allocs)
		}
	}
}
