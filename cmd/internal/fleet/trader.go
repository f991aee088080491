package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

// defaultPatience is the Patience of a Trader that has none.
const defaultPatience = 20 * time.Second

// Trader sends requests with a Client, as long as the cluster responds. After a break it asks what became
// of the commands under way, and sends those again that the cluster has not executed, with their ids. It
// belongs to the goroutine of Run until that has ended.
type Trader struct {
	Client *Client
	Window int // requests under way

	// Patience limits the time until a response, over all failures of nodes. 0: 20 s.
	Patience time.Duration

	// Next fills in a request, without account and client order id.
	Next func(*orderbook.Command)
	// Response is called with each response.
	Response func(*Call, Result)
	// Lost is called with a command whose response was lost, and what became of it. nil: not needed.
	Lost func(*orderbook.Command, orderbook.Status)

	LastID   uint64        // last client order id
	Answered time.Time     // time of the last response; zero before the first
	Longest  time.Duration // longest time between two responses
	Breaks   []Break
	Executed int // commands that were executed and whose responses were lost
	Unsent   int // commands that were not executed, and could not be sent again because a later one was
	Repeats  int // commands that were sent again

	again []orderbook.Command // to be sent again
	conn  uint64              // count of connections when the last request was sent; 0 after a failure
}

// Break is a time without responses because a connection was lost.
type Break struct {
	Since   time.Time // of the last response before it; zero if there was none
	Noticed time.Time
	Over    time.Time // of the first response after it
}

// Gaps are the times from moments, in order, to the first responses of traders whose connections broke
// then. A further break before the next moment has another cause. The traders have ended.
func Gaps(moments []time.Time, traders ...*Trader) (all []time.Duration) {
	for _, t := range traders {
		last := 0
		for _, b := range t.Breaks {
			n := sort.Search(len(moments), func(i int) bool { return moments[i].After(b.Noticed) })
			if n > last && !b.Over.IsZero() {
				all = append(all, b.Over.Sub(moments[n-1]))
			}
			last = n
		}
	}
	return all
}

// Run sends requests until stop is closed, and returns when every request has its response.
func (t *Trader) Run(ctx context.Context, stop <-chan struct{}) error {
	var under []*Call // in the order of sending
	for {
		stopped := false
		select {
		case <-stop:
			stopped = true
		default:
		}
		for len(under) < t.Window && (len(t.again) > 0 || !stopped) {
			call, err := t.send(ctx)
			if err != nil {
				return err
			}
			under = append(under, call)
		}
		if len(under) == 0 {
			return nil
		}
		failed, err := t.wait(ctx, under[0])
		if err == nil && failed {
			err = t.resume(ctx, under)
			under = under[:1]
		}
		if err != nil {
			return err
		}
		under = under[1:]
	}
}

// send sends the next request.
func (t *Trader) send(ctx context.Context) (*Call, error) {
	var c orderbook.Command
	if len(t.again) > 0 {
		c, t.again = t.again[0], t.again[1:]
	} else if t.Next(&c); orderbook.UsesID(c.Tag) {
		t.LastID++
		c.ClientOrderID = t.LastID
	}
	ctx, cancel := t.limited(ctx)
	defer cancel()
	call, err := t.Client.Send(ctx, c)
	if conn := t.Client.ready.Load(); err == nil && conn != t.conn {
		if t.conn != 0 { // the connection was lost between two requests
			t.broken(time.Now())
		}
		t.conn = conn
	}
	return call, err
}

// broken begins a break, unless one is under way.
func (t *Trader) broken(now time.Time) {
	if n := len(t.Breaks); n == 0 || !t.Breaks[n-1].Over.IsZero() {
		t.Breaks = append(t.Breaks, Break{Since: t.Answered, Noticed: now})
	}
}

func (t *Trader) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := cmp.Or(t.Patience, defaultPatience)
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no response within %v", limit))
}

// wait waits for a response. failed says that there will be none.
func (t *Trader) wait(ctx context.Context, call *Call) (failed bool, err error) {
	limit, cancel := t.limited(ctx)
	defer cancel()
	r, err := call.Wait(limit)
	now := time.Now()
	switch {
	case err == nil:
	case limit.Err() != nil:
		return false, err
	case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrNotSent):
		t.broken(now)
		t.conn = 0
		return true, nil
	default:
		return false, err
	}
	if !t.Answered.IsZero() {
		t.Longest = max(t.Longest, now.Sub(t.Answered))
	}
	t.Answered = now
	if n := len(t.Breaks); n > 0 && t.Breaks[n-1].Over.IsZero() {
		t.Breaks[n-1].Over = now
	}
	t.Response(call, r)
	return false, nil
}

// resume finds out what became of calls of which the first one has failed.
func (t *Trader) resume(ctx context.Context, calls []*Call) error {
	lost := calls[:1:1]
	for _, call := range calls[1:] {
		failed, err := t.wait(ctx, call)
		if err != nil {
			return err
		}
		if failed {
			lost = append(lost, call)
		}
	}
	var again []orderbook.Command
	for _, call := range lost {
		c := &call.Command
		if !orderbook.UsesID(c.Tag) {
			continue // a query need not be repeated
		}
		answer, err := t.Ask(ctx, orderbook.Command{Tag: orderbook.TagQueryOutcome, ClientOrderID: c.ClientOrderID})
		if err != nil {
			return err
		}
		o, ok := answer.(orderbook.Outcome)
		if !ok {
			return fmt.Errorf("fleet: the response to a query for an outcome is a %T", answer)
		}
		switch o.Status {
		case orderbook.StatusUnknown:
			t.Repeats++
			again = append(again, *c)
		case orderbook.StatusNotUsed:
			t.Unsent++
		default:
			t.Executed++
		}
		if t.Lost != nil {
			t.Lost(c, o.Status)
		}
	}
	t.again = append(again, t.again...)
	return nil
}

// Ask sends a query, again after each break, and returns the last frame of the response.
func (t *Trader) Ask(ctx context.Context, query orderbook.Command) (answer any, err error) {
	for {
		limit, cancel := t.limited(ctx)
		defer cancel()
		call, err := t.Client.Send(limit, query)
		if err != nil {
			return nil, err
		}
		r, err := call.Wait(limit)
		switch {
		case err == nil && len(r.Answers) > 0:
			return r.Answers[len(r.Answers)-1], nil
		case err == nil:
			return nil, errors.New("fleet: the response to a query has no frame")
		case limit.Err() != nil, !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent):
			return nil, err
		}
	}
}
