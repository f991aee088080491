package telemetry

import (
	"fmt"
	"io"
	"testing"
	"time"
)

func BenchmarkClockNow(b *testing.B) {
	b.ReportAllocs()
	c := NewClock()
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	var h Hist
	v := uint64(20_000)
	for b.Loop() {
		h.Record(v)
		v = v&0xffff + 37
	}
}

func BenchmarkCounter(b *testing.B) {
	b.ReportAllocs()
	rec := NewRecorder()
	for b.Loop() {
		rec.B.C[GateSlots]++
	}
}

func BenchmarkPoll(b *testing.B) {
	b.ReportAllocs()
	rec := NewRecorder()
	for b.Loop() {
		rec.Poll()
	}
}

func BenchmarkParkUnpark(b *testing.B) {
	b.ReportAllocs()
	rec := NewRecorder()
	for b.Loop() {
		rec.Park()
		rec.Unpark()
	}
}

func BenchmarkHead(b *testing.B) {
	b.ReportAllocs()
	rules := NewSampler(NewRules(0.0001, time.Millisecond)).Load()
	seq, picked := uint64(0), 0
	for b.Loop() {
		seq++
		if _, ok := rules.Head(seq, 1, false); ok {
			picked++
		}
	}
}

func BenchmarkTraceBox(b *testing.B) {
	var r TraceRec
	b.Run("accepted", func(b *testing.B) {
		b.ReportAllocs()
		q := NewTraceBox(1024)
		for b.Loop() {
			q.TryPut(&r)
			q.TryGet(&r)
		}
	})
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		q := NewTraceBox(1)
		q.TryPut(&r)
		for b.Loop() {
			q.TryPut(&r)
		}
	})
}

// benchSlot has the fields of a slot that telemetry touches.
type benchSlot struct {
	seq, conn uint64
	recv      int64
	matched   int64
	seen      int64
	_         [88]byte
}

// BenchmarkWholeShape measures everything that the three actors record for a slot, on one goroutine:
// four histograms and the head decision for each slot; five intervals, counters, marks, clock reads
// and polls for each batch.
func BenchmarkWholeShape(b *testing.B) {
	for _, size := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			clock := NewClock()
			sampler := NewSampler(NewRules(0.0001, time.Second))
			gate, enc, egress := NewRecorder(), NewRecorder(), NewRecorder()
			slots := make([]benchSlot, size)
			for i := range slots {
				slots[i] = benchSlot{seq: uint64(i), conn: uint64(i), recv: clock.Now(),
					matched: clock.Now()}
			}
			n := uint32(size)
			for b.Loop() {
				rules, now := sampler.Load(), clock.Now()
				for i := range slots {
					s := &slots[i]
					s.seen = now
					gate.B.H[StageHandoff].Record(Since(s.matched, now))
					gate.B.H[StageJournalWait].Record(Since(s.recv, now))
					gate.B.H[StageReplicaWait].Record(Since(s.recv, now))
					rules.Head(s.seq, s.conn, false)
				}
				opened := clock.Now()
				gate.B.H[StageGate].RecordN(Since(now, opened), n)
				gate.B.C[GateSlots] += uint64(n)
				gate.B.Mark(MarkInbox, uint64(n))
				gate.Poll()
				encoded := clock.Now()
				enc.B.H[StageEncode].RecordN(Since(opened, encoded), n)
				enc.B.C[EncodeFrames] += uint64(n)
				enc.Poll()
				appended := clock.Now()
				egress.B.H[StageQueue].RecordN(Since(encoded, appended), n)
				sent := clock.Now()
				egress.B.H[StageSend].RecordN(Since(appended, sent), n)
				var slowest uint64
				for i := range slots {
					whole := Since(slots[i].recv, sent)
					egress.B.H[StageWhole].Record(whole)
					slowest = max(slowest, whole)
				}
				rules.Slow(slowest)
				egress.B.C[EgressSlots] += uint64(n)
				egress.B.Batch.Record(uint64(n))
				egress.Poll()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/slot")
		})
	}
}

func BenchmarkCollect(b *testing.B) {
	b.ReportAllocs()
	c := NewCollector(NewClock())
	for i := range 11 {
		rec := c.Register("egress", i)
		rec.B.H[StageWhole].Record(1000)
		rec.Park()
	}
	for b.Loop() {
		c.Collect(0)
	}
}

func BenchmarkWriteText(b *testing.B) {
	b.ReportAllocs()
	c := filled()
	for b.Loop() {
		if err := c.WriteText(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
