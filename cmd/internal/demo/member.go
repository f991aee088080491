package demo

import (
	"context"
	"errors"
	"sync"

	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
)

// member is a trader of a cluster.
type member struct {
	*market
	trader fleet.Trader
	times  *telemetry.Recorder

	mu       sync.Mutex // guards the fields below, which reports change
	strategy *strategy
	under    map[uint64]*orderbook.Command // commands under way, by client order id
}

// run trades until the market closes, and asks for the positions, which the audit compares.
func (m *member) run(ctx context.Context) error {
	defer m.times.Park()
	m.trader.Window, m.trader.Next, m.trader.Response, m.trader.Lost = window, m.next, m.response, m.lost
	err := m.trader.Run(ctx, m.stop)
	m.quiet.Done()
	if err != nil {
		return errors.Join(err, m.trader.Client.Close())
	}
	select {
	case <-m.settled:
	case <-ctx.Done():
	}
	for i := range uint32(instruments) {
		if err == nil {
			_, err = m.trader.Ask(ctx, orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1 + i})
		}
	}
	return errors.Join(err, m.trader.Client.Close())
}

// next fills in the next request.
func (m *member) next(c *orderbook.Command) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strategy.next(c)
	if orderbook.UsesID(c.Tag) {
		sent := *c
		m.under[m.trader.LastID+1] = &sent
		m.orders.Add(1)
	}
}

// learn takes a report. It is called by the client's session.
func (m *member) learn(r *orderbook.Report) {
	if r.Tag == orderbook.TagFill {
		m.fills.Add(1)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strategy.learn(r, m.under[r.ClientOrderID])
}

// response takes a response.
func (m *member) response(call *fleet.Call, _ fleet.Result) {
	m.times.B.H[telemetry.StageWhole].Record(uint64(m.trader.Answered.Sub(call.Sent)))
	m.answers.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.under, call.Command.ClientOrderID)
}

// lost takes what became of a command whose response was lost.
func (m *member) lost(c *orderbook.Command, status orderbook.Status) {
	if status == orderbook.StatusUnknown {
		return // it is sent again
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.under, c.ClientOrderID)
	if status == orderbook.StatusAccepted && m.strategy.maker {
		m.strategy.open = append(m.strategy.open, c.ClientOrderID) // if it is filled, a reject removes it
	}
}
