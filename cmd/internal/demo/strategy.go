package demo

import (
	"math/rand/v2"

	"sluice/cmd/orderbook"
)

const (
	instruments = 8
	quotes      = 6 // orders that a maker keeps open
)

// strategy decides the next request of a trader. Three of four traders make markets around a fixed
// price; the fourth takes.
type strategy struct {
	random *rand.Rand
	maker  bool
	open   []uint64 // client order ids of a maker, oldest first; some orders may be closed
}

func newStrategy(account uint64) *strategy {
	return &strategy{random: rand.New(rand.NewPCG(account, 1)), maker: account%4 != 0}
}

func middle(instrument uint32) int64 { return 10_000 + 100*int64(instrument) }

// next fills in a request, without account and client order id.
func (s *strategy) next(c *orderbook.Command) {
	*c = orderbook.Command{Tag: orderbook.TagNew, Instrument: 1 + s.random.Uint32N(instruments),
		Side: orderbook.Buy,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel,
		Quantity: 1 + s.random.Uint64N(20)}
	away := int64(1 + s.random.IntN(4)) // ticks from the middle price, on the side where an order rests
	if s.maker {
		away = -away
	}
	if s.random.IntN(2) == 0 {
		c.Side, away = orderbook.Sell, -away
	}
	c.Price = middle(c.Instrument) + away
	switch {
	case s.maker && len(s.open) >= quotes && s.random.IntN(3) == 0:
		c.Tag, c.Target = orderbook.TagReplace, s.open[0]
		s.open = append(s.open[1:], s.open[0])
	case s.maker && len(s.open) >= quotes:
		c.Tag, c.Target = orderbook.TagCancel, s.open[0]
	case !s.maker && s.random.IntN(16) == 0:
		c.Tag = orderbook.TagQueryTop
	case !s.maker:
		c.TimeInForce = orderbook.ImmediateOrCancel
	}
}

// learn updates the open orders from a report. c is the command that the report acknowledges, nil
// for none.
func (s *strategy) learn(r *orderbook.Report, c *orderbook.Command) {
	switch {
	case !s.maker:
	case r.Tag == orderbook.TagAccepted:
		s.open = append(s.open, r.ClientOrderID)
	case r.Tag == orderbook.TagFill && r.Open == 0, r.Tag == orderbook.TagCancelled:
		s.forget(r.ClientOrderID)
	case r.Tag == orderbook.TagRejected && r.Reason == orderbook.UnknownOrder && c != nil:
		s.forget(c.Target) // filled or cancelled in a report that was lost in the crash
	}
}

func (s *strategy) forget(id uint64) {
	for i, o := range s.open {
		if o == id {
			s.open = append(s.open[:i], s.open[i+1:]...)
			return
		}
	}
}
