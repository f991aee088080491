package mailbox

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// The stress tests run real goroutines in a synctest bubble: when all of them sleep, no wake-up can
// arrive any more, and the bubble panics at once with their stacks. So a lost wake-up is detected
// without a timeout.

// rounds is the number of rounds of a stress test, a tenth where each is much slower.
func rounds(n int) int {
	if invariants || testing.Short() { // The race detector makes a round about ten times slower.
		return n / 10
	}
	return n
}

// onProcs runs f in a bubble with 1, 2 and 8 threads running Go code.
func onProcs(t *testing.T, f func(t *testing.T)) {
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			synctest.Test(t, f)
		})
	}
}

// sweep is a small deterministic sequence of batch sizes 1..limit.
type sweep uint32

func (s *sweep) next(limit int) int {
	*s = *s*1664525 + 1013904223
	return int(*s>>16)%limit + 1
}

func TestChainStressWithAllEndsParking(t *testing.T) {
	onProcs(t, func(t *testing.T) {
		const readers = 2
		total := uint64(rounds(300_000))
		w, ends := NewChain[[3]uint64](8, readers)
		writing := newSleeper()
		w.SetSignal(writing.signal)
		var all sync.WaitGroup
		for i, r := range ends {
			s := newSleeper()
			r.SetSignal(s.signal)
			all.Go(func() { readChain(t, r, s, uint64(i), total) })
		}
		sizes := sweep(1)
		for w.Position() < total {
			claim := w.Claim(min(sizes.next(8), int(total-w.Position())))
			if claim == nil {
				w.Publish()
				writing.sleepUnless(func() bool { return w.Claim(1) != nil })
				continue
			}
			for i := range claim {
				claim[i] = [3]uint64{w.Position() + uint64(i), 0, 0}
			}
			w.Commit(len(claim))
			if sizes.next(3) == 1 {
				w.Publish()
			}
		}
		w.Close()
		all.Wait()
		if w.Len() != 0 {
			t.Errorf("%d slots left", w.Len())
		}
	})
}

// readChain is reader number id: it checks what the writer and the previous readers wrote, and adds
// its own mark.
func readChain(t *testing.T, r *Reader[[3]uint64], s *sleeper, id, total uint64) {
	sizes := sweep(id + 7)
	for !r.Done() {
		batch := r.Batch(sizes.next(8))
		if batch == nil {
			s.sleepUnless(func() bool { return r.Batch(1) != nil || r.Done() })
			continue
		}
		for i := range batch {
			position := r.Position() + uint64(i)
			if slot := batch[i]; slot[0] != position || slot[1] != id*position {
				t.Errorf("reader %d, position %d: slot %v", id, position, slot)
				return
			}
			batch[i][1] = position
		}
		r.Release(len(batch))
	}
	if r.Position() != total {
		t.Errorf("reader %d is done at %d of %d", id, r.Position(), total)
	}
}

func TestBytesStressWithBothSidesParking(t *testing.T) {
	onProcs(t, func(t *testing.T) {
		total := rounds(300_000)
		w, r := NewBytes(512)
		writing, reading := newSleeper(), newSleeper()
		w.SetSignal(writing.signal)
		r.SetSignal(reading.signal)
		var all sync.WaitGroup
		all.Go(func() {
			sizes, got := sweep(1), 0
			for !r.Done() {
				record, ok := r.Next()
				if !ok {
					r.Release()
					reading.sleepUnless(func() bool { return r.Len() != 0 || r.Done() })
					continue
				}
				if want := sizes.next(100); len(record) != want {
					t.Errorf("record %d has %d bytes, want %d", got, len(record), want)
					return
				}
				for _, b := range record {
					if b != byte(got) {
						t.Errorf("record %d holds %d", got, b)
						return
					}
				}
				got++
				if got%3 == 0 {
					r.Release()
				}
			}
			if got != total {
				t.Errorf("done after %d of %d records", got, total)
			}
		})
		sizes := sweep(1)
		for i := range total {
			n := sizes.next(100)
			claim := w.Claim(n)
			for claim == nil {
				w.Publish()
				writing.sleepUnless(func() bool { return w.Claim(n) != nil })
				claim = w.Claim(n)
			}
			for j := range claim {
				claim[j] = byte(i)
			}
			w.Commit(n)
			if i%4 == 0 {
				w.Publish()
			}
		}
		w.Close()
		all.Wait()
	})
}

func TestMPSCStressWithCloseInTheMiddle(t *testing.T) {
	onProcs(t, func(t *testing.T) {
		const senders = 4
		for range rounds(2_000) {
			s, r := NewMPSC[[2]int](8)
			receiving := newSleeper()
			r.SetSignal(receiving.signal)
			var sent [senders]int
			var closed atomic.Bool // Close has returned.
			var all sync.WaitGroup
			for id := range senders {
				all.Go(func() {
					for !s.Closed() || !closed.Load() {
						late := closed.Load()
						if s.TrySend([2]int{id, sent[id]}) {
							sent[id]++
							if late {
								t.Error("a send succeeded after Close had returned")
							}
							if id == 0 && sent[0] == 40 {
								s.Close()
								closed.Store(true)
							}
						} else {
							runtime.Gosched()
						}
					}
				})
			}
			var got [senders]int
			for !r.Done() {
				v, ok := r.Recv()
				if !ok {
					receiving.sleepUnless(func() bool { return r.Len() != 0 || r.Done() })
					continue
				}
				if v[1] != got[v[0]] {
					t.Fatalf("sender %d: received %d, want %d", v[0], v[1], got[v[0]])
				}
				got[v[0]]++
			}
			all.Wait()
			if got != sent {
				t.Fatalf("received %v, sent %v", got, sent)
			}
		}
	})
}

// TestNoWakeUpIsLost passes one slot back and forth, so that each side sleeps, or is about to, on
// every hop.
func TestNoWakeUpIsLost(t *testing.T) {
	onProcs(t, func(t *testing.T) {
		pairs := rounds(200_000)
		there, thereEnd := NewSPSC[int](1)
		back, backEnd := NewSPSC[int](1)
		ping, pong := newSleeper(), newSleeper()
		thereEnd.SetSignal(pong.signal)
		backEnd.SetSignal(ping.signal)
		var all sync.WaitGroup
		// hop waits for a slot, takes it, and reports whether there was one before the end.
		hop := func(r *Reader[int], s *sleeper) bool {
			for r.Batch(1) == nil {
				if r.Done() {
					return false
				}
				s.sleepUnless(func() bool { return r.Batch(1) != nil || r.Done() })
			}
			r.Release(1)
			return true
		}
		send := func(w *Writer[int]) {
			w.Commit(len(w.Claim(1)))
			w.Publish()
		}
		all.Go(func() {
			for hop(thereEnd, pong) {
				send(back)
			}
			back.Close()
		})
		for range pairs {
			send(there)
			if !hop(backEnd, ping) {
				t.Fatal("closed early")
			}
		}
		there.Close()
		if hop(backEnd, ping) {
			t.Fatal("one slot too many")
		}
		all.Wait()
	})
}
