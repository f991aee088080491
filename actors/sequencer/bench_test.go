package sequencer

import (
	"testing"
)

// BenchmarkPut is the reader's side, with the sequencer's taking beside it so that the queue never
// fills up.
func BenchmarkPut(b *testing.B) {
	for _, readers := range []int{1, 2, 4} {
		b.Run(map[int]string{1: "one reader", 2: "two readers", 4: "four readers"}[readers],
			func(b *testing.B) {
				q, r := NewQueue(1 << 22)
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					for {
						n := 0
						for _, ok := r.ring.Next(); ok && n < 128; _, ok = r.ring.Next() {
							n++
						}
						r.ring.Release()
						select {
						case <-stop:
							return
						default:
						}
					}
				}()
				req := Event{Conn: 1, Tag: tagEvent, Body: make([]byte, 45)}
				b.ReportAllocs()
				b.SetParallelism(readers) // times GOMAXPROCS goroutines
				if readers == 1 {
					for b.Loop() {
						_ = q.Put(&req, nil, 1)
					}
				} else {
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							_ = q.Put(&req, nil, 1)
						}
					})
				}
				close(stop)
				<-done
			})
	}
}

// BenchmarkBatch is the sequencer's side without an application to speak of: a queue's record to a
// journal's record and a slot.
func BenchmarkBatch(b *testing.B) {
	st := newStage(b, 1<<12, nil)
	req := trades(1, tagEvent, 1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		_ = st.queue.Put(&req, nil, 1)
		if n++; n%batchRequests != 0 {
			continue
		}
		st.seq.Step(0)
		for _, ok := st.log.Next(); ok; _, ok = st.log.Next() {
		}
		st.log.Release()
		for s := st.slots.Batch(4096); len(s) > 0; s = st.slots.Batch(4096) {
			st.slots.Release(len(s))
		}
	}
}
