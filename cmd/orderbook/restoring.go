package orderbook

import (
	"cmp"
	"slices"
)

// account reads an account and its history.
func (s *snapshotReader) account() {
	a := account{id: s.u64(), last: s.u64(), accepted: s.u64()}
	a.outcomes.total, a.fills.total = s.u64(), s.u64()
	a.lost = place{s.u64(), s.u32()}
	if _, twice := s.accountAt[a.id]; twice {
		s.fail("account %d occurs twice", a.id)
	}
	if commands, fills := a.outcomes.total, a.fills.total; a.accepted > commands ||
		commands > s.seq || fills > 1<<62 || (a.lost == place{}) != (fills <= kept) {
		s.fail("account %d has %d commands, %d of them accepted, and %d fills", a.id, commands,
			a.accepted, fills)
	}
	if s.err != nil {
		return
	}
	a.outcomes.values = make([]outcome, min(a.outcomes.total, kept))
	last := outcome{}
	for n := a.outcomes.first(); n < a.outcomes.total && s.err == nil; n++ {
		last = s.outcome(&a, last)
		*a.outcomes.get(n) = last
	}
	if last.client != a.last {
		s.fail("the last command of account %d is %d, its last outcome is of %d", a.id, a.last, last.client)
	}
	a.fills.values = make([]fill, min(a.fills.total, kept))
	before := a.lost
	for n := a.fills.first(); n < a.fills.total && s.err == nil; n++ {
		f := s.pastFill(&a, before)
		*a.fills.get(n), before = f, f.place
	}
	s.accountAt[a.id] = uint32(len(s.accounts))
	s.accounts = append(s.accounts, a)
}

// outcome reads the outcome of the command after another one.
func (s *snapshotReader) outcome(a *account, before outcome) outcome {
	o := outcome{client: s.u64(), event: s.u64(), order: s.u64(), request: s.u8(),
		reason: Reason(s.u8())}
	if o.client <= before.client || o.event <= before.event || o.event > s.seq ||
		!UsesID(o.request) || o.reason > BadExpiry || o.order > o.event ||
		o.reason == 0 && (o.order == 0 || o.request == TagNew != (o.order == o.event)) {
		s.fail("outcome %+v of account %d is impossible", o, a.id)
	}
	return o
}

// pastFill reads the fill that is behind a place.
func (s *snapshotReader) pastFill(a *account, before place) fill {
	var f fill
	f.event, f.client, f.order = s.u64(), s.u64(), s.u64()
	f.price, f.quantity, f.open = int64(s.u64()), s.u64(), s.u64()
	f.instrument, f.trade = s.u32(), s.u32()
	f.side, f.liquidity = Side(s.u8()), Liquidity(s.u8())
	if !f.after(before) || f.event > s.seq || f.trade == 0 || f.quantity == 0 || !f.side.valid() ||
		f.liquidity != Resting && f.liquidity != Taking {
		s.fail("fill %+v of account %d is impossible", f, a.id)
	}
	return f
}

func (s *snapshotReader) position() {
	p := position{holding: holding{s.u32(), s.u32()}, traded: [2]uint64{s.u64(), s.u64()}}
	_, twice := s.positionAt[p.holding]
	if s.err == nil &&
		(twice || int(p.account) >= len(s.accounts) || int(p.instrument) >= len(s.instruments) ||
			p.traded[0] > tradedMax || p.traded[1] > tradedMax) {
		s.fail("position %d of account %d in instrument %d is impossible", len(s.positions),
			p.account, p.instrument)
	}
	s.positionAt[p.holding] = uint32(len(s.positions))
	s.positions = append(s.positions, p)
}

// cancelling reads the connections with cancel on disconnect. A connection has the setting
// until its end, so it is live.
func (s *snapshotReader) cancelling() {
	n, before := s.u32(), uint64(0)
	for ; n > 0 && s.err == nil; n-- {
		id := s.u64()
		if s.err == nil && id <= before {
			s.fail("connection %d with cancel on disconnect is 0 or out of order", id)
		}
		if before = id; s.err == nil {
			x := &s.connections.slots[s.connections.get(id)]
			x.cancel, x.live = true, true
		}
	}
}

// index adds the orders to the lists of their accounts, and those that expire to the
// expiries.
func (s *snapshotReader) index() {
	if s.err != nil {
		return
	}
	all := make([]openEntry, 0, s.orders.count)
	for slot := 1; slot < len(s.orders.slots); slot++ {
		all = append(all, openEntry{id: s.orders.slots[slot].id, slot: uint32(slot)})
	}
	slices.SortFunc(all, func(a, b openEntry) int { return cmp.Compare(a.id, b.id) })
	var before uint64
	for _, e := range all {
		r := &s.orders.slots[e.slot]
		if r.id == before {
			s.fail("order %d occurs twice", r.id)
		}
		before = r.id
		s.accounts[r.account].open.add(&s.orders, e.slot)
		if r.expiry != 0 {
			s.expiries.add(&s.orders, e.slot)
		}
	}
}
