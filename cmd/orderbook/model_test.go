package orderbook

import "sluice/actors/sequencer"

// model is a second implementation of the book, as simple as possible: one list of open
// orders in order of priority at equal price, everything that ever happened to an account,
// and a scan for every lookup. It shares no code with Book except the message structs.
type model struct {
	config      Config
	seq         uint64
	time        int64
	accounts    []*modelAccount // in order of creation, as the next two
	instruments []uint32
	positions   []*modelPosition
	open        []*modelOrder
	cancelling  map[uint64]bool // connections with cancel on disconnect
	old         bool            // rules of version 0
	deep        bool            // rules without a limit of trades
	limits      Limits
	out         []output
}

type modelAccount struct {
	id, last, accepted uint64
	outcomes           []Outcome
	fills              []Report
}

type modelPosition struct {
	account      uint64
	instrument   uint32
	bought, sold uint64
}

type modelOrder struct {
	id, client, account, conn uint64
	instrument                uint32
	buy                       bool
	price, expiry             int64
	total, done               uint64
	identity                  uint32
}

// identityOf is the number of the identity of a connection in a trial.
func identityOf(conn uint64) uint32 { return uint32(conn % 3) }

func newModel(config Config) *model {
	config = config.withDefaults()
	return &model{config: config, cancelling: map[uint64]bool{}, limits: Limits{
		Instruments: uint32(config.MaxInstruments), Accounts: uint32(config.MaxAccounts),
		Positions: uint32(config.MaxPositions), Orders: uint32(config.MaxOrders), Levels: uint32(config.MaxLevels)}}
}

func (m *model) report(conn uint64, r Report) {
	r.Seq = m.seq
	m.out = append(m.out, output{conn: conn, report: r})
}

func (m *model) account(id uint64) *modelAccount {
	for _, a := range m.accounts {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (m *model) position(account uint64, instrument uint32) *modelPosition {
	for _, p := range m.positions {
		if p.account == account && p.instrument == instrument {
			return p
		}
	}
	return nil
}

// apply executes an event; c is its command if it is a request.
func (m *model) apply(kind sequencer.Kind, seq uint64, time int64, conn uint64, c Command) []output {
	m.seq, m.time, m.out = seq, time, nil
	for {
		due := m.nextToExpire()
		if due == nil || due.expiry > time {
			break
		}
		m.cancel(due, due.conn, 0, Expired)
	}
	switch {
	case kind == sequencer.KindDisconnected:
		m.disconnect(conn)
	case kind == sequencer.KindRequest && c.Tag == TagSetCancelOnDisconnect:
		m.cancelling[conn] = c.On
		m.report(conn, Report{Tag: TagCancelOnDisconnect, On: c.On})
	case kind == sequencer.KindRequest && c.Tag == TagRaiseLimits:
		m.raise(conn, c.Limits)
	case kind == sequencer.KindRequest:
		m.command(conn, c)
	}
	return m.out
}

func (m *model) nextToExpire() (next *modelOrder) {
	for _, o := range m.open {
		if o.expiry != 0 && (next == nil || o.expiry < next.expiry ||
			o.expiry == next.expiry && o.id < next.id) {
			next = o
		}
	}
	return next
}

func (m *model) disconnect(conn uint64) {
	for m.cancelling[conn] {
		var first *modelOrder
		for _, o := range m.open {
			if o.conn == conn && (first == nil || o.id < first.id) {
				first = o
			}
		}
		if first == nil {
			break
		}
		m.cancel(first, conn, 0, Disconnected)
	}
	delete(m.cancelling, conn)
}

func (m *model) command(conn uint64, c Command) {
	reject := func(reason Reason, id uint64) {
		m.report(conn, Report{Tag: TagRejected, Account: c.Account, ClientOrderID: c.ClientOrderID,
			OrderID: id, Request: c.Tag, Reason: reason})
	}
	a := m.account(c.Account)
	stranger := a == nil
	if stranger {
		if len(m.accounts) == int(m.limits.Accounts) {
			reject(TooManyAccounts, 0)
			return
		}
		a = &modelAccount{id: c.Account}
		if m.old {
			m.accounts = append(m.accounts, a)
		}
	}
	if c.ClientOrderID <= a.last {
		reject(Duplicate, 0)
		return
	}
	if !m.old && c.ClientOrderID > a.last && c.ClientOrderID-a.last > 1<<32 {
		reject(TooFarAhead, 0)
		return
	}
	a.last = c.ClientOrderID
	if stranger && !m.old { // it lives on if the command is accepted
		m.accounts = append(m.accounts, a)
		defer func() {
			if last := len(m.out) - 1; m.out[last].report.Tag == TagRejected {
				m.accounts = m.accounts[:len(m.accounts)-1]
			}
		}()
	}
	became := Outcome{Account: a.id, Command: a.last, Event: m.seq, Request: c.Tag}
	no := func(reason Reason, id uint64) {
		became.Status, became.Reason, became.OrderID = StatusRejected, reason, id
		reject(reason, id)
	}
	if c.Tag == TagNew {
		became.Status, became.OrderID = StatusAccepted, m.seq
		m.enter(conn, c, no)
	} else if o := m.find(c.Account, c.Target); o == nil {
		no(UnknownOrder, 0)
	} else if became.OrderID = o.id; c.Tag == TagCancel {
		became.Status = StatusCancelled
		m.cancel(o, conn, c.ClientOrderID, Requested)
	} else {
		became.Status = StatusReplaced
		m.replace(o, conn, c, no)
	}
	a.outcomes = append(a.outcomes, became)
}

func (m *model) find(account, client uint64) *modelOrder {
	for _, o := range m.open {
		if o.account == account && o.client == client {
			return o
		}
	}
	return nil
}

func (m *model) enter(conn uint64, c Command, no func(Reason, uint64)) {
	rests := c.TimeInForce != ImmediateOrCancel
	seen := false
	for _, id := range m.instruments {
		seen = seen || id == c.Instrument
	}
	position := m.position(c.Account, c.Instrument)
	switch {
	case c.Quantity < 1 || c.Quantity > m.config.MaxQuantity:
		no(BadQuantity, 0)
		return
	case c.TimeInForce == GoodTillDate && c.Expiry <= m.time:
		no(BadExpiry, 0)
		return
	case rests && len(m.open) == int(m.limits.Orders):
		no(TooManyOrders, 0)
		return
	case !seen && len(m.instruments) == int(m.limits.Instruments):
		no(TooManyInstruments, 0)
		return
	case rests && m.levelsWith(nil, c.Instrument, c.Side == Buy, c.Price) > int(m.limits.Levels):
		no(TooManyLevels, 0)
		return
	case m.exposure(c.Account, c.Instrument, c.Side == Buy)+c.Quantity > 1<<62:
		no(PositionLimit, 0)
		return
	case position == nil && len(m.positions) == int(m.limits.Positions):
		no(TooManyPositions, 0)
		return
	}
	if !seen {
		m.instruments = append(m.instruments, c.Instrument)
	}
	if position == nil {
		m.positions = append(m.positions, &modelPosition{account: c.Account, instrument: c.Instrument})
	}
	m.account(c.Account).accepted++
	o := &modelOrder{id: m.seq, identity: identityOf(conn), client: c.ClientOrderID, account: c.Account, conn: conn,
		instrument: c.Instrument, buy: c.Side == Buy, price: c.Price, total: c.Quantity,
		expiry: c.Expiry}
	m.report(conn, Report{Tag: TagAccepted, Account: c.Account, ClientOrderID: c.ClientOrderID,
		OrderID: o.id})
	tired := m.trade(o, c.Type == Market)
	if o.done < o.total {
		m.open = append(m.open, o)
		if tired {
			m.cancel(o, conn, o.client, TooDeep)
		} else if !rests {
			m.cancel(o, conn, o.client, Unfilled)
		}
	}
}

// levelsWith counts the prices of a side, including one more price, without an order that leaves.
func (m *model) levelsWith(leaves *modelOrder, instrument uint32, buy bool, price int64) int {
	prices := map[int64]bool{price: true}
	for _, o := range m.open {
		if o != leaves && o.instrument == instrument && o.buy == buy {
			prices[o.price] = true
		}
	}
	return len(prices)
}

// exposure returns the quantity that an account has traded and has open on a side.
func (m *model) exposure(account uint64, instrument uint32, buy bool) (sum uint64) {
	if p := m.position(account, instrument); p != nil && buy {
		sum = p.bought
	} else if p != nil {
		sum = p.sold
	}
	for _, o := range m.open {
		if o.account == account && o.instrument == instrument && o.buy == buy {
			sum += o.total - o.done
		}
	}
	return sum
}

// best returns the open order that an order of the other side trades with first, nil for none.
func (m *model) best(instrument uint32, buy bool) (best *modelOrder) {
	for _, o := range m.open {
		if o.instrument != instrument || o.buy != buy {
			continue
		}
		if best == nil || buy && o.price > best.price || !buy && o.price < best.price {
			best = o
		}
	}
	return best
}

func (m *model) trade(o *modelOrder, anyPrice bool) (tired bool) {
	left := m.config.MaxTrades
	for number := uint32(1); o.done < o.total; left-- {
		r := m.best(o.instrument, !o.buy)
		if r == nil || !anyPrice && (o.buy && r.price > o.price || !o.buy && r.price < o.price) {
			return false
		}
		if left == 0 && !m.deep {
			return true
		}
		if r.account == o.account {
			m.cancel(r, r.conn, 0, SelfTrade)
			if r.conn != o.conn {
				m.out = append(m.out, m.out[len(m.out)-1])
				m.out[len(m.out)-1].conn = o.conn
			}
			continue
		}
		n := min(o.total-o.done, r.total-r.done)
		for _, side := range []*modelOrder{r, o} {
			side.done += n
			fill := Report{Tag: TagFill, Account: side.account, ClientOrderID: side.client,
				OrderID:    side.id,
				Instrument: o.instrument, Trade: number, Side: Sell, Liquidity: Taking,
				Price: r.price, Quantity: n, Open: side.total - side.done}
			if side == r {
				fill.Liquidity = Resting
			}
			p := m.position(side.account, o.instrument)
			if side.buy {
				fill.Side = Buy
				p.bought += n
			} else {
				p.sold += n
			}
			m.report(side.conn, fill)
			fill.Seq, fill.Tag = m.seq, TagPastFill
			a := m.account(side.account)
			a.fills = append(a.fills, fill)
		}
		if r.done == r.total {
			m.remove(r)
		}
		number++
	}
	return false
}

func (m *model) replace(o *modelOrder, conn uint64, c Command, no func(Reason, uint64)) {
	wasPrice, wasTotal := o.price, o.total
	without := 0
	for i, other := range m.open {
		if other == o {
			without = i
		}
	}
	switch {
	case c.Quantity < 1 || c.Quantity > m.config.MaxQuantity:
		no(BadQuantity, o.id)
		return
	case c.Quantity <= o.done:
		no(AlreadyExecuted, o.id)
		return
	case c.Quantity > wasTotal &&
		m.exposure(o.account, o.instrument, o.buy)+(c.Quantity-wasTotal) > 1<<62:
		no(PositionLimit, o.id)
		return
	case m.levelsWith(o, o.instrument, o.buy, c.Price) > int(m.limits.Levels):
		no(TooManyLevels, o.id)
		return
	}
	kept := c.Price == wasPrice && c.Quantity <= wasTotal
	o.price, o.total, o.conn = c.Price, c.Quantity, conn
	m.report(conn, Report{Tag: TagReplaced, Account: o.account, ClientOrderID: o.client, OrderID: o.id,
		Command: c.ClientOrderID, Price: o.price, Quantity: o.total, Open: o.total - o.done, KeptPriority: kept})
	if kept {
		return
	}
	m.open = append(m.open[:without:without], m.open[without+1:]...)
	tired := m.trade(o, false)
	if o.done < o.total {
		m.open = append(m.open, o)
	}
	if tired {
		m.cancel(o, conn, c.ClientOrderID, TooDeep)
	}
}

func (m *model) cancel(o *modelOrder, conn, command uint64, reason Reason) {
	m.report(conn, Report{Tag: TagCancelled, Account: o.account, ClientOrderID: o.client, OrderID: o.id,
		Command: command, Quantity: o.total - o.done, Reason: reason})
	m.remove(o)
}

func (m *model) remove(o *modelOrder) {
	for i, other := range m.open {
		if other == o {
			m.open = append(m.open[:i:i], m.open[i+1:]...)
			return
		}
	}
}
