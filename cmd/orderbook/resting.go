package orderbook

// rest adds an order to the book, last at its price.
func (e *event) rest(o *order) {
	slot := e.orders.add(o)
	e.level(slot)
	e.accounts[o.account].open.add(&e.orders, slot)
	e.attach(slot)
	if o.expiry != 0 {
		e.expiries.add(&e.orders, slot)
	}
}

// level adds an order of the slab to its level, behind the others.
func (e *event) level(slot uint32) {
	r := &e.orders.slots[slot]
	p := &e.positions[r.position]
	l := e.instruments[p.instrument].sides[r.side.index()].at(r.side.key(r.price))
	e.touch(p.instrument, r.side, l)
	e.orders.push(l, slot)
	p.orders++
}

// unlevel removes an order from its level. Its open quantity stays in the position.
func (e *event) unlevel(slot uint32) {
	r := &e.orders.slots[slot]
	p := &e.positions[r.position]
	l := &e.instruments[p.instrument].sides[r.side.index()]
	at, _ := l.find(r.side.key(r.price))
	e.touch(p.instrument, r.side, &l.levels[at])
	e.orders.unlink(&l.levels[at], slot)
	if l.levels[at].count == 0 {
		l.remove(at)
	}
	p.orders--
}

// forget removes an order that is in no level.
func (e *event) forget(slot uint32) {
	r := &e.orders.slots[slot]
	e.accounts[r.account].open.remove(&e.orders, slot)
	e.connections.detach(&e.orders, slot)
	if r.expiry != 0 {
		e.expiries.remove(&e.orders, slot)
	}
	e.orders.remove(slot)
}

// withdraw cancels a resting order and reports it to conn.
func (e *event) withdraw(slot uint32, conn, command uint64, reason Reason) {
	e.unlevel(slot)
	o := e.orders.slots[slot]
	e.forget(slot)
	e.positions[o.position].open[o.side.index()] -= o.open
	e.cancelled(&o, conn, command, reason)
}

// preventSelfTrade cancels a resting order that would trade with the order of the event. The
// report goes to the connections of both.
func (e *event) preventSelfTrade(slot uint32) {
	o := e.orders.slots[slot]
	e.withdraw(slot, o.conn, 0, SelfTrade)
	if o.conn != e.conn {
		e.cancelled(&o, e.conn, 0, SelfTrade)
	}
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

// reject rejects a command that has used up its id.
func (e *event) reject(reason Reason, id uint64) {
	e.note(id, reason)
	e.rejected(reason, id)
}

func (e *event) rejected(reason Reason, id uint64) {
	r := e.report(TagRejected, e.conn)
	r.Account, r.ClientOrderID, r.OrderID = e.cmd.Account, e.cmd.ClientOrderID, id
	r.Request, r.Reason = e.cmd.Tag, reason
}

// note keeps the outcome of the command.
func (e *event) note(order uint64, reason Reason) {
	o, _ := e.accounts[e.owner].outcomes.add()
	*o = outcome{
		client: e.cmd.ClientOrderID, event: e.seq, order: order, request: e.cmd.Tag, reason: reason,
	}
}

// report claims the next slot for conn. The caller fills it before the next claim.
func (e *event) report(tag uint8, conn uint64) *Report {
	r := e.out.Report(conn)
	r.Tag, r.Seq = tag, e.seq
	return r
}
