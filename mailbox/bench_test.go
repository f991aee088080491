package mailbox

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

const benchRoom = 1024 // slots

// waitFor yields until ready, as both sides of the two-goroutine benchmarks do while they cannot
// continue.
func waitFor(ready func() bool) {
	for !ready() {
		runtime.Gosched()
	}
}

// perItem reports the time per slot, record or value; an iteration of b.Loop handles n of them.
func perItem(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
}

// writeBatch writes and publishes a batch of n slots.
func writeBatch(w *Writer[uint64], n int) {
	for left := n; left > 0; {
		claim := w.Claim(left)
		if claim == nil {
			runtime.Gosched()
			continue
		}
		for i := range claim {
			claim[i] = uint64(i)
		}
		w.Commit(len(claim))
		left -= len(claim)
	}
	w.Publish()
}

// readAll reads in batches of up to n until the end.
func readAll(r *Reader[uint64], n int) (sum uint64) {
	for !r.Done() {
		batch := r.Batch(n)
		if batch == nil {
			runtime.Gosched()
			continue
		}
		for _, v := range batch {
			sum += v
		}
		r.Release(len(batch))
	}
	return sum
}

var batches = []int{1, 16, 256}

// BenchmarkChain is a hop through a ring of 8-byte slots, every reader in a goroutine of its own.
func BenchmarkChain(b *testing.B) {
	for readers := 1; readers <= 2; readers++ {
		for _, n := range batches {
			b.Run(fmt.Sprintf("readers=%d/batch=%d", readers, n), func(b *testing.B) {
				b.ReportAllocs()
				w, ends := NewChain[uint64](benchRoom, readers)
				var all sync.WaitGroup
				for _, r := range ends {
					all.Go(func() { readAll(r, n) })
				}
				for b.Loop() {
					writeBatch(w, n)
				}
				w.Close()
				all.Wait()
				perItem(b, n)
			})
		}
	}
}

// BenchmarkChainAlone is the cost of the calls themselves: both ends in one goroutine.
func BenchmarkChainAlone(b *testing.B) {
	for _, n := range batches {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			w, r := NewSPSC[uint64](benchRoom)
			for b.Loop() {
				writeBatch(w, n)
				for left := n; left > 0; {
					batch := r.Batch(left)
					left -= len(batch)
					r.Release(len(batch))
				}
			}
			perItem(b, n)
		})
	}
}

// BenchmarkBytes is a hop of 64-byte records from one goroutine to another.
func BenchmarkBytes(b *testing.B) {
	for _, n := range batches {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			w, r := NewBytes(benchRoom * 128)
			var all sync.WaitGroup
			all.Go(func() {
				for !r.Done() {
					got := 0
					for _, ok := r.Next(); ok && got < n; _, ok = r.Next() {
						got++
					}
					r.Release()
					if got == 0 {
						runtime.Gosched()
					}
				}
			})
			var record [64]byte
			for b.Loop() {
				for range n {
					claim := w.Claim(len(record))
					for ; claim == nil; claim = w.Claim(len(record)) {
						w.Publish()
						runtime.Gosched()
					}
					copy(claim, record[:])
					w.Commit(len(record))
				}
				w.Publish()
			}
			w.Close()
			all.Wait()
			perItem(b, n)
		})
	}
}

// BenchmarkMPSC is a value from any of several goroutines to one; the benchmark's goroutine
// receives.
func BenchmarkMPSC(b *testing.B) {
	for _, senders := range []int{1, 4} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			b.ReportAllocs()
			s, r := NewMPSC[uint64](benchRoom)
			var all sync.WaitGroup
			for range senders {
				all.Go(func() {
					for !s.Closed() {
						if !s.TrySend(1) {
							runtime.Gosched()
						}
					}
				})
			}
			for b.Loop() {
				waitFor(func() bool { _, ok := r.Recv(); return ok })
			}
			s.Close()
			all.Wait()
			perItem(b, 1)
		})
	}
}

// BenchmarkGoChannel is the comparison: a channel of the same capacity.
func BenchmarkGoChannel(b *testing.B) {
	for _, senders := range []int{1, 4} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			b.ReportAllocs()
			values, stop := make(chan uint64, benchRoom), make(chan struct{})
			var all sync.WaitGroup
			for range senders {
				all.Go(func() {
					for {
						select {
						case values <- 1:
						case <-stop:
							return
						}
					}
				})
			}
			for b.Loop() {
				<-values
			}
			close(stop)
			all.Wait()
			perItem(b, 1)
		})
	}
	b.Run("senders=1/no select", func(b *testing.B) {
		b.ReportAllocs()
		values, done := make(chan uint64, benchRoom), make(chan struct{})
		go func() {
			defer close(done)
			for range values {
			}
		}()
		for b.Loop() {
			values <- 1
		}
		close(values)
		<-done
		perItem(b, 1)
	})
}

// BenchmarkParkedRoundTrip sends one slot there and one back between two goroutines that both sleep
// in between; the comparison does the same with unbuffered channels.
func BenchmarkParkedRoundTrip(b *testing.B) {
	b.Run("mailbox", func(b *testing.B) {
		b.ReportAllocs()
		there, thereEnd := NewSPSC[uint64](1)
		back, backEnd := NewSPSC[uint64](1)
		ping, pong := newSleeper(), newSleeper()
		thereEnd.SetSignal(pong.signal)
		backEnd.SetSignal(ping.signal)
		take := func(r *Reader[uint64], s *sleeper) bool {
			for r.Batch(1) == nil {
				if r.Done() {
					return false
				}
				s.sleepUnless(func() bool { return r.Batch(1) != nil || r.Done() })
			}
			r.Release(1)
			return true
		}
		var all sync.WaitGroup
		all.Go(func() {
			for take(thereEnd, pong) {
				writeBatch(back, 1)
			}
		})
		for b.Loop() {
			writeBatch(there, 1)
			take(backEnd, ping)
		}
		there.Close()
		all.Wait()
	})
	b.Run("Go channels", func(b *testing.B) {
		b.ReportAllocs()
		there, back := make(chan uint64), make(chan uint64)
		go func() {
			for v := range there {
				back <- v
			}
		}()
		for b.Loop() {
			there <- 1
			<-back
		}
		close(there)
	})
}
