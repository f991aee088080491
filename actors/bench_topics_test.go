package actors

import (
	"testing"

	"sluice/durability"
	"sluice/telemetry"
)

// BenchmarkTopics is the path of frames through the pipeline to a ring that costs nothing, on one core:
// of a topic with 256 subscribers alone, and with a response of its own for each subscriber behind
// every topic frame. A frame is what one subscriber receives.
func BenchmarkTopics(b *testing.B) {
	const conns = 256
	for _, c := range []struct {
		name   string
		topics int // frames of the topic in an iteration
		own    int // responses behind each
	}{
		{"alone", 256, 0},
		{"mixed", 64, conns},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newBench(b, conns, 1)
			seq := uint64(0)
			put := func(n int, write func(i int, slot *Slot[tick, struct{}])) {
				now := s.Now()
				for i := 0; i < n; {
					room := s.Slots().Claim(n - i)
					if room == nil {
						b.Fatal("the slot ring is full")
					}
					for j := range room {
						s.seq++
						room[j] = Slot[tick, struct{}]{Seq: durability.Seq(s.seq), Received: now, Matched: now,
							Report: tick{n: s.seq, size: 64}}
						write(i+j, &room[j])
					}
					s.Slots().Commit(len(room))
					i += len(room)
				}
			}
			round := func() {
				for range c.topics {
					put(1, func(_ int, slot *Slot[tick, struct{}]) {
						seq++
						slot.SetTopic(1, seq, 0, 1)
					})
					put(c.own, func(i int, slot *Slot[tick, struct{}]) { slot.Conn = uint64(i*97%conns) + 1 })
				}
				s.Slots().Publish()
				s.cursors.SetPersisted(durability.Seq(s.seq))
				for s.step() > 0 {
				}
			}
			put(conns, func(i int, slot *Slot[tick, struct{}]) {
				slot.Conn = uint64(i) + 1
				slot.SetSubscription(KindSnapshotEnd, 1, 0, 0, ModeRecover)
			})
			round()
			b.ReportAllocs()
			for b.Loop() {
				round()
			}
			frames := float64(c.topics * (conns + c.own))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/frames, "ns/frame")
			if got := s.total(telemetry.TopicDelivered); got != seq*conns {
				b.Fatalf("%d of %d topic frames were sent", got, seq*conns)
			}
		})
	}
}
