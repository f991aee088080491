package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
)

// isRejected reports whether a frame says that the book rejected a command.
func isRejected(tag uint8, _ []byte) bool { return tag == orderbook.TagRejected }

// pace is the time between two requests of an honest trader.
const pace = 25 * time.Millisecond

// honestCounts is what honest traders noticed.
type honestCounts struct {
	Requests int
	Rejected int // by the book
	Refused  int // EngineError, ServerBusy
	Closed   int // connections that ended before their trader
	Failed   int // requests with another error
	Error    string
	P50, P99 time.Duration // from the time at which a request was due to its whole response
}

// honest are the honest traders of a run. Each has a key and an account of its own.
type honest struct {
	mu     sync.Mutex // guards what follows
	counts honestCounts
	took   []time.Duration
}

// trade trades until ctx ends: an order that rests, a query, a cancel, each at its time. The
// times do not depend on the responses, so a server that is late is late for all requests that were due.
func (h *honest) trade(ctx context.Context, address string, account uint64, key ed25519.PrivateKey) error {
	leaving := make(chan struct{})
	c, err := trade.Open(trade.Options{Account: account, Session: client.SessionOptions{
		Conn: client.Options{Key: key},
		OnState: func(s client.State) {
			select {
			case <-leaving:
			default:
				if s.Phase == client.Disconnected {
					h.note(func(c *honestCounts) { c.Closed++; c.Error = fmt.Sprint(s.Err) })
				}
			}
		}}}, address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer close(leaving)
	if _, err := c.Ready(ctx); err != nil {
		return fmt.Errorf("honest trader %d: %w", account, err)
	}
	order := trade.Order{Instrument: market, Side: orderbook.Buy, Price: 10 + int64(account%16), Quantity: 1}
	var last uint64 // order that rests
	due := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		due = due.Add(pace)
		wait(ctx, time.Until(due))
		var result trade.Result
		switch i % 3 {
		case 0:
			result, err = c.New(ctx, order)
			last = result.ID
		case 1:
			_, err = c.Position(ctx, market)
		case 2:
			_, err = c.Cancel(ctx, last)
		}
		if ctx.Err() == nil {
			h.judge(time.Since(due), err)
		}
	}
	return nil
}

// judge counts a request.
func (h *honest) judge(took time.Duration, err error) {
	var rejected *trade.Rejected
	var refused *client.RefusedError
	h.note(func(c *honestCounts) {
		c.Requests++
		switch {
		case err == nil:
			h.took = append(h.took, took)
			return
		case errors.As(err, &rejected):
			c.Rejected++
		case errors.As(err, &refused), errors.Is(err, client.ErrBusy):
			c.Refused++
		default:
			c.Failed++
		}
		c.Error = err.Error()
	})
}

func (h *honest) note(f func(c *honestCounts)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.counts)
}

// result is the counts with the percentiles.
func (h *honest) result() honestCounts {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.took); n > 0 {
		slices.Sort(h.took)
		h.counts.P50, h.counts.P99 = h.took[n/2], h.took[n*99/100]
	}
	return h.counts
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
