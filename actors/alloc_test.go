package actors

import (
	"testing"

	"sluice/durability"
	"sluice/telemetry"
)

// TestStepsDoNotAllocate checks I5 for all actors together and each on its own: no allocation per
// slot.
func TestStepsDoNotAllocate(t *testing.T) {
	const conns, batch = 64, 1024
	s := newBench(t, conns, 2)
	for range 8 { // until rings, tables and lists have their final size
		s.run(batch, conns, 64)
	}
	if n := testing.AllocsPerRun(100, func() { s.run(batch, conns, 64) }); n != 0 {
		t.Errorf("%.1f allocations for %d slots through all actors", n, batch)
	}
	for i, a := range s.actors {
		per := testing.AllocsPerRun(50, func() {
			s.fill(batch, conns, 64)
			s.cursors.SetPersisted(durability.Seq(s.seq))
			for _, before := range s.actors[:i] {
				for before.Step(s.Now()) > 0 {
				}
			}
			for a.Step(s.Now()) > 0 {
			}
			for s.step() > 0 {
			}
		})
		if per != 0 {
			t.Errorf("%.1f allocations for %d slots up to %s", per, batch, a.Name())
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.step() }); n != 0 {
		t.Errorf("%.1f allocations in an idle step", n)
	}
}

// copier is a Sealer that costs nothing but a copy.
type copier struct{ records int }

func (c *copier) Seal(dst, plain []byte) ([]byte, error) {
	c.records++
	var overhead [22]byte // that of TLS
	return append(append(append(dst, overhead[:5]...), plain...), overhead[5:]...), nil
}

func (c *copier) End(dst []byte) ([]byte, error) { return append(dst, 0), nil }

// TestSealedFramesDoNotAllocate checks I5 for connections with a Sealer, with one frame a record and with
// many. What crypto/tls itself allocates is checked in transport/secure.
func TestSealedFramesDoNotAllocate(t *testing.T) {
	const conns = 64
	s, seal := newBench(t, 0, 2), &copier{}
	for id := range conns {
		s.connect(t, uint64(id+1), seal)
	}
	for _, batch := range []int{conns, 64 * conns} {
		for range 8 { // until rings, tables and lists have their final size
			s.run(batch, conns, 64)
		}
		before := seal.records
		if n := testing.AllocsPerRun(100, func() { s.run(batch, conns, 64) }); n != 0 {
			t.Errorf("%.1f allocations for %d slots", n, batch)
		}
		if records := seal.records - before; records < 101*conns {
			t.Errorf("%d records for %d slots to %d connections", records, 101*batch, conns)
		}
	}
	if got := s.total(telemetry.EgressFramesSent); got != s.seq {
		t.Errorf("%d of %d slots were sent", got, s.seq)
	}
}

// TestTopicFramesDoNotAllocate checks I5 for topic frames alone, and for those that are copied in front of
// responses.
func TestTopicFramesDoNotAllocate(t *testing.T) {
	const conns, batch, shards = 64, 256, 2
	s, seq := newBench(t, conns, shards), uint64(0)
	put := func(write func(slot *Slot[tick, struct{}])) {
		s.seq++
		slot := &s.Slots().Claim(1)[0]
		*slot = Slot[tick, struct{}]{Seq: durability.Seq(s.seq), Report: tick{n: s.seq, size: 64}}
		write(slot)
		s.Slots().Commit(1)
	}
	round := func(own bool) {
		for i := range batch {
			put(func(slot *Slot[tick, struct{}]) {
				seq++
				slot.SetTopic(1, seq, 0, 1<<shards-1)
			})
			if own {
				put(func(slot *Slot[tick, struct{}]) { slot.Conn = uint64(i%conns) + 1 })
			}
		}
		s.Slots().Publish()
		s.cursors.SetPersisted(durability.Seq(s.seq))
		for s.step() > 0 {
		}
	}
	for i := range conns {
		put(func(slot *Slot[tick, struct{}]) {
			slot.Conn = uint64(i) + 1
			slot.SetSubscription(KindSnapshotEnd, 1, 0, 0, Mode(i%3))
		})
	}
	for _, own := range []bool{false, true} {
		for range 16 { // until tapes, histories and lists have their final size
			round(own)
		}
		if n := testing.AllocsPerRun(100, func() { round(own) }); n != 0 {
			t.Errorf("%.1f allocations for %d topic frames to %d subscribers, responses between: %t", n, batch,
				conns, own)
		}
	}
	if got := s.total(telemetry.TopicDelivered); got != seq*conns {
		t.Errorf("%d of %d topic frames were sent", got, seq*conns)
	}
}
