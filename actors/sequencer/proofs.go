package sequencer

import (
	"sluice/actors"
	"sluice/mailbox"
)

// proofs has the responses of queries wait until it is proven that this node still leads. A leader
// that was deposed and does not know it yet would otherwise tell clients a state that is no longer the
// cluster's. One ticket covers all queries of a batch:
//
//	slot ring:  ... | query | event | query | published together
//	                ^ the barrier of the batch's ticket
//
// The ticket is drawn after the queries were carried out, so its proof says that this node led then.
// The barrier is published before the slots. If the list of barriers is full, no query is carried out
// until the gate has passed one, as if the slot ring were full.
type proofs struct {
	barriers *mailbox.Writer[actors.Barrier] // nil on a node of its own
	prove    func(ticket uint64)
	ticket   uint64           // the last one drawn
	open     []actors.Barrier // claimed for the queries of this batch; nil if there are none
}

// begin notes that a query is about to write slots from a position of the ring on; false if the list
// of barriers has no room.
func (p *proofs) begin(position uint64) bool {
	if p.open != nil || p.barriers == nil {
		return true
	}
	if p.open = p.barriers.Claim(1); p.open == nil {
		return false
	}
	p.open[0].From = position
	return true
}

// seal draws the ticket of the queries since the last call, if there are any. Their slots are
// published afterwards.
func (p *proofs) seal() {
	if p.open == nil {
		return
	}
	p.ticket++
	p.open[0].Ticket = p.ticket
	p.open = nil
	p.barriers.Commit(1)
	p.barriers.Publish()
	p.prove(p.ticket)
}
