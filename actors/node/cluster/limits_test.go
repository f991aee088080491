package cluster

import (
	"errors"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/telemetry"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// A limit that an operator raises is an event of the log: it holds with the next leader, and is shown there.
func TestRaisedLimitOutlivesItsLeader(t *testing.T) {
	books, err := orderbook.Factory(orderbook.Config{MaxOrders: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.Application = books
		cfg.Node.Listen.Endpoints[0].OpenRole = listen.Operator
	})
	trader := c.trader(1)
	rests := func(price int64, want bool) {
		t.Helper()
		r := order(t, trader, price)
		if rejected := r.Reports[0].Tag == orderbook.TagRejected &&
			r.Reports[0].Reason == orderbook.TooManyOrders; rejected == want {
			t.Errorf("the order at %d: %+v", price, r.Reports)
		}
	}
	rests(100, true)
	rests(101, true)
	rests(102, false)
	c.raise(trader, orderbook.Limits{Orders: 3})
	rests(103, true)
	rests(104, false)
	c.stop(c.leader())
	rests(105, false)
	c.raise(trader, orderbook.Limits{Orders: 4})
	rests(106, true)
	c.until("what is used, on the next leader", func() bool {
		used, limit := 0.0, 0.0
		c.nodes[c.leader()].Collector().Gauges(func(g telemetry.Gauge, v float64) {
			switch {
			case g.Value != "orders":
			case g.ID == telemetry.ApplicationUsed:
				used = v
			case g.ID == telemetry.ApplicationLimit:
				limit = v
			}
		})
		return used == 4 && limit == 4
	})
	c.agree()
}

// raise raises limits; to the same value twice, if the response is lost.
func (c *trio) raise(trader *trade.Client, to orderbook.Limits) {
	c.t.Helper()
	for {
		sent, err := trader.Send(c.ctx(), orderbook.Command{Tag: orderbook.TagRaiseLimits, Limits: to})
		if err != nil {
			c.t.Fatal(err)
		}
		r, err := sent.Response(c.ctx())
		switch {
		case err == nil && len(r.Frames) == 1 && r.Frames[0].Tag == orderbook.TagLimitsRaised:
			return
		case !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent): // by an election
			c.t.Fatalf("limits %+v: %+v, %v", to, r, err)
		}
	}
}
