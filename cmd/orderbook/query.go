package orderbook

import (
	"fmt"

	"sluice/actors/sequencer"
)

// Query answers one query. An unknown instrument or account has no orders. It panics on a
// request that cannot have passed Check.
func (b *Book) Query(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	var c Command
	if err := DecodeRequest(ev.Tag, ev.Body, &c); err != nil || !isQuery(ev.Tag) {
		panic(fmt.Sprintf("orderbook: request with tag 0x%02x is not a query: %v", ev.Tag, err))
	}
	switch c.Tag {
	case TagQueryTop:
		v := b.top(c.Instrument)
		v.encode(out.Query(ev.Conn))
		return
	case TagQueryLimits:
		v := LimitUse{b.seq, b.used(), b.limits}
		v.encode(out.Query(ev.Conn))
		return
	}
	a := &account{id: c.Account}
	owner, known := b.accountAt[c.Account]
	if known {
		a = &b.accounts[owner]
	}
	switch c.Tag {
	case TagQueryPosition:
		v := b.position(a, owner, known, c.Instrument)
		v.encode(out.Query(ev.Conn))
	case TagQueryOpenOrders:
		b.queryOpenOrders(a, &c, ev.Conn, out)
	case TagQueryOutcome:
		v := a.outcome(c.ClientOrderID)
		v.Seq = b.seq
		v.encode(out.Query(ev.Conn))
	case TagQueryFills:
		b.queryFills(a, &c, ev.Conn, out)
	}
}

func (b *Book) top(instrument uint32) TopOfBook {
	v := TopOfBook{Seq: b.seq, Instrument: instrument}
	if at, known := b.instrumentAt[instrument]; known {
		v.Bid, v.Ask = b.instruments[at].quote(Buy), b.instruments[at].quote(Sell)
	}
	return v
}

func (i *instrument) quote(side Side) Quote {
	l := i.sides[side.index()].best()
	if l == nil {
		return Quote{}
	}
	return Quote{Price: side.price(l.key), Quantity: l.quantity, Orders: l.count}
}

func (b *Book) position(a *account, owner uint32, known bool, instrument uint32) Position {
	v := Position{Seq: b.seq, Account: a.id, Instrument: instrument, Accepted: a.accepted,
		LastID: a.last}
	at, traded := b.instrumentAt[instrument]
	if p, held := b.positionAt[holding{owner, at}]; known && traded && held {
		p := &b.positions[p]
		v.Bought, v.Sold, v.OpenOrders = p.traded[0], p.traded[1], p.orders
	}
	return v
}

func (b *Book) queryOpenOrders(a *account, c *Command, conn uint64,
	out sequencer.Emitter[Report, Answer]) {
	end := OpenOrders{Seq: b.seq, Account: a.id}
	at := a.open.next(a.open.find(c.After))
	for ; at < len(a.open.entries) && end.Count < uint32(c.Limit); at = a.open.next(at + 1) {
		o := &b.orders.slots[a.open.entries[at].slot]
		v := OpenOrder{Seq: b.seq, Account: a.id, ClientOrderID: o.client, OrderID: o.id,
			Instrument: b.instruments[b.positions[o.position].instrument].id, Side: o.side,
			TimeInForce: restingFor(o.expiry), Price: o.price, Open: o.open, Quantity: o.total,
			Expiry: o.expiry}
		v.encode(out.Query(conn))
		end.Count++
	}
	end.More = at < len(a.open.entries)
	end.encode(out.Query(conn))
}

func (b *Book) queryFills(a *account, c *Command, conn uint64,
	out sequencer.Emitter[Report, Answer]) {
	asked := place{c.After, c.Trade}
	end := Fills{Seq: b.seq, Account: a.id, Dropped: a.lost.after(asked)}
	at := a.fills.search(func(f *fill) bool { return f.after(asked) })
	for ; at < a.fills.total && end.Count < uint32(c.Limit); at++ {
		var r Report
		a.fills.get(at).report(&r, a.id)
		encodePast(&r, out.Query(conn))
		end.Count++
	}
	end.More = at < a.fills.total
	end.encode(out.Query(conn))
}

// outcome returns what a command did.
func (a *account) outcome(command uint64) Outcome {
	v := Outcome{Account: a.id, Command: command}
	at := a.outcomes.search(func(o *outcome) bool { return o.client >= command })
	switch {
	case command > a.last:
		v.Status = StatusUnknown
	case at < a.outcomes.total && a.outcomes.get(at).client == command:
		o := a.outcomes.get(at)
		v.Status, v.Request, v.Reason = o.status(), o.request, o.reason
		v.Event, v.OrderID = o.event, o.order
	case at == a.outcomes.first() && at > 0:
		v.Status = StatusTooOld
	default:
		v.Status = StatusNotUsed
	}
	return v
}
