package orderbook

import (
	"fmt"

	"sluice/actors/sequencer"
)

// event is one event being executed.
type event struct {
	*Book
	conn   uint64 // connection of the event, 0 for none
	who    uint32 // number of the identity of its client, 0 without a key
	out    sequencer.Emitter[Report, Answer]
	cmd    Command
	owner  uint32 // account of the command
	trades uint32 // number of trades so far
	silent bool   // no topic has a subscriber
}

// begin makes the event the last one, and cancels the orders that have expired.
func (e *event) begin(ev *sequencer.Event) {
	if ev.Seq <= e.seq || ev.Time < e.time {
		panic(fmt.Sprintf("orderbook: event %d at %d after event %d at %d; numbers must increase "+
			"and times must not fall", ev.Seq, ev.Time, e.seq, e.time))
	}
	audience, ok := e.out.(sequencer.Audience)
	e.silent = ok && !audience.Subscribed()
	e.seq, e.time = ev.Seq, ev.Time
	e.expire()
}

// expire cancels all orders that may not trade at the time of the event.
func (e *event) expire() {
	for len(e.expiries) > 0 {
		slot := e.expiries[0]
		r := &e.orders.slots[slot]
		if r.expiry > e.time {
			return
		}
		e.withdraw(slot, r.conn, 0, Expired)
	}
}

// ended executes the end of a connection.
func (e *event) ended() {
	at, ok := e.connections.at[e.conn]
	if !ok {
		return
	}
	if e.connections.slots[at].cancel {
		e.ending = e.connections.byID(&e.orders, at, e.ending[:0])
		for _, slot := range e.ending {
			e.withdraw(slot, e.conn, 0, Disconnected)
		}
	}
	e.connections.slots[at].live = false
	e.connections.release(at)
}

// setCancelOnDisconnect executes a SetCancelOnDisconnect.
func (e *event) setCancelOnDisconnect() {
	x := &e.connections.slots[e.connections.get(e.conn)]
	x.cancel, x.live = e.cmd.On, true
	e.report(TagCancelOnDisconnect, e.conn).On = e.cmd.On
}

// run executes a command of an account.
func (e *event) run() {
	owner, ok := e.accountAt[e.cmd.Account]
	if !ok {
		if reason := e.stranger(); reason != 0 {
			e.rejected(reason, 0)
			return
		}
		owner = uint32(len(e.accounts))
		e.accounts = append(e.accounts, account{id: e.cmd.Account})
		e.accountAt[e.cmd.Account] = owner
	}
	e.owner = owner
	a := &e.accounts[owner]
	if reason := e.misnumbered(a.last); reason != 0 {
		e.rejected(reason, 0)
		return
	}
	// The id is used up even if the command is rejected, so that a command that is sent
	// again after a crash is executed at most once.
	a.last = e.cmd.ClientOrderID
	if e.cmd.Tag == TagNew {
		e.enter(owner)
		return
	}
	slot := e.orders.find(owner, e.cmd.Target)
	switch {
	case slot == 0:
		e.reject(UnknownOrder, 0)
	case e.cmd.Tag == TagCancel:
		e.note(e.orders.slots[slot].id, 0)
		e.withdraw(slot, e.conn, e.cmd.ClientOrderID, Requested)
	default:
		e.replace(slot)
	}
}

// stranger returns why a command of an account that does not exist is rejected, 0 if it is not. It creates
// the account then. So an account takes a place only with an order, and a command that is rejected uses no
// id: sent again, it may be accepted. Under rules 0, every command created its account.
func (e *event) stranger() Reason {
	if len(e.accounts) >= int(e.limits.Accounts) {
		return TooManyAccounts
	}
	if e.rules == 0 {
		return 0
	}
	if reason := e.misnumbered(0); reason != 0 {
		return reason
	}
	if e.cmd.Tag != TagNew {
		return UnknownOrder
	}
	return e.refusal(uint32(len(e.accounts)))
}

// maxJump is how far a client order id may be above the last one of its account. Without a bound, one
// command would use up all ids of an account.
const maxJump = 1 << 32

// misnumbered returns what is wrong with the client order id of the command, 0 for nothing. Under rules 0,
// it could be as far ahead as it liked.
func (e *event) misnumbered(last uint64) Reason {
	switch id := e.cmd.ClientOrderID; {
	case id <= last:
		return Duplicate
	case e.rules > 0 && id-last > maxJump:
		return TooFarAhead
	}
	return 0
}

// enter executes a New: it accepts and matches the order, and the rest rests or is cancelled.
func (e *event) enter(owner uint32) {
	c := &e.cmd
	if reason := e.refusal(owner); reason != 0 {
		e.reject(reason, 0)
		return
	}
	o := order{
		id: e.seq, client: c.ClientOrderID, conn: e.conn, price: c.Price, open: c.Quantity,
		total: c.Quantity, expiry: c.Expiry,
		account: owner, identity: e.who, position: e.hold(owner, c.Instrument), side: c.Side,
	}
	e.accounts[owner].accepted++
	e.positions[o.position].open[o.side.index()] += o.open
	e.note(o.id, 0)
	r := e.report(TagAccepted, e.conn)
	r.Account, r.ClientOrderID, r.OrderID = c.Account, o.client, o.id

	more := e.match(&o, c.Type == Market)
	switch {
	case o.open == 0:
	case more:
		e.drop(&o, TooDeep)
	case c.TimeInForce != ImmediateOrCancel:
		e.rest(&o)
	default:
		e.drop(&o, Unfilled)
	}
}

// drop cancels the rest of an order of the event, which is in no level.
func (e *event) drop(o *order, reason Reason) {
	e.positions[o.position].open[o.side.index()] -= o.open
	e.cancelled(o, e.conn, e.cmd.ClientOrderID, reason)
}

// refusal returns why a New cannot be accepted, 0 if it can. An order that may rest needs
// room in advance, even if it would trade in full, so that an accepted order is never
// cancelled for lack of room.
func (e *event) refusal(owner uint32) Reason {
	c := &e.cmd
	if c.Quantity == 0 || c.Quantity > e.config.MaxQuantity {
		return BadQuantity
	}
	if c.TimeInForce == GoodTillDate && c.Expiry <= e.time {
		return BadExpiry
	}
	rests := c.TimeInForce != ImmediateOrCancel
	if rests && e.orders.count >= int(e.limits.Orders) {
		return TooManyOrders
	}
	at, known := e.instrumentAt[c.Instrument]
	if !known && len(e.instruments) >= int(e.limits.Instruments) {
		return TooManyInstruments
	}
	held := false
	if known {
		if rests &&
			!e.instruments[at].sides[c.Side.index()].fits(c.Side.key(c.Price), int(e.limits.Levels)) {
			return TooManyLevels
		}
		var p uint32
		if p, held = e.positionAt[holding{owner, at}]; held &&
			!e.positions[p].room(c.Side, c.Quantity) {
			return PositionLimit
		}
	}
	if !held && len(e.positions) >= int(e.limits.Positions) {
		return TooManyPositions
	}
	return 0
}

// hold returns the index of the account's position in an instrument. It creates position
// and instrument if necessary.
func (e *event) hold(owner, id uint32) uint32 {
	at, known := e.instrumentAt[id]
	if !known {
		at = uint32(len(e.instruments))
		e.instruments = append(e.instruments, instrument{id: id})
		e.instrumentAt[id] = at
	}
	key := holding{owner, at}
	p, held := e.positionAt[key]
	if !held {
		p = uint32(len(e.positions))
		e.positions = append(e.positions, position{holding: key})
		e.positionAt[key] = p
	}
	return p
}

// ladder returns one side of the instrument of an order.
func (e *event) ladder(o *order, side Side) *ladder {
	return &e.instruments[e.positions[o.position].instrument].sides[side.index()]
}

// match trades an arriving order, which is in no level, against the other side: best price
// first, oldest first within a price, each trade at the price of the resting order. A
// resting order of the same account is cancelled instead. So that one command takes a bounded time, it meets at
// most Config.MaxTrades orders; more reports that it would meet others.
func (e *event) match(o *order, anyPrice bool) (more bool) {
	side := o.side.opposite()
	at := e.positions[o.position].instrument
	in := &e.instruments[at]
	opposite := &in.sides[side.index()]
	limit := side.key(o.price)
	for met := 0; o.open > 0; met++ {
		l := opposite.best()
		if l == nil || !anyPrice && l.key < limit {
			return false
		}
		if met >= e.config.MaxTrades && e.rules > 1 {
			return true
		}
		slot := l.head
		r := &e.orders.slots[slot]
		if r.account == o.account {
			e.preventSelfTrade(slot)
			continue
		}
		quantity := min(o.open, r.open)
		e.touch(at, side, l)
		l.quantity -= quantity
		e.trades++
		e.trade(r, quantity, r.price, Resting)
		e.trade(o, quantity, r.price, Taking)
		if !e.silent {
			e.publishTrade(in, o.side, r.price, quantity)
		}
		if r.open == 0 {
			e.unlevel(slot)
			e.forget(slot)
		}
	}
	return false
}

// trade records one side of a trade and reports it to that side.
func (e *event) trade(o *order, quantity uint64, price int64, liquidity Liquidity) {
	o.open -= quantity
	p := &e.positions[o.position]
	p.open[o.side.index()] -= quantity
	p.traded[o.side.index()] += quantity
	a := &e.accounts[o.account]
	f, full := a.fills.add()
	if full {
		a.lost = f.place
	}
	*f = fill{
		place: place{e.seq, e.trades}, instrument: e.instruments[p.instrument].id,
		client: o.client, order: o.id, price: price, quantity: quantity, open: o.open,
		side: o.side, liquidity: liquidity,
	}
	f.report(e.report(TagFill, o.conn), a.id)
}

// replace gives an order a new price and total. The order keeps its place in the queue if
// the price is the same and the total does not grow. Otherwise it leaves its level and
// arrives again, and may trade at once. If it is alone at its price, its level makes room for
// the new one.
func (e *event) replace(slot uint32) {
	c, r := &e.cmd, &e.orders.slots[slot]
	p, own := &e.positions[r.position], e.ladder(r, r.side)
	executed := r.total - r.open
	open := c.Quantity - executed
	levels := int(e.limits.Levels)
	if at, _ := own.find(r.side.key(r.price)); own.levels[at].count == 1 {
		levels++
	}
	switch {
	case c.Quantity == 0 || c.Quantity > e.config.MaxQuantity:
		e.reject(BadQuantity, r.id)
		return
	case c.Quantity <= executed:
		e.reject(AlreadyExecuted, r.id)
		return
	case open > r.open && !p.room(r.side, open-r.open):
		e.reject(PositionLimit, r.id)
		return
	case !own.fits(r.side.key(c.Price), levels):
		e.reject(TooManyLevels, r.id)
		return
	}
	e.note(r.id, 0)
	p.open[r.side.index()] += open - r.open // unsigned: subtracts if the order shrinks
	e.move(slot)
	if c.Price == r.price && c.Quantity <= r.total {
		at, _ := own.find(r.side.key(r.price))
		e.touch(p.instrument, r.side, &own.levels[at])
		own.levels[at].quantity -= r.open - open
		r.open, r.total = open, c.Quantity
		e.replaced(r, true)
		return
	}
	e.unlevel(slot)
	r.open, r.total, r.price = open, c.Quantity, c.Price
	e.replaced(r, false)
	more := e.match(r, false)
	if r.open > 0 && !more {
		e.level(slot)
		return
	}
	o := *r
	e.forget(slot)
	if o.open > 0 {
		e.drop(&o, TooDeep)
	}
}

// move makes the connection of the event the one of an order.
func (e *event) move(slot uint32) {
	r := &e.orders.slots[slot]
	if r.conn == e.conn {
		return
	}
	e.connections.detach(&e.orders, slot)
	e.attach(slot)
	r.conn = e.conn
}

// attach adds an order to those of the connection of the event.
func (e *event) attach(slot uint32) {
	at := e.connections.get(e.conn)
	e.connections.slots[at].live = true
	e.connections.attach(&e.orders, slot, at)
}
