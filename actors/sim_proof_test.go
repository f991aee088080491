package actors

import "sluice/mailbox"

// simProofs is what a world whose producer leads a cluster knows of tickets: some of its slots are
// responses to queries.
type simProofs struct {
	list   *mailbox.Writer[Barrier] // nil in a world without
	drawn  uint64
	proven uint64
}

// begin makes the list of barriers of one world in eight, often one that fills. That is no draw, so
// that other seeds run as before.
func (p *simProofs) begin(seed uint64) *mailbox.Reader[Barrier] {
	if seed%8 != 6 {
		return nil
	}
	list, gate := mailbox.NewSPSC[Barrier]([]int{1, 2, 8, 1024}[seed/8%4])
	p.list = list
	return gate
}

// draw may put a barrier before one of n slots that are about to be published from a position on. It
// returns the index of that slot, n for none, and false if the list is full.
func (p *simProofs) draw(w *world, n int) (at int, ok bool) {
	if p.list == nil || !w.r.oneIn(3) {
		return n, true
	}
	room := p.list.Claim(1)
	if room == nil {
		w.stats.BarriersFull++
		return n, false
	}
	at = w.r.n(n)
	p.drawn++
	w.stats.Tickets++
	room[0] = Barrier{From: w.p.slots.Position() + uint64(at), Ticket: p.drawn}
	p.list.Commit(1)
	p.list.Publish()
	return at, true
}

// prove proves tickets, in any number of steps.
func (p *simProofs) prove(w *world) {
	if p.proven == p.drawn || w.faults && w.r.oneIn(3) {
		return
	}
	p.proven += 1 + uint64(w.r.n(int(p.drawn-p.proven)))
	w.cursors.Prove(p.proven)
}
