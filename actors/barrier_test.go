package actors

import (
	"testing"

	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

func putBarrier(w *mailbox.Writer[Barrier], from, ticket uint64) {
	w.Claim(1)[0] = Barrier{From: from, Ticket: ticket}
	w.Commit(1)
	w.Publish()
}

// The positions of a ring of 4 slots wrap around, and so do those of batches that the ring cuts.
func TestBarrierHoldsBackExactlyWhatIsBehindIt(t *testing.T) {
	for batch := 1; batch <= 5; batch++ {
		for front := range uint64(9) {
			w, r := NewBarriers()
			b := newTable(t, func(c *Config) { c.Barriers, c.Slots, c.Batch = r, 4, batch })
			b.cursors.SetPersisted(durability.Everything)
			putBarrier(w, front, 1)
			for range 3 * 4 {
				if b.slots.Len() < 4 {
					b.say(1, nil)
				}
				b.settle()
			}
			if got := b.gate.slots.Position(); got != front {
				t.Fatalf("batches of %d: %d slots passed, want the %d before the barrier", batch, got, front)
			}
			b.cursors.Prove(1)
			if b.settle(); b.gate.slots.Position() != b.slots.Position() {
				t.Fatalf("batches of %d: the gate stays shut after the proof", batch)
			}
		}
	}
}

func TestBarrierWaitsForWholeSnapshot(t *testing.T) {
	w, r := NewBarriers()
	b := newTable(t, func(c *Config) { c.Barriers = r })
	whole := b.gate.source
	b.persist()
	putBarrier(w, 0, 1)
	b.say(1, nil)
	b.persist()
	b.cursors.Prove(1)
	b.gate.source = tornSource{whole}
	b.gate.Step(b.now)
	if b.gate.slots.Position() != 0 {
		t.Fatal("a torn snapshot proved a ticket")
	}
	b.gate.source = whole
	b.gate.Step(b.now)
	if b.gate.slots.Position() != 1 {
		t.Fatal("the gate stayed shut after a whole snapshot")
	}
}

// Nothing else happens when a ticket is proven, so the proof wakes the gate.
func TestQueryLeavesAfterItsProofOnly(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		put, take := NewBarriers()
		r := newRig(t, w, func(c *Config) { c.Barriers = take })
		r.cursors.SetPersisted(durability.Everything)
		c := r.dial(1, socket{})
		for ticket := range uint64(200) {
			putBarrier(put, r.slots, ticket+1)
			r.report(1, ticket, 1, 20)
			if ticket%2 == 0 {
				r.atGate(1)
				if w, waits := r.Waiting(); !waits || !w.Proof {
					t.Fatalf("waiting %v, for the proof %v", waits, w.Proof)
				}
				c.silent()
			}
			r.cursors.Prove(ticket + 1)
			c.wants(ticket, 1)
		}
		if n := r.count(telemetry.GateOpenedProof); n < 100 {
			t.Errorf("%d opens by a proof, want at least 100", n)
		}
		r.drain()
	})
}
