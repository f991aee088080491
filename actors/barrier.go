package actors

import (
	"sluice/durability"
	"sluice/mailbox"
)

// Barrier holds back the slots from a position of the slot ring on until a ticket is proven, that is,
// until the View's Proven has reached it. A producer that leads a cluster uses it for responses to
// queries: they tell the state of this node, which is that of the cluster only if it still led after
// the query was carried out. Slots in front of the barrier pass, and bypass slots wait for none.
//
// The producer publishes a barrier before the first slot behind it. Positions and tickets rise.
type Barrier struct {
	From   uint64 // position in the slot ring, as counted by Writer.Position
	Ticket uint64
}

// barriers is the capacity of a list of barriers. A producer draws one ticket for a batch, and a
// proof takes a round trip between nodes, in which a busy producer has some tens of batches.
const barriers = 1024

// NewBarriers returns the ends of a list of barriers: the first for the producer, the second for
// Config.Barriers. A list that is full has room again when the gate has passed a barrier.
func NewBarriers() (*mailbox.Writer[Barrier], *mailbox.Reader[Barrier]) {
	return mailbox.NewSPSC[Barrier](barriers)
}

// awaitsProof is gate.binding while the head slot waits for a ticket.
const awaitsProof = -2

// proven returns how many of the slots at the gate's position no barrier holds back. The cursors are
// read only if the ticket of a barrier among them is not known to be proven.
//
// A slot is published after the barrier in front of it, so a reader of the end of the slots
// first finds every barrier that concerns them.
func (g *gate[R, Q]) proven(p durability.Policy, slots []Slot[R, Q], now int64) int {
	from, looked := g.slots.Position(), false
	for {
		next := g.barriers.Batch(1)
		if len(next) == 0 || next[0].From >= from+uint64(len(slots)) {
			return len(slots)
		}
		if next[0].Ticket > g.view.Proven && !looked {
			looked = true
			g.look(p, now)
		}
		if next[0].Ticket > g.view.Proven {
			n := int(max(next[0].From, from) - from)
			for n < len(slots) && slots[n].Bypass {
				n++
			}
			return n
		}
		g.barriers.Release(1)
	}
}
