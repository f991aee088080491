package trade_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
)

const patience = 2 * time.Minute // limit for steps that take milliseconds on an idle machine

func serve(t *testing.T, dir string) (stop func()) {
	t.Helper()
	n, err := openNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
}

func open(t *testing.T, dir string, o trade.Options) *trade.Client {
	t.Helper()
	o.Session.MinBackoff = time.Millisecond
	c, err := trade.Open(o, filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func sell(quantity uint64) trade.Order {
	return trade.Order{Instrument: 3, Side: orderbook.Sell, Price: 101, Quantity: quantity}
}

func buy(quantity uint64) trade.Order {
	return trade.Order{Instrument: 3, Side: orderbook.Buy, Price: 101, Quantity: quantity}
}

// reported collects the reports of a client.
type reported chan orderbook.Report

func (r reported) add(v *orderbook.Report) { r <- *v }

// unasked returns the next report that belongs to no response.
func (r reported) unasked(t *testing.T) orderbook.Report {
	t.Helper()
	for {
		select {
		case v := <-r:
			if v.Unasked() {
				return v
			}
		case <-time.After(patience):
			t.Fatal("no report")
		}
	}
}

func TestCommandsReturnWhatTheyDid(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	defer serve(t, dir)()
	events := make(reported, 100)
	a := open(t, dir, trade.Options{Account: 1, OnReport: events.add})
	b := open(t, dir, trade.Options{Account: 2})

	entered, err := a.New(ctx, sell(10))
	if err != nil || entered.ID != 1 || entered.OrderID != entered.Event || entered.Filled() != 0 {
		t.Fatalf("%+v, %v", entered, err)
	}
	taken, err := b.New(ctx, trade.Order{Instrument: 3, Side: orderbook.Buy, Type: orderbook.Market, Quantity: 4})
	if err != nil || taken.Filled() != 4 {
		t.Fatalf("%+v, %v", taken, err)
	}
	if f := events.unasked(t); f.Tag != orderbook.TagFill || f.Open != 6 || f.Seq != taken.Event {
		t.Errorf("the resting side received %+v", f)
	}
	replaced, err := a.Replace(ctx, entered.ID, 102, 12)
	if err != nil || replaced.OrderID != entered.OrderID || replaced.Reports[0].Open != 8 {
		t.Errorf("%+v, %v", replaced, err)
	}
	var no *trade.Rejected
	if _, err := b.Cancel(ctx, entered.ID); !errors.As(err, &no) || no.Reason != orderbook.UnknownOrder {
		t.Errorf("cancel of another account's order: %v", err)
	}
	top, err := b.Top(ctx, 3)
	if err != nil || top.Ask != (orderbook.Quote{Price: 102, Quantity: 8, Orders: 1}) {
		t.Errorf("%+v, %v", top, err)
	}
	position, err := a.Position(ctx, 3)
	if err != nil || position.Net() != -4 || position.LastID != replaced.ID {
		t.Errorf("%+v, %v", position, err)
	}
	if c, err := a.Cancel(ctx, entered.ID); err != nil || c.Reports[0].Quantity != 8 {
		t.Errorf("%+v, %v", c, err)
	}
	outcome, err := a.Outcome(ctx, replaced.ID)
	if err != nil || outcome.Status != orderbook.StatusReplaced || outcome.OrderID != entered.OrderID {
		t.Errorf("%+v, %v", outcome, err)
	}
}

func TestExpiryIsReported(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	defer serve(t, dir)()
	events := make(reported, 100)
	a := open(t, dir, trade.Options{Account: 1, OnReport: events.add})
	order := sell(1)
	order.Expiry = time.Now().Add(-time.Second)
	var no *trade.Rejected
	if _, err := a.New(ctx, order); !errors.As(err, &no) || no.Reason != orderbook.BadExpiry {
		t.Errorf("order that has expired: %v", err)
	}
	var entered trade.Result
	err := error(no)
	for errors.As(err, &no) && no.Reason == orderbook.BadExpiry { // it may expire before it gets there
		order.Expiry = time.Now().Add(200 * time.Millisecond)
		entered, err = a.New(ctx, order)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := events.unasked(t); r.Reason != orderbook.Expired || r.OrderID != entered.OrderID {
		t.Errorf("%+v", r)
	}
}

func TestQueriesReadAllPages(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	defer serve(t, dir)()
	a, b := open(t, dir, trade.Options{Account: 1}), open(t, dir, trade.Options{Account: 2})
	const n = 2*orderbook.MaxPage + 10
	var sent []*trade.Sent
	for range n {
		o := sell(1)
		s, err := a.Send(ctx, o.Command())
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, s)
	}
	for _, s := range sent {
		if _, err := s.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	orders, err := a.OpenOrders(ctx)
	if err != nil || len(orders) != n {
		t.Fatalf("%d open orders, %v", len(orders), err)
	}
	for i, o := range orders {
		if o.ClientOrderID != uint64(i+1) {
			t.Fatalf("order %d is %+v", i, o)
		}
	}
	swept, err := b.New(ctx, buy(n))
	if err != nil || swept.Filled() != n {
		t.Fatal(swept.Filled(), err)
	}
	for _, c := range []*trade.Client{a, b} {
		fills, dropped, err := c.FillsSince(ctx, swept.Event)
		if err != nil || len(fills) != n || dropped {
			t.Fatalf("%d fills, %t, %v", len(fills), dropped, err)
		}
		for i, f := range fills {
			if f.Trade != uint32(i+1) {
				t.Fatalf("fill %d is %+v", i, f)
			}
		}
	}
	if fills, _, err := b.FillsSince(ctx, swept.Event+1); err != nil || len(fills) != 0 {
		t.Errorf("%d fills, %v", len(fills), err)
	}
}

// Ids must arrive in rising order, or the book would reject commands as duplicates.
func TestCommandsOfSeveralGoroutinesAreNumbered(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	defer serve(t, dir)()
	a := open(t, dir, trade.Options{Account: 1})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := a.New(ctx, sell(1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if p, err := a.Position(ctx, 3); err != nil || p.OpenOrders != 400 || p.LastID != 400 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A client that had to connect again continues with the next id, and can find out what a command
// did whose response it did not see.
func TestClientContinuesAfterARestart(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	stop := serve(t, dir)
	gone := make(chan error, 100)
	o := trade.Options{Account: 1}
	o.Session.OnState = func(s client.State) {
		if s.Phase == client.Disconnected {
			gone <- s.Err
		}
	}
	a := open(t, dir, o)
	first, err := a.New(ctx, sell(1))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	<-gone // until then a command is sent to the old server
	defer serve(t, dir)()
	second, err := a.New(ctx, sell(1))
	if err != nil || second.ID != first.ID+1 {
		t.Fatalf("%+v, %v", second, err)
	}
	for id, want := range map[uint64]orderbook.Status{first.ID: orderbook.StatusAccepted,
		second.ID: orderbook.StatusAccepted, second.ID + 1: orderbook.StatusUnknown} {
		if outcome, err := a.Outcome(ctx, id); err != nil || outcome.Status != want {
			t.Errorf("command %d: %+v, %v", id, outcome, err)
		}
	}
	// The same id again is not executed again.
	again := sell(1)
	c := again.Command()
	c.ClientOrderID = second.ID
	s, err := a.Send(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	var no *trade.Rejected
	if _, err := s.Wait(ctx); !errors.As(err, &no) || no.Reason != orderbook.Duplicate {
		t.Errorf("command sent again: %v", err)
	}
}

func TestOrdersAreCancelledWhenTheClientCloses(t *testing.T) {
	dir, ctx := t.TempDir(), limited(t)
	defer serve(t, dir)()
	a, b := open(t, dir, trade.Options{Account: 1}), open(t, dir, trade.Options{Account: 1})
	if err := a.SetCancelOnDisconnect(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, err := a.New(ctx, sell(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		open, err := b.OpenOrders(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			return
		}
	}
}
