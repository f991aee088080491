package sequencer

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"sluice/mailbox"
)

func TestNotesAreSequencedByTheirPlace(t *testing.T) {
	st, _ := newLife(t, nil)
	st.put(1, tagEvent)
	if err := errors.Join(st.queue.Introduce(1, [8]byte{9}), st.queue.Connected(2, trader(1))); err != nil {
		t.Fatal(err)
	}
	st.put(1, tagEvent)
	st.put(2, tagEvent)
	st.queue.Disconnected(1, trader(0))
	st.put(2, tagEvent)
	st.queue.Disconnected(2, trader(1))
	st.settle()
	const want = "version, request 1, identity, connected 2, request 1, request 2, disconnected 1, " +
		"request 2, disconnected 2"
	if got := st.journaled(0); got != want {
		t.Errorf("journaled\n%s, want\n%s", got, want)
	}
}

// A note that is made between the sequencer's look at the list and its look at the ring comes before
// the request that was put after it.
func TestNoteIsSeenWithTheRequestAfterIt(t *testing.T) {
	q, r := NewQueue(1 << 10)
	req := trades(1, tagEvent)
	put := func() {
		if err := q.Put(&req, nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if n := r.note(); n != nil {
		t.Fatalf("note %+v of an empty list", n)
	}
	if err := q.Connected(2, trader(0)); err != nil {
		t.Fatal(err)
	}
	put()
	if n := r.note(); n != nil {
		t.Fatalf("note %+v before the request in front of it was taken", n)
	}
	r.taken++
	if n := r.note(); n == nil || n.conn != 2 {
		t.Fatalf("note %+v, want that of connection 2", n)
	}
}

// Each connection's life is in order, however full the queue gets.
func TestConnectionsLiveInOrder(t *testing.T) {
	const readers, lives, each = 4, 200, 9
	st, _ := newLife(t, nil)
	wait := st.run()
	var all sync.WaitGroup
	for r := range readers {
		all.Add(1)
		go func() {
			defer all.Done()
			for life := range lives {
				conn := uint64(1 + r*lives + life)
				if err := st.queue.Connected(conn, trader(0)); err != nil {
					t.Error(err)
				}
				for i := range each {
					req := trades(conn, tagEvent, make3(byte(r+1), 1+i*40)...)
					if err := st.queue.Put(&req, nil, 1); err != nil {
						t.Error(err)
					}
				}
				st.queue.Disconnected(conn, trader(0))
			}
		}()
	}
	const ended = ^0
	requests := map[uint64]int{} // of connections that began; ended once they have
	var ev Event
	for seen := 0; len(st.events) < 1+readers*lives*(each+2); runtime.Gosched() {
		st.take()
		st.pass()
		for _, raw := range st.events[seen:] {
			if err := DecodeEvent(raw, &ev); err != nil {
				t.Fatal(err)
			}
			n, begun := requests[ev.Conn]
			switch {
			case ev.Kind == KindConnected && !begun:
				requests[ev.Conn] = 0
			case ev.Kind == KindRequest && begun && n < each:
				requests[ev.Conn]++
			case ev.Kind == KindDisconnected && n == each:
				requests[ev.Conn] = ended
			case ev.Kind != KindVersion:
				t.Fatalf("%s of connection %d after %d requests, begun: %t", ev.Kind, ev.Conn, n, begun)
			}
		}
		seen = len(st.events)
	}
	all.Wait()
	st.queue.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

// A queue that refuses still takes the ends of connections, and one that is closed takes nothing.
func TestRefuseTakesEndsOfConnections(t *testing.T) {
	st, _ := newLife(t, nil)
	if err := st.queue.Connected(2, trader(0)); err != nil {
		t.Fatal(err)
	}
	st.queue.Refuse()
	req := trades(2, tagEvent)
	for what, err := range map[string]error{"Connected": st.queue.Connected(3, trader(0)),
		"Introduce": st.queue.Introduce(1, [8]byte{}), "Put": st.queue.Put(&req, nil, 1)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: error %v, want ErrClosed", what, err)
		}
	}
	st.settle()
	if st.seq.Done() {
		t.Error("done although connections may still end")
	}
	st.queue.Disconnected(2, trader(0))
	st.queue.Close()
	if st.seq.Done() {
		t.Error("done before the end of a connection is journaled")
	}
	st.queue.Disconnected(9, trader(0))
	st.settle()
	if got, want := st.journaled(1), "connected 2, disconnected 2"; got != want {
		t.Errorf("journaled %s, want %s", got, want)
	}
	if !st.seq.Done() {
		t.Error("not done")
	}
}

// Connections that begin are bounded while the sequencer does nothing; their ends are not refused.
func TestTooManyConnectionsAreRefused(t *testing.T) {
	q, r := NewQueue(1 << 10)
	for i := range uint64(notesMost) {
		if err := q.Connected(i+1, trader(0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Connected(1<<40, trader(0)); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want ErrBusy", err)
	}
	q.Disconnected(1, trader(0))
	n := 0
	for ; r.note() != nil; n++ {
		r.next++
	}
	if n != notesMost+1 {
		t.Errorf("%d notes, want %d", n, notesMost+1)
	}
	if err := q.Connected(1<<40, trader(0)); err != nil {
		t.Error(err)
	}
}

// An end of a connection wakes a sequencer that sleeps.
func TestNoteWakesTheSequencer(t *testing.T) {
	q, r := NewQueue(1 << 10)
	woken := newToken()
	s := mailbox.NewSignal(woken)
	r.setSignal(s)
	s.Prepare()
	q.Disconnected(1, trader(0))
	select {
	case <-woken:
	default:
		t.Error("not woken")
	}
}
