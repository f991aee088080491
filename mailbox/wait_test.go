package mailbox

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestClaimWait(t *testing.T) {
	stopped := errors.New("stopped")
	cases := []struct {
		name string
		free int // slots of 4
		do   func(cancel func(), r *Reader[int])
		want int // slots of the claim
		err  error
	}{
		{"room is returned at once", 2, func(func(), *Reader[int]) {}, 2, nil},
		{"room is returned although the context has ended", 1,
			func(cancel func(), _ *Reader[int]) { cancel() }, 1, nil},
		{"a full ring waits for the reader", 0, func(_ func(), r *Reader[int]) { r.Release(3) }, 3, nil},
		{"the wait ends with the context", 0, func(cancel func(), _ *Reader[int]) { cancel() }, 0,
			stopped},
		{"the wait ends with the reader", 0, func(_ func(), r *Reader[int]) { r.End(); r.End() }, 0,
			ErrReaderEnded},
		{"room is useless once the reader has ended", 2,
			func(_ func(), r *Reader[int]) { r.End() }, 0, ErrReaderEnded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r := NewSPSC[int](4)
				w.Claim(4)
				w.Commit(4 - c.free) // only committed: ClaimWait publishes it
				ctx, cancel := context.WithCancelCause(context.Background())
				act := func() { r.Batch(4); c.do(func() { cancel(stopped) }, r) }
				if c.free > 0 {
					act()
				} else {
					go func() { synctest.Wait(); act() }()
				}
				slots, err := w.ClaimWait(ctx, 4)
				if len(slots) != c.want || !errors.Is(err, c.err) {
					t.Errorf("%d slots, %v; want %d, %v", len(slots), err, c.want, c.err)
				}
				if w.upstream.signal.parked.Load() != 0 {
					t.Error("the writer is still parked")
				}
				cancel(nil)
			})
		})
	}
}

// A wake-up that arrived too late for one wait does not disturb the next.
func TestClaimWaitAfterLeftoverWakeup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := NewSPSC[int](1)
		w.Commit(len(w.Claim(1)))
		w.chain.room.Wake()
		go func() { time.Sleep(time.Second); r.Batch(1); r.Release(1) }()
		if slots, err := w.ClaimWait(t.Context(), 1); len(slots) != 1 || err != nil {
			t.Error(slots, err)
		}
	})
}

func TestClaimWaitContract(t *testing.T) {
	w, _ := NewSPSC[int](4)
	mustPanic(t, func() { w.ClaimWait(t.Context(), 0) }, "ClaimWait of 0 slots")
	for _, set := range []func(){func() { w.SetSignal(newSleeper().signal) },
		func() { w, _ = NewSPSC[int](4); w.SetRoom(newSleeper().signal) }} {
		set()
		mustPanic(t, func() { w.ClaimWait(t.Context(), 1) }, "SetSignal") // with room too
	}
}

// All ends park, and the bubble panics at once if nothing can wake any of them any more.
func TestClaimWaitStress(t *testing.T) {
	for _, capacity := range []int{1, 8} {
		onProcs(t, func(t *testing.T) {
			total := uint64(rounds(200_000))
			w, ends := NewChain[[3]uint64](capacity, 2)
			var all sync.WaitGroup
			for i, r := range ends {
				s := newSleeper()
				r.SetSignal(s.signal)
				all.Go(func() { readChain(t, r, s, uint64(i), total) })
			}
			sizes := sweep(1)
			for w.Position() < total {
				slots, err := w.ClaimWait(t.Context(), min(sizes.next(8), int(total-w.Position())))
				if err != nil {
					t.Fatal(err)
				}
				for i := range slots {
					slots[i] = [3]uint64{w.Position() + uint64(i), 0, 0}
				}
				w.Commit(len(slots))
				if sizes.next(3) == 1 {
					w.Publish()
				}
			}
			w.Close()
			all.Wait()
		})
	}
}

// The reader releases, ends or the context is cancelled at the moment at which the writer goes to
// sleep.
func TestClaimWaitRacingWakeups(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("needs two cores: on one the two steps never overlap")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a lost wake-up is an error
	defer cancel()
	w, r := NewSPSC[int](1)
	fill := func() { w.Commit(len(w.Claim(1))); w.Publish() }
	fill()
	duel(rounds(100_000), nil, func() { r.Batch(1); r.Release(1) }, func() {
		if _, err := w.ClaimWait(ctx, 1); err != nil {
			t.Error(err)
		}
	}, fill)
	for range rounds(20_000) {
		w, r := NewSPSC[int](1)
		w.Commit(len(w.Claim(1)))
		go r.End()
		if _, err := w.ClaimWait(ctx, 1); !errors.Is(err, ErrReaderEnded) {
			t.Fatal(err)
		}
	}
}
