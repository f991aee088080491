package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// follower keeps the book of instrument 1.
type follower struct {
	*client.Replica[*marketdata.BookView]
	session *client.Session
	socket  atomic.Pointer[net.Conn] // of the present connection
	stalled sync.Mutex               // locked while no read begins
}

// stalling is a connection that is not read while its follower is stalled.
type stalling struct {
	net.Conn
	*follower
}

func (s stalling) Read(p []byte) (int, error) {
	s.stalled.Lock()
	s.stalled.Unlock() //lint:ignore SA2001 it only waits
	return s.Conn.Read(p)
}

func follow(t *testing.T, address string, mode wire.TopicMode) *follower {
	t.Helper()
	f := &follower{}
	var err error
	f.session, err = client.OpenSession(client.SessionOptions{MinBackoff: time.Millisecond,
		MaxBackoff: 20 * time.Millisecond, Pinned: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			f.socket.Store(&c)
			return stalling{c, f}, nil
		}}, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.session.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f.Replica, err = client.Follow(ctx, f.session, marketdata.KindDepth.Topic(1), mode,
		func() *marketdata.BookView { return marketdata.NewBookView(1, mode == wire.TopicLatest) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// until waits until the follower is somewhere.
func (f *follower) until(t *testing.T, what string, there func(client.ReplicaPosition) bool) {
	t.Helper()
	until(t, what, func() bool {
		if err := f.Err(); err != nil {
			t.Fatalf("the subscription ended: %v", err)
		}
		found := false
		f.View(func(_ *marketdata.BookView, at client.ReplicaPosition) { found = at.Live && there(at) })
		return found
	})
}

// at returns the book, as the server would describe it, and the position.
func (f *follower) at() (book []byte, at client.ReplicaPosition) {
	f.View(func(v *marketdata.BookView, p client.ReplicaPosition) { book, at = v.AppendSnapshot(nil, 0), p })
	return book, at
}

// burst sends n random orders of an account and reads their responses.
func (c *trader) burst(r *rand.Rand, account uint64, n int) {
	c.t.Helper()
	for range n {
		side, price := orderbook.Buy, 100-r.Int64N(20)
		if r.IntN(2) == 0 {
			side, price = orderbook.Sell, 98+r.Int64N(20)
		}
		c.command(order(account, c.seq+1, side, price, 1+r.Uint64N(9)))
	}
	for n > 0 {
		if c.next() == "end" {
			n--
		}
	}
}

func gauge(n Running, id telemetry.GaugeID) (sum float64) {
	n.Collector().Gauges(func(g telemetry.Gauge, v float64) {
		if g.ID == id {
			sum += v
		}
	})
	return sum
}

// Subscribers that come at any time have the server's book, over both networks and in all modes.
func TestSubscribersHaveTheBook(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		cfg := config(t.TempDir(), mode, io.Discard)
		n, addresses := serve(t, cfg)
		c, r := dial(t, "tcp", addresses[0]), rand.New(rand.NewPCG(1, uint64(mode)))
		var all []*follower
		for i := range 12 {
			all = append(all, follow(t, addresses[i%2], wire.TopicMode(i%3)))
			c.burst(r, 1+uint64(i%2), 20)
		}
		for _, f := range all[:4] { // they leave, and their session goes on
			if err := f.Unsubscribe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.burst(r, 1, 20)
		last := follow(t, addresses[0], wire.TopicRecover)
		want, end := last.at()
		if len(want) == 0 || end.Seq == 0 {
			t.Fatalf("an empty book at %+v", end)
		}
		for i, f := range all[4:] {
			f.until(t, "the last frame", func(at client.ReplicaPosition) bool { return at.Seq == end.Seq })
			if got, at := f.at(); !bytes.Equal(got, want) || at.Epoch != end.Epoch || at.Snapshots != 1 {
				t.Errorf("follower %d has %d bytes at %+v, the server %d at %+v", i, len(got), at, len(want), end)
			}
		}
		if topics, subs := gauge(n, telemetry.SequencerTopics),
			gauge(n, telemetry.SequencerSubscriptions); topics != 1 || subs != 9 {
			t.Errorf("%v topics with %v subscriptions, want 1 with 9", topics, subs)
		}
		for _, f := range append(all, last) {
			f.session.Close()
		}
		until(t, "the end of all subscriptions", func() bool { return gauge(n, telemetry.SequencerSubscriptions) == 0 })
	})
}

// A subscriber whose connection breaks goes on behind its last frame.
func TestSubscriberResumesOnNextConnection(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, io.Discard)
	cfg.Pipeline.Shards, cfg.Pipeline.Topics.Linger = 1, time.Hour
	_, addresses := serve(t, cfg)
	f := follow(t, addresses[1], wire.TopicEvery)
	c, r := dial(t, "tcp", addresses[0]), rand.New(rand.NewPCG(1, 2))
	for range 5 {
		(*f.socket.Load()).Close()
		c.burst(r, 1, 20)
		fresh := follow(t, addresses[0], wire.TopicRecover)
		want, end := fresh.at()
		f.until(t, "the frames that it missed", func(at client.ReplicaPosition) bool { return at.Seq == end.Seq })
		if got, at := f.at(); !bytes.Equal(got, want) || at.Snapshots != 1 || at.Epoch != end.Epoch {
			t.Errorf("at %+v with %d bytes, want %+v without a second snapshot", at, len(got), end)
		}
		fresh.session.Close()
	}
}

// A subscriber that reads too slowly gets a gap, and then a snapshot of the book as it is by then.
func TestSlowSubscriberGetsAnotherSnapshot(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg := config(t.TempDir(), mode, io.Discard)
		cfg.Pipeline.Topics.TapeBytes = 4 << 10
		limits := transport.DefaultLimits()
		limits.NoProgress = patience
		cfg.Pipeline.Limits = []transport.Limits{limits}
		n, addresses := serve(t, cfg)
		f := follow(t, addresses[1], wire.TopicRecover)
		c, r := dial(t, "tcp", addresses[0]), rand.New(rand.NewPCG(1, uint64(mode)))
		c.burst(r, 1, 20)
		f.until(t, "the first frames", func(at client.ReplicaPosition) bool { return at.Seq > 0 })
		f.stalled.Lock()
		for gauge(n, telemetry.EgressBlockedConnections) == 0 {
			c.burst(r, 1, 100)
		}
		c.burst(r, 1, 400) // more than the tape holds
		f.stalled.Unlock()
		fresh := follow(t, addresses[0], wire.TopicRecover)
		want, end := fresh.at()
		f.until(t, "the last frame", func(at client.ReplicaPosition) bool { return at.Seq == end.Seq })
		if got, at := f.at(); !bytes.Equal(got, want) || at.Snapshots < 2 || at.Epoch != end.Epoch {
			t.Errorf("at %+v with %d bytes, the server is at %+v with %d", at, len(got), end, len(want))
		}
		if n.sequencer.Counts().Resyncs == 0 {
			t.Error("the second snapshot was not one after a gap")
		}
	})
}

// After a restart numbers begin anew, so a subscriber gets a snapshot of another epoch.
func TestNextRunHasOtherEpochs(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, io.Discard)
	n, addresses := serve(t, cfg)
	f := follow(t, addresses[1], wire.TopicRecover)
	r := rand.New(rand.NewPCG(1, 3))
	dial(t, "unix", addresses[1]).burst(r, 1, 30)
	_, before := f.at()
	drain(t, n)
	_, addresses = serve(t, cfg)
	dial(t, "unix", addresses[1]).burst(r, 2, 30)
	fresh := follow(t, addresses[1], wire.TopicRecover)
	want, end := fresh.at()
	f.until(t, "the book of the next run", func(at client.ReplicaPosition) bool {
		return at.Epoch == end.Epoch && at.Seq == end.Seq
	})
	if got, at := f.at(); !bytes.Equal(got, want) || at.Snapshots != 2 || at.Epoch == before.Epoch {
		t.Errorf("at %+v with %d bytes, before at %+v; the server is at %+v", at, len(got), before, end)
	}
}

// A client that shuts its sending direction down has no subscriptions any more.
func TestHalfClosedClientIsNoSubscriber(t *testing.T) {
	n, addresses := serve(t, config(t.TempDir(), transport.ModePoll, io.Discard))
	c := dial(t, "tcp", addresses[0])
	c.send(wire.TagExtended, wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: marketdata.KindTop.Topic(1)}))
	until(t, "the subscription", func() bool { return gauge(n, telemetry.SequencerSubscriptions) == 1 })
	if err := c.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	until(t, "its end", func() bool { return gauge(n, telemetry.SequencerSubscriptions) == 0 })
}

// Limits of the configuration are those of the sequencer.
func TestNodeLimitsSubscriptions(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, io.Discard)
	cfg.Pipeline.Topics.MaxTopics, cfg.Pipeline.Topics.MaxSubscriptions = 3, 2
	_, addresses := serve(t, cfg)
	sessions := []*client.Session{follow(t, addresses[0], wire.TopicRecover).session,
		follow(t, addresses[1], wire.TopicRecover).session}
	for _, tt := range []struct {
		session int
		topic   uint64
		why     wire.Refusal
	}{
		{0, marketdata.KindTop.Topic(2), 0},
		{0, marketdata.KindTop.Topic(3), wire.RefusalLimit}, // a third one of the session
		{1, 7, wire.RefusalTopic},                           // there is no such topic
		{1, marketdata.KindTrades.Topic(3), 0},
		{1, marketdata.KindTop.Topic(2), wire.RefusalLimit},
	} {
		_, err := sessions[tt.session].Subscribe(t.Context(), wire.Subscribe{Topic: tt.topic},
			func(client.TopicEvent) error { return nil })
		var refused *client.RefusedError
		if errors.As(err, &refused) != (tt.why != 0) || refused != nil && refused.Reason != tt.why {
			t.Errorf("session %d, topic %#x: %v, want %v", tt.session, tt.topic, err, tt.why)
		}
	}
	third := follow(t, addresses[0], wire.TopicRecover)
	if _, err := third.session.Subscribe(t.Context(), wire.Subscribe{Topic: marketdata.KindTop.Topic(4)},
		func(client.TopicEvent) error { return nil }); err == nil {
		t.Error("a fourth topic has a subscriber")
	}
}
