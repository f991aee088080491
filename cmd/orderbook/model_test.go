package orderbook

// model is a second implementation of the book, as simple as possible: one list of open
// orders in order of priority at equal price, and a scan for every lookup. It shares no code
// with Book except the message structs.
type model struct {
	config      Config
	seq         uint64
	last, count map[uint64]uint64 // by account: client order id, number of accepted orders
	seen        map[uint32]bool   // instruments
	positions   map[[2]uint64]*modelPosition
	open        []*modelOrder
	out         []output
}

type modelPosition struct{ bought, sold uint64 }

type modelOrder struct {
	id, client, account, conn uint64
	instrument                uint32
	buy                       bool
	price                     int64
	total, done               uint64
}

func newModel(config Config) *model {
	return &model{
		config: config.withDefaults(), last: map[uint64]uint64{}, count: map[uint64]uint64{},
		seen: map[uint32]bool{}, positions: map[[2]uint64]*modelPosition{},
	}
}

func (m *model) report(conn uint64, r Report) {
	r.Seq = m.seq
	m.out = append(m.out, output{conn: conn, report: r})
}

func (m *model) apply(seq, conn uint64, c Command) []output {
	m.seq, m.out = seq, nil
	no := func(reason Reason, id uint64) {
		m.report(conn, Report{Tag: TagRejected, Account: c.Account, ClientOrderID: c.ClientOrderID,
			OrderID: id, Request: c.Tag, Reason: reason})
	}
	if _, ok := m.last[c.Account]; !ok {
		if len(m.last) == m.config.MaxAccounts {
			no(TooManyAccounts, 0)
			return m.out
		}
		m.last[c.Account] = 0
	}
	if c.ClientOrderID <= m.last[c.Account] {
		no(Duplicate, 0)
		return m.out
	}
	m.last[c.Account] = c.ClientOrderID
	if c.Tag == TagNew {
		m.enter(conn, c, no)
		return m.out
	}
	for _, o := range m.open {
		if o.account == c.Account && o.client == c.Target {
			if c.Tag == TagCancel {
				m.cancel(o, conn, c.ClientOrderID, Requested)
			} else {
				m.replace(o, conn, c, no)
			}
			return m.out
		}
	}
	no(UnknownOrder, 0)
	return m.out
}

func (m *model) enter(conn uint64, c Command, no func(Reason, uint64)) {
	key := [2]uint64{c.Account, uint64(c.Instrument)}
	rests := c.TimeInForce == GoodTillCancel
	switch {
	case c.Quantity < 1 || c.Quantity > m.config.MaxQuantity:
		no(BadQuantity, 0)
		return
	case rests && len(m.open) == m.config.MaxOrders:
		no(TooManyOrders, 0)
		return
	case !m.seen[c.Instrument] && len(m.seen) == m.config.MaxInstruments:
		no(TooManyInstruments, 0)
		return
	case rests && m.levelsWith(c.Instrument, c.Side == Buy, c.Price) > m.config.MaxLevels:
		no(TooManyLevels, 0)
		return
	case m.exposure(c.Account, c.Instrument, c.Side == Buy)+c.Quantity > 1<<62:
		no(PositionLimit, 0)
		return
	case m.positions[key] == nil && len(m.positions) == m.config.MaxPositions:
		no(TooManyPositions, 0)
		return
	}
	m.seen[c.Instrument] = true
	if m.positions[key] == nil {
		m.positions[key] = &modelPosition{}
	}
	m.count[c.Account]++
	o := &modelOrder{id: m.seq, client: c.ClientOrderID, account: c.Account, conn: conn,
		instrument: c.Instrument, buy: c.Side == Buy, price: c.Price, total: c.Quantity}
	m.report(conn, Report{Tag: TagAccepted, Account: c.Account, ClientOrderID: c.ClientOrderID,
		OrderID: o.id})
	m.trade(o, c.Type == Market)
	if o.done < o.total {
		m.open = append(m.open, o)
		if !rests {
			m.cancel(o, conn, o.client, Unfilled)
		}
	}
}

// levelsWith counts the prices of a side, including one more price.
func (m *model) levelsWith(instrument uint32, buy bool, price int64) int {
	prices := map[int64]bool{price: true}
	for _, o := range m.open {
		if o.instrument == instrument && o.buy == buy {
			prices[o.price] = true
		}
	}
	return len(prices)
}

// exposure returns the quantity that an account has traded and has open on a side.
func (m *model) exposure(account uint64, instrument uint32, buy bool) (sum uint64) {
	if p := m.positions[[2]uint64{account, uint64(instrument)}]; p != nil && buy {
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

func (m *model) trade(o *modelOrder, anyPrice bool) {
	for number := uint32(1); o.done < o.total; {
		r := m.best(o.instrument, !o.buy)
		if r == nil || !anyPrice && (o.buy && r.price > o.price || !o.buy && r.price < o.price) {
			return
		}
		if r.account == o.account {
			m.cancel(r, r.conn, 0, SelfTrade)
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
			p := m.positions[[2]uint64{side.account, uint64(o.instrument)}]
			if side.buy {
				fill.Side = Buy
				p.bought += n
			} else {
				p.sold += n
			}
			m.report(side.conn, fill)
		}
		if r.done == r.total {
			m.remove(r)
		}
		number++
	}
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
	case m.levelsWith(o.instrument, o.buy, c.Price) > m.config.MaxLevels:
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
	m.trade(o, false)
	if o.done < o.total {
		m.open = append(m.open, o)
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

func (m *model) top(instrument uint32) Answer {
	a := Answer{Tag: TagTopOfBook, Seq: m.seq, Instrument: instrument}
	for _, side := range []struct {
		buy   bool
		quote *Quote
	}{{true, &a.Bid}, {false, &a.Ask}} {
		best := m.best(instrument, side.buy)
		for _, o := range m.open {
			if best != nil && o.instrument == instrument && o.buy == side.buy && o.price == best.price {
				side.quote.Price = o.price
				side.quote.Quantity += o.total - o.done
				side.quote.Orders++
			}
		}
	}
	return a
}

func (m *model) position(account uint64, instrument uint32) Answer {
	a := Answer{Tag: TagPosition, Seq: m.seq, Account: account, Instrument: instrument,
		Accepted: m.count[account], ClientOrderID: m.last[account]}
	if p := m.positions[[2]uint64{account, uint64(instrument)}]; p != nil {
		a.Bought, a.Sold, a.Net = p.bought, p.sold, int64(p.bought-p.sold)
	}
	for _, o := range m.open {
		if o.account == account && o.instrument == instrument {
			a.OpenOrders++
		}
	}
	return a
}
