package orderbook

import (
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook/marketdata"
)

// touch is a price level that the event may have changed, as it was before the event.
type touch struct {
	key        int64
	quantity   uint64
	count      uint32 // 0: there was no such level
	instrument uint32 // index into state.instruments
	side       Side
}

func (t *touch) is(instrument uint32, side Side, key int64) bool {
	return t.key == key && t.instrument == instrument && t.side == side
}

// touch notes a level before the event changes it, unless no topic has a subscriber.
func (e *event) touch(instrument uint32, side Side, l *level) {
	if !e.silent {
		e.noteLevel(instrument, side, l)
	}
}

// noteLevel notes a level. One that has just been made has no orders yet; it may have existed before in
// the same event.
func (e *event) noteLevel(instrument uint32, side Side, l *level) {
	if at := int(l.touched); at < len(e.touched) && e.touched[at].is(instrument, side, l.key) {
		return
	}
	if l.count == 0 {
		for at := range e.touched {
			if e.touched[at].is(instrument, side, l.key) {
				l.touched = uint32(at)
				return
			}
		}
	}
	l.touched = uint32(len(e.touched))
	e.touched = append(e.touched, touch{l.key, l.quantity, l.count, instrument, side})
}

// publish ends an event: it publishes the levels that the event has changed, in the order in which it
// first touched them, and then the best quotes. An event adds at most one level to the book, after it
// has removed those that would cross it, so a subscriber sees no bid reach an ask after any frame.
func (e *event) publish() {
	if len(e.touched) > 0 {
		e.publishLevels()
	}
}

func (e *event) publishLevels() {
	added, moved := Side(0), false
	for i := range e.touched {
		t := &e.touched[i]
		in := &e.instruments[t.instrument]
		levels := &in.sides[t.side.index()]
		now := levels.get(t.key)
		if now.quantity == t.quantity && now.count == t.count {
			continue
		}
		price := t.side.price(t.key)
		e.frame(marketdata.TagLevel, marketdata.KindDepth.Topic(in.id), e.levelKey(t.side, price), in, t.side,
			Quote{price, now.quantity, now.count})
		if best := levels.best(); best == nil || t.key >= best.key {
			in.moved[t.side.index()], moved = true, true
		}
		if t.count == 0 {
			added = t.side
		}
	}
	if moved {
		e.publishTops(added)
	}
	e.touched = e.touched[:0]
}

// publishTops publishes the best quotes that have changed. The side to which a level was added comes
// last, because until then the other side may have a quote that the new one crosses.
func (e *event) publishTops(added Side) {
	last := Sell
	if added == Buy {
		last = Buy
	}
	for i := range e.touched {
		in := &e.instruments[e.touched[i].instrument]
		for _, side := range [2]Side{last.opposite(), last} {
			if in.moved[side.index()] {
				in.moved[side.index()] = false
				e.frame(marketdata.TagQuote, marketdata.KindTop.Topic(in.id), uint64(side), in, side,
					in.quote(side))
			}
		}
	}
}

// frame publishes a frame about one side of an instrument.
func (e *event) frame(tag uint8, topic, key uint64, in *instrument, side Side, q Quote) {
	r := e.out.Publish(topic, key)
	r.Tag, r.Seq, r.Instrument, r.Side = tag, e.seq, in.id, side
	r.Price, r.Quantity, r.Trade = q.Price, q.Quantity, q.Orders
}

// publishTrade publishes a trade, without the accounts.
func (e *event) publishTrade(in *instrument, taker Side, price int64, quantity uint64) {
	e.frame(marketdata.TagTrade, marketdata.KindTrades.Topic(in.id), 0, in, taker,
		Quote{price, quantity, e.trades})
}

// levelKey returns the key of a price level for conflation. Side and price are 65 bits, so the seed
// decides which levels of negative and of other prices share a key: no client can choose prices that do.
func (e *event) levelKey(side Side, price int64) uint64 {
	key := uint64(price)<<1 | uint64(side.index())
	if price < 0 {
		key ^= e.orders.seed
	}
	return key
}

// get returns the level with this key, one without orders if there is none.
func (l *ladder) get(key int64) level {
	if best := l.best(); best != nil && best.key == key {
		return *best
	}
	if at, found := l.find(key); found {
		return l.levels[at]
	}
	return level{}
}

// TopicName implements sequencer.TopicNamer.
func (*Book) TopicName(topic uint64) string { return marketdata.TopicName(topic) }

// Describe describes a topic: what QueryTop answers, or each price level, best first. An instrument
// without orders has empty sides. Trades of the past are not kept.
func (b *Book) Describe(ev *sequencer.Event, topic uint64, out sequencer.Emitter[Report, Answer]) bool {
	kind, id, ok := marketdata.ParseTopic(topic)
	if !ok {
		return false
	}
	f := marketdata.Frame{Seq: b.seq, Instrument: id}
	switch kind {
	case marketdata.KindTop:
		top := b.top(id)
		f.Tag, f.Side = marketdata.TagQuote, marketdata.Buy
		top.Bid.describe(f, out.Query(ev.Conn))
		f.Side = marketdata.Sell
		top.Ask.describe(f, out.Query(ev.Conn))
	case marketdata.KindDepth:
		at, known := b.instrumentAt[id]
		if !known {
			return true
		}
		f.Tag = marketdata.TagLevel
		for _, side := range []Side{Buy, Sell} {
			f.Side = marketdata.Side(side)
			levels := b.instruments[at].sides[side.index()].levels
			for i := len(levels) - 1; i >= 0; i-- {
				l := &levels[i]
				q := Quote{side.price(l.key), l.quantity, l.count}
				q.describe(f, out.Query(ev.Conn))
			}
		}
	}
	return true
}

// describe makes an answer a frame of a topic.
func (q *Quote) describe(f marketdata.Frame, a *Answer) {
	f.Price, f.Quantity, f.Count = q.Price, q.Quantity, q.Orders
	a.size = uint8(len(f.Append(a.frame[:0])))
}

// topicFrame returns a report that is for the subscribers of a topic as what they receive.
func (r *Report) topicFrame() marketdata.Frame {
	return marketdata.Frame{Tag: r.Tag, Seq: r.Seq, Instrument: r.Instrument, Count: r.Trade,
		Price: r.Price, Quantity: r.Quantity, Side: marketdata.Side(r.Side)}
}
