package mailbox

import "testing"

func TestMPSCKeepsOrderAndCapacity(t *testing.T) {
	s, r := NewMPSC[int](4)
	next := 0
	for lap := range 10 {
		for i := range 4 {
			if !s.TrySend(4*lap + i) {
				t.Fatalf("lap %d: send %d refused", lap, i)
			}
		}
		if s.TrySend(-1) || s.Closed() {
			t.Fatal("a full queue accepted a value, or reports that it is closed")
		}
		if r.Len() != 4 {
			t.Fatalf("Len %d, want 4", r.Len())
		}
		for range 4 {
			if v, ok := r.Recv(); !ok || v != next {
				t.Fatalf("received %d %t, want %d", v, ok, next)
			}
			next++
		}
		if v, ok := r.Recv(); ok {
			t.Fatalf("received %d from an empty queue", v)
		}
	}
}

func TestMPSCClose(t *testing.T) {
	s, r := NewMPSC[int](4)
	s.TrySend(1)
	s.TrySend(2)
	s.Close()
	s.Close() // Several goroutines may close.
	if s.TrySend(3) || !s.Closed() {
		t.Fatal("a closed queue accepted a value, or does not report that it is closed")
	}
	if r.Len() != 2 || r.Done() {
		t.Fatalf("Len %d, Done %t with two values left", r.Len(), r.Done())
	}
	for want := 1; want <= 2; want++ {
		if r.Done() {
			t.Fatal("done with a value left")
		}
		if v, ok := r.Recv(); !ok || v != want {
			t.Fatalf("received %d %t, want %d", v, ok, want)
		}
	}
	if !r.Done() {
		t.Fatal("not done after the last value")
	}
}

// TestMPSCIsNotDoneDuringASend stops a sender between taking a position and filling it.
func TestMPSCIsNotDoneDuringASend(t *testing.T) {
	s, r := NewMPSC[int](4)
	q := s.queue
	q.tail.CompareAndSwap(0, 1)
	s.Close()
	if _, ok := r.Recv(); ok || r.Done() {
		t.Fatal("received a value that is not there, or done although one is coming")
	}
	q.cells[0].value = 7
	q.cells[0].turn.Store(1)
	if v, ok := r.Recv(); !ok || v != 7 || !r.Done() {
		t.Fatalf("received %d %t, done %t; want the late value and then the end", v, ok, r.Done())
	}
}

func TestMPSCKeepsNoReferenceToReceivedValues(t *testing.T) {
	s, r := NewMPSC[*int](4)
	for i := range 6 {
		if !s.TrySend(&i) {
			t.Fatal("send refused")
		}
		r.Recv()
	}
	for i := range s.queue.cells {
		if s.queue.cells[i].value != nil {
			t.Errorf("cell %d still holds its value, which would never be collected", i)
		}
	}
}

func TestMPSCDoesNotAllocate(t *testing.T) {
	s, r := NewMPSC[[4]uint64](8)
	if n := testing.AllocsPerRun(1000, func() {
		s.TrySend([4]uint64{1})
		r.Recv()
	}); n != 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}
