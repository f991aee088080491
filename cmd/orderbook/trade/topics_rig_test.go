package trade_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/cmd/orderbook/trade"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// market runs a test with a server on each engine, over TCP and a unix-domain socket.
func market(t *testing.T, shards int, test func(t *testing.T, address string)) {
	for _, engine := range transport.Engines() {
		mode, err := transport.ParseMode(engine)
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"tcp", "unix"} {
			t.Run(engine+"/"+network, func(t *testing.T) {
				books, err := orderbook.Factory(orderbook.Config{})
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				at := map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(dir, "s")}[network]
				cfg := node.Config[orderbook.Report, orderbook.Answer]{
					Application: books, Encoder: orderbook.Encoder{}, DataDir: filepath.Join(dir, "data"),
					Listen:  listen.Config{Endpoints: []listen.Endpoint{{Network: network, Address: at, Open: true}}},
					Journal: node.Journal{SegmentBytes: 1 << 20}, Log: slog.New(slog.DiscardHandler),
				}
				cfg.Pipeline.IO, cfg.Pipeline.Shards = mode, shards
				cfg.Pipeline.Topics.HistoryBytes, cfg.Pipeline.Topics.TapeBytes = 4<<10, 64<<10
				n, err := node.Open(context.Background(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					if err := n.Stop(ctx); err != nil {
						t.Error(err)
					}
				})
				test(t, n.Addresses()[0])
			})
		}
	}
}

// cable is the network of a client that can be cut.
type cable struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[len(c.conns)-1].Close()
}

// outage is a cable that is cut once, and mended when the test says so.
type outage struct {
	cable
	broken, mended chan struct{}
}

func newOutage() *outage { return &outage{broken: make(chan struct{}), mended: make(chan struct{})} }

// options are those of the client at the cable. Its second connection waits until the cable is mended.
func (o *outage) options() client.SessionOptions {
	first, once := true, sync.OnceFunc(func() { close(o.broken) })
	return client.SessionOptions{MinBackoff: 1, DialTimeout: patience,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if !first {
				select {
				case <-o.mended:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			first = false
			return o.dial(ctx, network, address)
		},
		OnState: func(s client.State) {
			if s.Phase == client.Disconnected {
				once()
			}
		}}
}

// begin cuts the cable and waits until the client has noticed.
func (o *outage) begin() {
	o.cut()
	<-o.broken
}

// at connects a client.
func at(t *testing.T, address string, o trade.Options) *trade.Client {
	t.Helper()
	c, err := trade.Open(o, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// await waits until a condition on a copy of the book holds.
func await(t *testing.T, b *trade.Book, what string, ok func(v *marketdata.BookView, at client.ReplicaPosition) bool) {
	t.Helper()
	ctx := limited(t)
	for {
		changed, done := b.Changed(), false
		b.View(func(v *marketdata.BookView, at client.ReplicaPosition) { done = ok(v, at) })
		if done {
			return
		}
		select {
		case <-changed:
		case <-b.Done():
			t.Fatalf("%s: the subscription ended: %v", what, b.Err())
		case <-ctx.Done():
			b.View(func(_ *marketdata.BookView, at client.ReplicaPosition) { t.Fatalf("%s: not yet at %+v", what, at) })
		}
	}
}

// reluctant is a connection that is not read while it is held.
type reluctant struct {
	net.Conn
	held *atomic.Pointer[chan struct{}] // closed when it is read again; nil: it is not held
}

func (c reluctant) Read(b []byte) (int, error) {
	if held := c.held.Load(); held != nil {
		<-*held
	}
	return c.Conn.Read(b)
}
