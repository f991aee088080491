package sequencer

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"sluice/actors"
	"sluice/telemetry"
)

// Every request is sequenced once, and those of one reader in its order, however full the queue
// gets.
func TestQueueKeepsEachReadersOrder(t *testing.T) {
	const readers, each = 4, 3000
	st := newStage(t, 16, nil)
	wait := st.run()
	var all sync.WaitGroup
	for r := range readers {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range each {
				req := trades(uint64(r+1), tagEvent, make3(byte(r+1), 1+i%40)...)
				req.Request = uint64(i)
				if err := st.queue.Put(&req, nil, 1); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	var next [readers]uint64
	var req Event
	ends := 0
	for seen := 0; ends < readers*each; runtime.Gosched() {
		st.take()
		for _, ev := range st.events[seen:] {
			if err := DecodeEvent(ev, &req); err != nil {
				t.Fatal(err)
			}
			if r := req.Conn - 1; req.Request != next[r] {
				t.Fatalf("reader %d: request %d, want %d", r, req.Request, next[r])
			}
			next[req.Conn-1]++
		}
		seen = len(st.events)
		for _, s := range st.pass() {
			if s.Last || s.Kind == actors.KindBatchEnd {
				ends++
			}
		}
	}
	all.Wait()
	st.queue.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

// A queue that clients have filled takes requests of operators, as far as its reserve goes.
func TestFullQueueHasRoomForOperators(t *testing.T) {
	q, r := NewQueue(1 << 14)
	req := trades(1, tagEvent, make3(1, 100)...)
	put := func() (taken int) {
		t.Helper()
		for {
			ok, err := q.TryPut(&req, nil, 7)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return taken
			}
			taken++
		}
	}
	req.Identity.Role = RoleTrader
	if put() == 0 || q.Full() != 7 {
		t.Fatalf("full since %d", q.Full())
	}
	req.Identity.Role = RoleOperator
	if put() == 0 {
		t.Error("an operator has no room")
	}
	req.Identity.Role = RoleTrader
	if n := put(); n != 0 {
		t.Errorf("a trader has room for %d requests in a full queue", n)
	}
	for { // the sequencer carries them out
		if _, ok := r.ring.Next(); !ok {
			break
		}
		r.ring.Release()
	}
	if q.Full() != 0 || put() == 0 {
		t.Error("a queue that is empty has no room")
	}
}

func TestCloseReleasesWaitingReaders(t *testing.T) {
	q, r := NewQueue(1 << 10)
	req := trades(1, tagEvent, make3(1, 100)...)
	for q.Len() < 800 {
		if err := q.Put(&req, nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	results := make(chan error, 3)
	for range 3 {
		go func() {
			for {
				if err := q.Put(&req, nil, 1); err != nil {
					results <- err
					return
				}
			}
		}()
	}
	for q.Full() == 0 { // until one of them waits
		runtime.Gosched()
	}
	q.Close()
	q.Close()
	for range 3 {
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	}
	n := 0
	for _, ok := r.ring.Next(); ok; _, ok = r.ring.Next() {
		n++
	}
	if r.ring.Release(); !r.done() || n < 6 {
		t.Errorf("%d requests taken, ended: %v; what was put must still be read", n, r.done())
	}
}

func TestQueueRejectsOversizedBody(t *testing.T) {
	q, _ := NewQueue(1 << 10)
	req := trades(1, tagEvent, make([]byte, q.MaxBody()+1)...)
	if err := q.Put(&req, nil, 1); err == nil || !strings.Contains(err.Error(), "takes at most") {
		t.Errorf("error %v, want one that names the limit", err)
	}
	req.Body = req.Body[1:]
	if err := q.Put(&req, nil, 1); err != nil {
		t.Error(err)
	}
}

// A record has one byte for the size of a trace context: a longer one was cut in the middle, and the
// rest of it was read as the event.
func TestPutRejectsTraceContextOfWrongSize(t *testing.T) {
	for _, size := range []int{1, telemetry.ParentBytes - 1, telemetry.ParentBytes + 1, 255, 256, 256 + telemetry.ParentBytes} {
		q, r := NewQueue(1 << 10)
		req := trades(1, tagEvent)
		want := fmt.Sprintf("trace context of %d bytes", size)
		if err := q.Put(&req, make([]byte, size), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if record, ok := r.ring.Next(); ok {
			t.Errorf("a rejected request of %d bytes is in the queue", len(record))
		}
	}
	for _, trace := range [][]byte{nil, make([]byte, telemetry.ParentBytes)} {
		q, _ := NewQueue(1 << 10)
		req := trades(1, tagEvent)
		if err := q.Put(&req, trace, 1); err != nil {
			t.Errorf("trace context of %d bytes: %v", len(trace), err)
		}
	}
}

// A queue that was full takes nothing and wakes no reader until half of it is free; then it wakes them once.
func TestFullQueueHasRoomOnceHalfIsFree(t *testing.T) {
	const size = 1 << 12
	q, r := NewQueue(size)
	calls := 0
	q.OnRoom(func() { calls++ })
	req := trades(1, tagEvent, make3(1, 50)...)
	put := func() bool {
		ok, err := q.TryPut(&req, nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for range 3 {
		n := 0
		for put() {
			n++
		}
		if q.Full() != 7 || put() {
			t.Fatal("a queue without room is not full")
		}
		calls = 0
		for range n {
			if _, ok := r.ring.Next(); !ok {
				t.Fatal("no request")
			}
			r.ring.Release()
			free := q.Len() <= size/2
			if want := 0; free {
				if want = 1; calls != want || q.Full() != 0 {
					t.Fatalf("%d of %d bytes are used: %d calls, full since %d", q.Len(), size, calls, q.Full())
				}
			} else if calls != want || q.Full() != 7 || put() {
				t.Fatalf("%d of %d bytes are used: %d calls, full since %d", q.Len(), size, calls, q.Full())
			}
		}
		if allocs := testing.AllocsPerRun(10, func() { put(); r.ring.Next(); r.ring.Release() }); allocs != 0 {
			t.Errorf("%v allocations in a put", allocs)
		}
	}
}
