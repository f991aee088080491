package trade_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Followers that come and go, and whose connections break while the book changes, have the server's book
// in the end, byte for byte. One of them trades on the same connection.
func TestCopiesOfTheBookEqualTheServers(t *testing.T) {
	orders, followers := 2000, 12
	if testing.Short() {
		orders = 400
	}
	market(t, 2, func(t *testing.T, address string) {
		ctx := limited(t)
		trader := at(t, address, trade.Options{Account: 1})
		own, err := trader.Book(ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		copies, cables := []*trade.Book{own}, make([]cable, followers)
		for i := range cables {
			c := at(t, address, trade.Options{Account: uint64(2 + i),
				Session: client.SessionOptions{Dial: cables[i].dial, MinBackoff: 1}})
			b, err := c.Book(ctx, 3)
			if err != nil {
				t.Fatal(err)
			}
			copies = append(copies, b)
		}
		random := rand.New(rand.NewPCG(16, 1))
		for i := range orders {
			o := trade.Order{Instrument: 3, Side: orderbook.Buy + orderbook.Side(random.IntN(2)),
				Price: 100 + random.Int64N(20), Quantity: 1 + random.Uint64N(9)}
			if _, err := trader.New(ctx, o); err != nil {
				t.Fatal(err)
			}
			if i%50 == 49 {
				ctx = limited(t) // a slow disk has its time for the next ones
				cables[random.IntN(followers)].cut()
			}
			if i%200 == 199 { // one leaves and comes back
				k := 1 + random.IntN(followers)
				if err := copies[k].Unsubscribe(ctx); err != nil {
					t.Fatal(err)
				}
				c := at(t, address, trade.Options{Account: uint64(100 + i), Session: client.SessionOptions{
					Dial: cables[k-1].dial, MinBackoff: 1}})
				if copies[k], err = c.Book(ctx, 3); err != nil {
					t.Fatal(err)
				}
			}
		}
		last := at(t, address, trade.Options{Account: 99})
		server, err := last.Book(ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		var seq uint64
		server.View(func(v *marketdata.BookView, at client.ReplicaPosition) {
			want, seq = v.AppendSnapshot(nil, 0), at.Seq
		})
		if len(want) == 0 || seq == 0 {
			t.Fatalf("the book has %d bytes after %d frames", len(want), seq)
		}
		for i, b := range copies {
			await(t, b, fmt.Sprintf("copy %d", i), func(v *marketdata.BookView, at client.ReplicaPosition) bool {
				if !at.Live || at.Seq < seq {
					return false
				}
				if got := v.AppendSnapshot(nil, 0); !bytes.Equal(got, want) {
					t.Errorf("copy %d at %+v differs: % x, want % x", i, at, got, want)
				}
				return true
			})
		}
		own.View(func(_ *marketdata.BookView, at client.ReplicaPosition) {
			if at.Snapshots != 1 {
				t.Errorf("the copy of a client that reads was replaced %d times", at.Snapshots-1)
			}
		})
	})
}

// A client that missed a few frames gets those, and no snapshot. Each shard has a history of its own, so
// there is one shard, to which every connection belongs.
func TestBookIsResumedAfterABreak(t *testing.T) {
	market(t, 1, func(t *testing.T, address string) {
		ctx := limited(t)
		trader := at(t, address, trade.Options{Account: 1})
		if _, err := trader.Book(ctx, 3); err != nil { // so the topic has a subscriber during the break
			t.Fatal(err)
		}
		line := newOutage()
		b, err := at(t, address, trade.Options{Account: 2, Session: line.options()}).Book(ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trader.New(ctx, trade.Order{Instrument: 3, Side: orderbook.Buy, Price: 90, Quantity: 1}); err != nil {
			t.Fatal(err)
		}
		await(t, b, "first order", func(_ *marketdata.BookView, at client.ReplicaPosition) bool { return at.Seq == 1 })
		line.begin()
		for price := range int64(5) {
			if _, err := trader.New(ctx, trade.Order{Instrument: 3, Side: orderbook.Buy, Price: 91 + price,
				Quantity: 1}); err != nil {
				t.Fatal(err)
			}
		}
		b.View(func(_ *marketdata.BookView, at client.ReplicaPosition) {
			if at.Live || at.Seq != 1 {
				t.Errorf("while the connection is broken: %+v", at)
			}
		})
		close(line.mended)
		await(t, b, "resumption", func(v *marketdata.BookView, at client.ReplicaPosition) bool {
			if at.Snapshots != 1 {
				t.Fatalf("a snapshot: %+v", at)
			}
			bid, _ := v.Top()
			return at.Live && at.Seq == 6 && bid.Price == 95
		})
	})
}

func TestTradesAreObserved(t *testing.T) {
	market(t, 2, func(t *testing.T, address string) {
		ctx := limited(t)
		trader := at(t, address, trade.Options{Account: 1})
		seen := make(chan trade.TradeEvent, 10)
		watch := at(t, address, trade.Options{Account: 2})
		s, err := watch.Trades(ctx, 3, func(e trade.TradeEvent) error { seen <- e; return nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, quantity := range []uint64{4, 4} {
			if _, err := trader.New(ctx, sell(quantity)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := watch.New(ctx, buy(6)); err != nil {
			t.Fatal(err)
		}
		for _, quantity := range []uint64{4, 2} {
			select {
			case e := <-seen:
				if e.Trade.Quantity != quantity || e.Trade.Price != 101 || e.Trade.Side != marketdata.Buy || e.Missed != 0 {
					t.Errorf("%+v, want a trade of %d", e, quantity)
				}
			case <-ctx.Done():
				t.Fatal("no trade")
			}
		}
		if err := s.Unsubscribe(ctx); err != nil {
			t.Error(err)
		}
	})
}

// More trades than the server keeps are missed during a break.
func TestMissedTradesAreCounted(t *testing.T) {
	market(t, 1, func(t *testing.T, address string) {
		ctx, line := limited(t), newOutage()
		seller, buyer := at(t, address, trade.Options{Account: 1}), at(t, address, trade.Options{Account: 2})
		seen := make(chan trade.TradeEvent, 10)
		watch := at(t, address, trade.Options{Account: 3, Session: line.options()})
		if _, err := watch.Trades(ctx, 3, func(e trade.TradeEvent) error { seen <- e; return nil }); err != nil {
			t.Fatal(err)
		}
		// The server first says that the client can go on, and then that it is missing frames, before it
		// has a snapshot.
		var mu sync.Mutex
		var kinds []client.TopicEventKind
		described := make(chan struct{}, 10)
		if _, err := watch.Session().Subscribe(ctx, wire.Subscribe{Topic: marketdata.KindDepth.Topic(3)},
			func(e client.TopicEvent) error {
				mu.Lock()
				defer mu.Unlock()
				if kinds = append(kinds, e.Kind); e.Kind == client.SnapshotEnd {
					described <- struct{}{}
				}
				return nil
			}); err != nil {
			t.Fatal(err)
		}
		<-described
		const missed = 200 // frames of 61 B
		if _, err := seller.New(ctx, sell(missed+2)); err != nil {
			t.Fatal(err)
		}
		trades := func(n int) {
			for range n {
				if _, err := buyer.New(ctx, buy(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		trades(1)
		next := func(want trade.TradeEvent) {
			t.Helper()
			select {
			case e := <-seen:
				if e.Missed != want.Missed || e.Trade.Quantity != want.Trade.Quantity {
					t.Errorf("%+v, want %+v", e, want)
				}
			case <-ctx.Done():
				t.Fatal("no trade")
			}
		}
		next(trade.TradeEvent{Trade: marketdata.Frame{Quantity: 1}})
		line.begin()
		trades(missed)
		close(line.mended)
		next(trade.TradeEvent{Missed: missed})
		select {
		case <-described:
		case <-ctx.Done():
			t.Fatal("no snapshot")
		}
		mu.Lock()
		broken := slices.Index(kinds, client.TopicBroken)
		if want := []client.TopicEventKind{client.TopicBroken, client.TopicResumed, client.TopicGap, client.SnapshotBegin,
			client.SnapshotFrame, client.SnapshotEnd}; !slices.Equal(kinds[broken:], want) {
			t.Errorf("events of the depth %v, want %v", kinds[broken:], want)
		}
		mu.Unlock()
		trades(1)
		next(trade.TradeEvent{Trade: marketdata.Frame{Quantity: 1}})
	})
}

// An instrument has topics, other numbers have none.
func TestUnknownTopicIsRefused(t *testing.T) {
	market(t, 2, func(t *testing.T, address string) {
		s, err := client.OpenSession(client.SessionOptions{}, address)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.Subscribe(limited(t), wire.Subscribe{Topic: 7}, func(client.TopicEvent) error { return nil })
		want := "client: the server refused request 1 (tag 0x0f): no such topic, or not permitted"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	})
}

// A copy whose client does not read for some time loses frames, and is the server's book again when the
// client reads.
func TestCopyOfASlowClientIsMended(t *testing.T) {
	if testing.Short() {
		t.Skip("it sends 20,000 orders")
	}
	market(t, 2, func(t *testing.T, address string) {
		if !strings.HasPrefix(address, "/") {
			t.Skip("the sockets of a TCP connection hold megabytes, so nothing is lost")
		}
		ctx, held, release := limited(t), new(atomic.Pointer[chan struct{}]), make(chan struct{})
		slow := at(t, address, trade.Options{Account: 2, Session: client.SessionOptions{
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return reluctant{conn, held}, nil
			}}})
		b, err := slow.Book(ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		trader := at(t, address, trade.Options{Account: 1})
		held.Store(&release)
		var last *trade.Sent
		for i := range 20_000 {
			o := trade.Order{Instrument: 3, Side: orderbook.Buy, Price: 100 + int64(i%20), Quantity: 1}
			if last, err = trader.Send(ctx, o.Command()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := last.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		close(release)
		await(t, b, "the last frame", func(v *marketdata.BookView, at client.ReplicaPosition) bool {
			if !at.Live || at.Seq < 20_000 {
				return false
			}
			bid, _ := v.Top()
			if at.Seq != 20_000 || at.Snapshots < 2 || bid != (marketdata.Level{Price: 119, Quantity: 1000, Orders: 1000}) {
				t.Errorf("the copy at %+v has the bid %+v", at, bid)
			}
			return true
		})
	})
}
