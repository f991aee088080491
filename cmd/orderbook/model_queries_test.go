package orderbook

import (
	"encoding/binary"
	"hash/crc32"
	"sort"
)

func (m *model) top(instrument uint32) TopOfBook {
	a := TopOfBook{Seq: m.seq, Instrument: instrument}
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

// topic returns the snapshot of a topic of an instrument, as docs/orderbook.md specifies it.
func (m *model) topic(kind byte, instrument uint32) (frames page) {
	put := func(tag, side byte, price int64, quantity uint64, orders uint32) {
		frames.put(uint32(34), tag, m.seq, instrument, orders, price, quantity, side)
	}
	if kind == 1 {
		top := m.top(instrument)
		put(0x50, 1, top.Bid.Price, top.Bid.Quantity, top.Bid.Orders)
		put(0x50, 2, top.Ask.Price, top.Ask.Quantity, top.Ask.Orders)
	}
	if kind != 3 {
		return frames
	}
	for side := byte(1); side <= 2; side++ {
		quantity, orders, prices := map[int64]uint64{}, map[int64]uint32{}, []int64{}
		for _, o := range m.open {
			if o.instrument == instrument && o.buy == (side == 1) {
				if orders[o.price] == 0 {
					prices = append(prices, o.price)
				}
				quantity[o.price] += o.total - o.done
				orders[o.price]++
			}
		}
		sort.Slice(prices, func(i, j int) bool { return (prices[i] > prices[j]) == (side == 1) })
		for _, price := range prices {
			put(0x52, side, price, quantity[price], orders[price])
		}
	}
	return frames
}

func (m *model) queryPosition(account uint64, instrument uint32) Position {
	p := Position{Seq: m.seq, Account: account, Instrument: instrument}
	if a := m.account(account); a != nil {
		p.Accepted, p.LastID = a.accepted, a.last
	}
	if held := m.position(account, instrument); held != nil {
		p.Bought, p.Sold = held.bought, held.sold
	}
	for _, o := range m.open {
		if o.account == account && o.instrument == instrument {
			p.OpenOrders++
		}
	}
	return p
}

func (m *model) queryOpenOrders(account, after uint64, limit int) (answers []any) {
	var open []*modelOrder
	for _, o := range m.open {
		if o.account == account && o.id > after {
			open = append(open, o)
		}
	}
	sort.Slice(open, func(i, j int) bool { return open[i].id < open[j].id })
	for i, o := range open {
		if i == limit {
			break
		}
		v := OpenOrder{Seq: m.seq, Account: account, ClientOrderID: o.client, OrderID: o.id,
			Instrument: o.instrument, Side: Sell, TimeInForce: GoodTillCancel, Price: o.price,
			Open: o.total - o.done, Quantity: o.total, Expiry: o.expiry}
		if o.buy {
			v.Side = Buy
		}
		if o.expiry != 0 {
			v.TimeInForce = GoodTillDate
		}
		answers = append(answers, v)
	}
	return append(answers, OpenOrders{Seq: m.seq, Account: account, Count: uint32(len(answers)),
		More: len(open) > len(answers)})
}

func (m *model) queryOutcome(account, command uint64) Outcome {
	none := Outcome{Seq: m.seq, Account: account, Command: command, Status: StatusUnknown}
	a := m.account(account)
	if a == nil || command > a.last {
		if a == nil && command == 0 {
			none.Status = StatusNotUsed
		}
		return none
	}
	old := max(len(a.outcomes)-1024, 0)
	for _, o := range a.outcomes[old:] {
		if o.Command == command {
			o.Seq = m.seq
			return o
		}
	}
	none.Status = StatusNotUsed
	if old > 0 && command < a.outcomes[old].Command {
		none.Status = StatusTooOld
	}
	return none
}

func (m *model) queryFills(account, event uint64, trade uint32, limit int) (answers []any) {
	end := Fills{Seq: m.seq, Account: account}
	if a := m.account(account); a != nil {
		old := max(len(a.fills)-1024, 0)
		for i, f := range a.fills {
			switch {
			case f.Seq < event || f.Seq == event && f.Trade <= trade:
			case i < old:
				end.Dropped = true
			case len(answers) == limit:
				end.More = true
			default:
				answers = append(answers, f)
			}
		}
	}
	end.Count = uint32(len(answers))
	return append(answers, end)
}

func (m *model) raise(conn uint64, to Limits) {
	l, ok := m.limits, true
	for _, f := range []struct {
		limit *uint32
		to    uint32
	}{{&l.Instruments, to.Instruments}, {&l.Accounts, to.Accounts}, {&l.Positions, to.Positions},
		{&l.Orders, to.Orders}, {&l.Levels, to.Levels}} {
		if f.to > 0 {
			ok = ok && f.to >= *f.limit
			*f.limit = f.to
		}
	}
	if !ok || uint64(l.Orders) > (1<<63)/m.config.MaxQuantity {
		m.report(conn, Report{Tag: TagRejected, Request: TagRaiseLimits, Reason: BadLimit})
		return
	}
	m.limits = l
	m.report(conn, Report{Tag: TagLimitsRaised})
}

// used returns what is used of the limits.
func (m *model) used() LimitUse {
	use := LimitUse{Seq: m.seq, Limit: m.limits, Used: Limits{Instruments: uint32(len(m.instruments)),
		Accounts: uint32(len(m.accounts)), Positions: uint32(len(m.positions)), Orders: uint32(len(m.open))}}
	for _, o := range m.open {
		use.Used.Levels = max(use.Used.Levels, uint32(m.levelsWith(nil, o.instrument, o.buy, o.price)))
	}
	return use
}

// page is bytes that docs/orderbook.md specifies.
type page []byte

func (p *page) put(values ...any) {
	for _, v := range values {
		*p, _ = binary.Append(*p, binary.LittleEndian, v)
	}
}

// snapshot writes a snapshot as docs/orderbook.md has it.
func (m *model) snapshot() []byte {
	var p page
	for _, limit := range []int{m.config.MaxInstruments, m.config.MaxAccounts, m.config.MaxPositions,
		m.config.MaxOrders, m.config.MaxLevels} {
		p.put(uint64(limit))
	}
	p.put(m.config.MaxQuantity, uint64(m.config.MaxTrades), m.limits.Instruments, m.limits.Accounts,
		m.limits.Positions, m.limits.Orders, m.limits.Levels)
	p.put(m.seq, m.time, uint32(len(m.accounts)))
	for _, a := range m.accounts {
		p.put(a.id, a.last, a.accepted, uint64(len(a.outcomes)), uint64(len(a.fills)))
		var lost Report
		if old := len(a.fills) - 1024; old > 0 {
			lost = a.fills[old-1]
		}
		p.put(lost.Seq, lost.Trade)
		for _, o := range a.outcomes[max(len(a.outcomes)-1024, 0):] {
			p.put(o.Command, o.Event, o.OrderID, o.Request, o.Reason)
		}
		for _, f := range a.fills[max(len(a.fills)-1024, 0):] {
			p.put(f.Seq, f.ClientOrderID, f.OrderID, f.Price, f.Quantity, f.Open, f.Instrument, f.Trade,
				f.Side, f.Liquidity)
		}
	}
	p.put(uint32(len(m.instruments)), m.instruments, uint32(len(m.positions)))
	for _, held := range m.positions {
		for i, a := range m.accounts {
			if a.id == held.account {
				p.put(uint32(i))
			}
		}
		for i, id := range m.instruments {
			if id == held.instrument {
				p.put(uint32(i))
			}
		}
		p.put(held.bought, held.sold)
	}
	for _, id := range m.instruments {
		m.putSide(&p, id, true)
		m.putSide(&p, id, false)
	}
	var on []uint64
	for conn, set := range m.cancelling {
		if set {
			on = append(on, conn)
		}
	}
	sort.Slice(on, func(i, j int) bool { return on[i] < on[j] })
	p.put(uint32(len(on)), on)
	whole := page("OBSN")
	whole.put(uint32(4), uint64(len(p)))
	whole = append(whole, p...)
	whole.put(crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)))
	return whole
}

// putSide writes the levels of one side of an instrument.
func (m *model) putSide(p *page, instrument uint32, buy bool) {
	levels := map[int64][]*modelOrder{}
	var prices []int64
	for _, o := range m.open {
		if o.instrument == instrument && o.buy == buy {
			if levels[o.price] == nil {
				prices = append(prices, o.price)
			}
			levels[o.price] = append(levels[o.price], o)
		}
	}
	sort.Slice(prices, func(i, j int) bool { return (prices[i] > prices[j]) == buy })
	p.put(uint32(len(prices)))
	for _, price := range prices {
		p.put(price, uint32(len(levels[price])))
		for _, o := range levels[price] {
			position := uint32(0)
			for i, held := range m.positions {
				if held.account == o.account && held.instrument == o.instrument {
					position = uint32(i)
				}
			}
			p.put(o.id, o.client, o.conn, o.total-o.done, o.total, o.expiry, position, o.identity)
		}
	}
}
