package orderbook

import "sluice/actors/sequencer"

// event is one command being executed.
type event struct {
	*Book
	seq    uint64
	conn   uint64 // connection of the request
	out    sequencer.Emitter[Report, Answer]
	cmd    Command
	trades uint32 // number of trades so far
}

func (e *event) run() {
	owner, ok := e.accountAt[e.cmd.Account]
	if !ok {
		if len(e.accounts) >= e.config.MaxAccounts {
			e.reject(TooManyAccounts, 0)
			return
		}
		owner = uint32(len(e.accounts))
		e.accounts = append(e.accounts, account{id: e.cmd.Account})
		e.accountAt[e.cmd.Account] = owner
	}
	a := &e.accounts[owner]
	if e.cmd.ClientOrderID <= a.last {
		e.reject(Duplicate, 0)
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
		e.withdraw(slot, e.conn, e.cmd.ClientOrderID, Requested)
	default:
		e.replace(slot)
	}
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
		total:   c.Quantity,
		account: owner, position: e.hold(owner, c.Instrument), side: c.Side,
	}
	e.accounts[owner].accepted++
	e.positions[o.position].open[o.side.index()] += o.open
	r := e.report(TagAccepted, e.conn)
	r.Account, r.ClientOrderID, r.OrderID = c.Account, o.client, o.id

	e.match(&o, c.Type == Market)
	switch {
	case o.open == 0:
	case c.TimeInForce == GoodTillCancel:
		e.rest(&o)
	default:
		e.positions[o.position].open[o.side.index()] -= o.open
		e.cancelled(&o, e.conn, o.client, Unfilled)
	}
}

// refusal returns why a New cannot be accepted, 0 if it can. An order that may rest needs
// room in advance, even if it would trade in full, so that an accepted order is never
// cancelled for lack of room.
func (e *event) refusal(owner uint32) Reason {
	c := &e.cmd
	if c.Quantity == 0 || c.Quantity > e.config.MaxQuantity {
		return BadQuantity
	}
	rests := c.TimeInForce == GoodTillCancel
	if rests && e.orders.count >= e.config.MaxOrders {
		return TooManyOrders
	}
	at, known := e.instrumentAt[c.Instrument]
	if !known && len(e.instruments) >= e.config.MaxInstruments {
		return TooManyInstruments
	}
	held := false
	if known {
		if rests &&
			!e.instruments[at].sides[c.Side.index()].fits(c.Side.key(c.Price), e.config.MaxLevels) {
			return TooManyLevels
		}
		var p uint32
		if p, held = e.positionAt[holding{owner, at}]; held &&
			!e.positions[p].room(c.Side, c.Quantity) {
			return PositionLimit
		}
	}
	if !held && len(e.positions) >= e.config.MaxPositions {
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
// resting order of the same account is cancelled instead.
func (e *event) match(o *order, anyPrice bool) {
	side := o.side.opposite()
	opposite := e.ladder(o, side)
	limit := side.key(o.price)
	for o.open > 0 {
		l := opposite.best()
		if l == nil || !anyPrice && l.key < limit {
			return
		}
		slot := l.head
		r := &e.orders.slots[slot]
		if r.account == o.account {
			e.withdraw(slot, r.conn, 0, SelfTrade)
			continue
		}
		quantity := min(o.open, r.open)
		l.quantity -= quantity
		e.trades++
		e.trade(r, quantity, r.price, Resting)
		e.trade(o, quantity, r.price, Taking)
		if r.open == 0 {
			e.forget(slot)
		}
	}
}

// trade records one side of a trade and reports it to that side.
func (e *event) trade(o *order, quantity uint64, price int64, liquidity Liquidity) {
	o.open -= quantity
	p := &e.positions[o.position]
	p.open[o.side.index()] -= quantity
	p.traded[o.side.index()] += quantity
	r := e.report(TagFill, o.conn)
	r.Account, r.ClientOrderID, r.OrderID = e.accounts[o.account].id, o.client, o.id
	r.Instrument, r.Trade, r.Side, r.Liquidity = e.instruments[p.instrument].id, e.trades, o.side, liquidity
	r.Price, r.Quantity, r.Open = price, quantity, o.open
}

// replace gives an order a new price and total. The order keeps its place in the queue if
// the price is the same and the total does not grow. Otherwise it leaves the book and
// arrives again, and may trade at once.
func (e *event) replace(slot uint32) {
	c, r := &e.cmd, &e.orders.slots[slot]
	p, own := &e.positions[r.position], e.ladder(r, r.side)
	executed := r.total - r.open
	open := c.Quantity - executed
	keeps := c.Price == r.price && c.Quantity <= r.total
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
	case !own.fits(r.side.key(c.Price), e.config.MaxLevels):
		e.reject(TooManyLevels, r.id)
		return
	}
	p.open[r.side.index()] += open - r.open // unsigned: subtracts if the order shrinks
	if keeps {
		at, _ := own.find(r.side.key(r.price))
		own.levels[at].quantity -= r.open - open
		r.open, r.total, r.conn = open, c.Quantity, e.conn
		e.replaced(r, true)
		return
	}
	o := *r
	e.forget(slot)
	o.open, o.total, o.price, o.conn = open, c.Quantity, c.Price, e.conn
	e.replaced(&o, false)
	e.match(&o, false)
	if o.open > 0 {
		e.rest(&o)
	}
}

// rest adds an order to the book, last at its price.
func (e *event) rest(o *order) {
	slot := e.orders.add(o)
	e.orders.push(e.ladder(o, o.side).at(o.side.key(o.price)), slot)
	e.positions[o.position].orders++
}

// forget removes an order from the book. Its open quantity stays in the position.
func (e *event) forget(slot uint32) {
	r := &e.orders.slots[slot]
	l := e.ladder(r, r.side)
	at, _ := l.find(r.side.key(r.price))
	e.orders.unlink(&l.levels[at], slot)
	if l.levels[at].count == 0 {
		l.remove(at)
	}
	e.positions[r.position].orders--
	e.orders.remove(slot)
}

// withdraw cancels a resting order and reports it to conn.
func (e *event) withdraw(slot uint32, conn, command uint64, reason Reason) {
	o := e.orders.slots[slot]
	e.forget(slot)
	e.positions[o.position].open[o.side.index()] -= o.open
	e.cancelled(&o, conn, command, reason)
}

func (e *event) cancelled(o *order, conn, command uint64, reason Reason) {
	r := e.report(TagCancelled, conn)
	r.Account, r.ClientOrderID, r.OrderID = e.accounts[o.account].id, o.client, o.id
	r.Command, r.Quantity, r.Reason = command, o.open, reason
}

func (e *event) replaced(o *order, kept bool) {
	r := e.report(TagReplaced, e.conn)
	r.Account, r.ClientOrderID, r.OrderID = e.cmd.Account, o.client, o.id
	r.Command, r.Price, r.Quantity, r.Open, r.KeptPriority = e.cmd.ClientOrderID, o.price, o.total, o.open, kept
}

func (e *event) reject(reason Reason, id uint64) {
	r := e.report(TagRejected, e.conn)
	r.Account, r.ClientOrderID, r.OrderID = e.cmd.Account, e.cmd.ClientOrderID, id
	r.Request, r.Reason = e.cmd.Tag, reason
}

// report claims the next slot for conn. The caller fills it before the next claim.
func (e *event) report(tag uint8, conn uint64) *Report {
	r := e.out.Report(conn)
	r.Tag, r.Seq = tag, e.seq
	return r
}
