package cluster

import (
	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/transport/wire"
)

// simConn is a connection between a client and an office.
type simConn struct {
	id     uint64
	office *simOffice        // nil once the server has ended it
	up     []sequencer.Event // on their way to the server
	down   []simMessage      // on their way to the client
	left   bool              // the client has closed it
	seen   int64             // monotonic ns, when the server notices that
	topics []uint64          // of which it gets the frames
	told   []simTold         // what the client received, for the oracle
}

// simMessage is a response on its way, or the end of the connection.
type simMessage struct {
	slot   simSlot
	gap    bool // the frame in the slot is missing
	end    bool
	broken bool   // without a Close
	leader uint64 // where to go; 0 if it is not known
}

// simTold is a slot that a client received.
type simTold struct {
	slot  simSlot
	gap   bool        // the frame in the slot is missing
	query *simRequest // that it answers; nil for a report
}

// simRequest is a request that waits for its response.
type simRequest struct {
	command orderbook.Command
	body    []byte // of a subscription, in the place of command
	bad     bool   // it is malformed
	number  uint64
	floor   durability.Seq // last event of which a response had reached any client when it was sent
	at      int64          // monotonic ns, when it was sent
}

// simClient is a client that trades under an account of its own. It sends to whoever leads. Commands
// that have no response when its connection ends are sent again on the next one, under the same ids.
type simClient struct {
	w       *simWorld
	account uint64
	target  int      // member to connect to
	conn    *simConn // nil if there is none
	waiting []simRequest
	again   []simRequest // to be sent again, before anything else
	numbers uint64       // requests of its own will, including queries
	last    uint64       // of numbers, after the faults
	next    uint64       // client order id
	asks    int64        // monotonic ns, until which it only asks
	orders  []uint64     // ids of orders that may be open
}

func simIdentity() sequencer.Identity { return sequencer.Identity{Role: sequencer.RoleTrader} }

// act is one turn of a client.
func (c *simClient) act() {
	w := c.w
	switch {
	case c.conn == nil:
		if !w.hush {
			c.connect()
		}
		return
	case w.hush:
		c.hear()
		return
	}
	if w.Now < c.asks {
		c.ask()
		return
	}
	if w.OneIn(400) || len(c.waiting) > 0 && w.Now-c.waiting[0].at > w.swarm.patience && w.OneIn(8) {
		c.leave()
		return
	}
	if w.R.IntN(3) == 0 {
		c.send()
	} else {
		c.hear()
	}
}

// ask is a turn of a client that stays where it is, and only asks: once others know more than its server.
func (c *simClient) ask() {
	if o := c.conn.office; o != nil && len(c.waiting) == 0 && c.w.oracle.given > o.state.Last() {
		c.transmit(simRequest{command: orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: 1}})
	}
	c.hear()
}

// hear receives some of what has arrived.
func (c *simClient) hear() {
	for n := c.w.R.IntN(4); n > 0 && c.conn != nil && len(c.conn.down) > 0; n-- {
		m := c.conn.down[0]
		c.conn.down = c.conn.down[1:]
		c.receive(&m)
	}
}

// connect connects to the member that is thought to lead, or is told where to go.
func (c *simClient) connect() {
	w := c.w
	m := w.members[c.target]
	if m.Node == nil || w.Now < max(m.Paused, m.dozes, m.shunned) {
		c.target = w.R.IntN(len(w.members))
		return
	}
	o := m.office
	if o == nil {
		if leader := m.Node.Status().Leader; leader != 0 && leader != m.NodeID() {
			w.counts.Directed++
			c.target = int(uint8(leader) - 1)
		} else if w.R.IntN(4) == 0 {
			c.target = w.R.IntN(len(w.members))
		}
		return
	}
	if !o.open() {
		return
	}
	m.conns++
	id := m.ID<<58 | m.Incarnation<<40 | m.conns // the incarnation rises from generation to generation
	if err := o.queue.Connected(id, simIdentity()); err != nil {
		w.Fail("node %d: %v", m.ID, err)
		return
	}
	w.counts.Connects++
	c.conn = &simConn{id: id, office: o}
	o.conns = append(o.conns, c.conn)
	w.oracle.connected(c.conn)
}

// leave closes the connection from the client's side.
func (c *simClient) leave() {
	c.w.counts.Left++
	if c.conn.office != nil {
		c.conn.left, c.conn.seen = true, c.w.Now
		if c.w.OneIn(2) { // without a word
			c.conn.seen += int64(c.w.R.IntN(400)) * 1e6
		}
		c.conn.up = c.conn.up[:c.w.R.IntN(len(c.conn.up)+1)] // the others do not arrive
	}
	c.lost(c.w.R.IntN(len(c.w.members)))
}

// lost takes notice that the connection has ended.
func (c *simClient) lost(target int) {
	c.again = append(c.again, c.waiting...)
	c.conn, c.waiting, c.target = nil, nil, target
}

// send sends a request, if not too many wait.
func (c *simClient) send() {
	w := c.w
	if len(c.waiting) >= w.swarm.load || c.conn.office == nil {
		return
	}
	var r simRequest
	switch {
	case len(c.again) > 0:
		r, c.again = c.again[0], c.again[1:]
		w.counts.Repeated++
	case w.Calm && c.numbers >= c.last:
		return
	default:
		c.numbers++
		if r = c.draw(); w.topics != nil && w.topics.IntN(4) == 0 {
			r = c.subscribe()
		}
	}
	c.transmit(r)
}

func (c *simClient) transmit(r simRequest) {
	w := c.w
	w.counts.Requests++
	r.number, r.floor, r.at = w.oracle.number(), w.oracle.given, w.Now
	if r.command.Tag >= orderbook.TagQueryTop {
		w.counts.Queries++
	}
	tag, body := r.command.Tag, r.command.AppendBody(nil)
	if r.body != nil {
		tag, body = wire.TagExtended, r.body
	}
	if r.bad {
		body = body[1:]
	}
	c.waiting = append(c.waiting, r)
	c.conn.up = append(c.conn.up, sequencer.Event{Kind: sequencer.KindRequest, Conn: c.conn.id, Request: r.number,
		Identity: simIdentity(), Tag: tag, Body: body})
}

// draw draws a request.
func (c *simClient) draw() simRequest {
	r := c.w.R
	cmd := orderbook.Command{Account: c.account, Instrument: uint32(1 + r.IntN(2)), ClientOrderID: c.next}
	k := r.IntN(20)
	if r.IntN(100) < c.w.swarm.asking {
		k = 14 + r.IntN(6)
	}
	if len(c.orders) == 0 && k >= 9 && k < 13 {
		k = 0
	}
	target := func() uint64 { return c.orders[r.IntN(len(c.orders))] }
	switch {
	case k < 9:
		cmd.Tag, cmd.Side, cmd.Type = orderbook.TagNew, orderbook.Side(1+r.IntN(2)), orderbook.Limit
		cmd.TimeInForce, cmd.Price, cmd.Quantity = orderbook.GoodTillCancel, int64(98+r.IntN(5)), uint64(1+r.IntN(9))
		if r.IntN(4) == 0 {
			cmd.TimeInForce, cmd.Expiry = orderbook.GoodTillDate, simWall+c.w.Now+int64(r.IntN(500))*1e6
		}
		if !c.w.changing && c.w.OneIn(300) { // the only voter could not hand over
			cmd.Price = simPoison
		}
		c.orders = append(c.orders, c.next)
	case k < 11:
		cmd.Tag, cmd.Target = orderbook.TagCancel, target()
	case k < 13:
		cmd.Tag, cmd.Target, cmd.Price, cmd.Quantity = orderbook.TagReplace, target(), int64(98+r.IntN(5)), uint64(1+r.IntN(9))
	case k == 13:
		cmd.Tag, cmd.On = orderbook.TagSetCancelOnDisconnect, r.IntN(2) == 0
	case k < 16:
		cmd.Tag = orderbook.TagQueryTop
	case k < 18:
		cmd.Tag = orderbook.TagQueryPosition
	case k == 18:
		cmd.Tag, cmd.ClientOrderID = orderbook.TagQueryOutcome, 1+uint64(r.IntN(int(c.next)))
		return simRequest{command: cmd}
	default:
		cmd.Tag, cmd.Limit = orderbook.TagQueryOpenOrders, 3
	}
	if orderbook.UsesID(cmd.Tag) {
		c.next++
	}
	return simRequest{command: cmd, bad: r.IntN(40) == 0}
}

// receive takes a message of the server.
func (c *simClient) receive(m *simMessage) {
	w := c.w
	if m.end {
		target := w.R.IntN(len(w.members))
		if m.broken {
			w.counts.Broken++
		} else if w.counts.Elsewhere++; m.leader != 0 {
			target = int(uint8(m.leader) - 1)
		}
		c.lost(target)
		return
	}
	s := &m.slot
	if s.Kind == actors.KindTopic {
		c.frame(m)
		return
	}
	told := simTold{slot: *s}
	if s.Request == 0 {
		w.counts.Pushed++
	} else if len(c.waiting) == 0 || c.waiting[0].number != s.Request {
		w.Fail("client %d received a response to request %d, and waits for %+v", c.account, s.Request, c.waiting)
		return
	} else if r := c.waiting[0]; s.Kind == actors.KindQuery && r.body == nil {
		told.query = &r
	}
	c.conn.told = append(c.conn.told, told)
	asked := told.query
	switch s.Kind {
	case actors.KindSnapshotEnd:
		if w.counts.Subscribed++; s.Request != 0 {
			asked = &c.waiting[0]
		}
	case actors.KindLeave:
		w.counts.Unsubscribed++
	}
	w.oracle.received(s, asked)
	if s.Last && s.Request != 0 {
		w.counts.Answered++
		if w.Calm && c.waiting[0].at > w.calmed {
			w.answers++
		} else if w.Calm {
			w.older = w.Now
		}
		if s.Kind == actors.KindEngineError {
			w.counts.Refused++
		}
		c.waiting = c.waiting[1:]
	}
}
