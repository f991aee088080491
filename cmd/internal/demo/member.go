package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport/client"
)

// member is a trader of a cluster. Its session finds the leader. After a break it asks what became
// of the commands under way, and sends those again that the cluster does not know.
type member struct {
	*market
	client *fleet.Client
	times  *telemetry.Recorder
	last   uint64 // last client order id

	mu       sync.Mutex // guards the fields below, which reports change
	strategy *strategy
	under    map[uint64]*orderbook.Command // commands under way, by client order id

	// Of the goroutine of run.
	answered int64 // time of the last response, ns of the history's clock; 0 before the first
	longest  int64 // longest time between two responses, ns
	broken   bool  // a connection broke, and no response came since
	back     int64 // time of the first response after the first break
	unacked  int   // executed commands whose responses were lost
	gone     int   // commands that were not executed and could not be sent again
	repeats  int   // commands that were sent again
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

// run trades until the market closes.
func (m *member) run(ctx context.Context) error {
	defer m.times.Park()
	err := m.trade(ctx)
	m.quiet.Done()
	if err == nil {
		select {
		case <-m.settled:
			err = m.positions(ctx)
		case <-ctx.Done():
		}
	}
	return errors.Join(err, m.client.Close())
}

// trade sends the requests of the strategy, and returns when the market has closed and every request
// has its response.
func (m *member) trade(ctx context.Context) error {
	var under []*fleet.Call       // in the order of sending
	var again []orderbook.Command // to be sent again
	for {
		stopped := false
		select {
		case <-m.stop:
			stopped = true
		default:
		}
		for len(under) < window && (len(again) > 0 || !stopped) {
			var c orderbook.Command
			if len(again) > 0 {
				c, again = again[0], again[1:]
			} else {
				c = m.decide()
			}
			call, err := m.client.Send(ctx, c)
			if err != nil {
				return err
			}
			under = append(under, call)
		}
		if len(under) == 0 {
			return nil
		}
		failed, err := m.wait(ctx, under[0])
		if err != nil {
			return err
		}
		if failed {
			lost, err := m.resume(ctx, under)
			if err != nil {
				return err
			}
			again, under = append(lost, again...), under[:1]
		}
		under = under[1:]
	}
}

// wait waits for a response. failed says that there will be none.
func (m *member) wait(ctx context.Context, call *fleet.Call) (failed bool, err error) {
	limit, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no response within %v", answerTime))
	defer cancel()
	_, err = call.Wait(limit)
	switch {
	case err == nil:
		m.response(call)
		return false, nil
	case limit.Err() != nil:
		return false, err
	case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrNotSent):
		m.broken = true
		return true, nil
	}
	return false, err
}

// response records the time of a response.
func (m *member) response(call *fleet.Call) {
	m.mu.Lock()
	delete(m.under, call.Command.ClientOrderID)
	m.mu.Unlock()
	now := m.client.Now()
	m.times.B.H[telemetry.StageWhole].Record(uint64(now - call.Sent))
	m.answers.Add(1)
	if m.answered != 0 {
		m.longest = max(m.longest, now-m.answered)
	}
	if m.answered = now; m.broken && m.back == 0 {
		m.back = now
	}
}

// resume finds out what became of calls of which the first one has failed. It returns the commands that
// are to be sent again.
func (m *member) resume(ctx context.Context, calls []*fleet.Call) (again []orderbook.Command, err error) {
	lost := []*fleet.Call{calls[0]}
	for _, call := range calls[1:] {
		failed, err := m.wait(ctx, call)
		if err != nil {
			return nil, err
		}
		if failed {
			lost = append(lost, call)
		}
	}
	for _, call := range lost {
		c := call.Command
		if !orderbook.UsesID(c.Tag) {
			continue // a query need not be repeated
		}
		status, err := m.outcome(ctx, c.ClientOrderID)
		if err != nil {
			return nil, err
		}
		switch status {
		case orderbook.StatusUnknown:
			m.repeats++
			again = append(again, c)
			continue
		case orderbook.StatusNotUsed:
			m.gone++
		default:
			m.unacked++
		}
		m.mu.Lock()
		delete(m.under, c.ClientOrderID)
		if status == orderbook.StatusAccepted && m.strategy.maker {
			m.strategy.open = append(m.strategy.open, c.ClientOrderID) // a reject removes it if it is filled
		}
		m.mu.Unlock()
	}
	return again, nil
}

// outcome asks what a command did, until there is a response.
func (m *member) outcome(ctx context.Context, id uint64) (orderbook.Status, error) {
	for {
		r, err := m.ask(ctx, orderbook.Command{Tag: orderbook.TagQueryOutcome, ClientOrderID: id})
		if err != nil {
			return 0, err
		}
		if r == nil {
			continue
		}
		o, ok := r.(orderbook.Outcome)
		if !ok {
			return 0, fmt.Errorf("the response to a query for an outcome is a %T", r)
		}
		return o.Status, nil
	}
}

// ask sends a query. The answer is nil if the connection broke.
func (m *member) ask(ctx context.Context, query orderbook.Command) (answer any, err error) {
	call, err := m.client.Send(ctx, query)
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no response within %v", answerTime))
	defer cancel()
	r, err := call.Wait(limit)
	switch {
	case err != nil && limit.Err() == nil && (errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, client.ErrNotSent)):
		return nil, nil
	case err != nil:
		return nil, err
	case len(r.Answers) != 1:
		return nil, fmt.Errorf("the response to a query has %d frames", len(r.Answers))
	}
	return r.Answers[0], nil
}

// positions asks for the position in every instrument; the audit compares them with the log.
func (m *member) positions(ctx context.Context) error {
	for i := range uint32(instruments) {
		if _, err := m.ask(ctx, orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1 + i}); err != nil {
			return err
		}
	}
	return nil
}

// decide is the next request of the strategy.
func (m *member) decide() (c orderbook.Command) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strategy.next(&c)
	if orderbook.UsesID(c.Tag) {
		m.last++
		c.ClientOrderID = m.last
		m.under[m.last] = &c
		m.orders.Add(1)
	}
	return c
}
