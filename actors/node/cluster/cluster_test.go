package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// patience is how long a test waits for what must happen at once.
const patience = time.Minute

// trio is a cluster of three nodes in this process, on loopback.
type trio struct {
	t     *testing.T
	dirs  [8]string
	all   []Member
	nodes [8]*Node[orderbook.Report, orderbook.Answer]
	edit  func(*Config[orderbook.Report, orderbook.Answer])
}

// host is one of 127.0.0.0/8 that belongs to this process of tests.
var host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))

// given are the ports that freePort has returned.
var given sync.Map

// freePort returns an address whose port was free a moment ago, and which no other test takes.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		at := fmt.Sprintf("%s:%d", host, 10_000+rand.IntN(20_000))
		if _, had := given.LoadOrStore(at, true); had {
			continue
		}
		l, err := net.Listen("tcp", at)
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// steady is a cluster whose leader stays, however busy the machine is, unless the test ends its office.
func steady(cfg *Config[orderbook.Report, orderbook.Answer]) { cfg.Election = time.Second }

func newTrio(t *testing.T, edit func(*Config[orderbook.Report, orderbook.Answer])) *trio {
	c := &trio{t: t, edit: edit}
	for id := uint8(1); id <= 3; id++ {
		c.all = append(c.all, Member{id, freePort(t), freePort(t)})
	}
	cluster := ID{1: 7, 15: 9}
	for id := uint8(1); id <= 3; id++ {
		c.dirs[id] = filepath.Join(t.TempDir(), fmt.Sprint(id))
		if err := Init(c.dirs[id], Membership{Cluster: cluster, Node: id, Members: c.all}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.end)
	for id := uint8(1); id <= 3; id++ {
		c.start(id)
	}
	return c
}

// end ends all nodes.
func (c *trio) end() {
	for id := range c.nodes {
		if n := c.nodes[id]; n != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_ = n.Stop(ctx) // a test that minds looks itself
			cancel()
		}
	}
}

func (c *trio) start(id uint8) {
	c.t.Helper()
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := Config[orderbook.Report, orderbook.Answer]{Node: node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{}, DataDir: c.dirs[id], Log: slog.New(slog.NewTextHandler(testWriter{c.t, id}, nil)),
		Listen: listen.Config{Endpoints: []listen.Endpoint{{Network: "tcp", Address: c.all[id-1].Client, Open: true}}},
	}}
	cfg.Election, cfg.DiskStall = 250*time.Millisecond, time.Minute // the machine may be busy
	if c.edit != nil {
		c.edit(&cfg)
	}
	c.nodes[id], err = Open(context.Background(), cfg)
	if err != nil {
		c.t.Fatalf("node %d: %v", id, err)
	}
}

// stop ends a node at once, as a crash would for the others.
func (c *trio) stop(id uint8) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.nodes[id].Stop(ctx); err != nil {
		c.t.Errorf("node %d: %v", id, err)
	}
	c.nodes[id] = nil
}

// until waits for a fact.
func (c *trio) until(what string, fact func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !fact(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited for %s", what)
		}
	}
}

// leader waits for a node that leads and serves.
func (c *trio) leader() (id uint8) {
	c.t.Helper()
	c.until("a leader", func() bool {
		for i, n := range c.nodes {
			if n != nil && n.leading.Load() != nil && n.Ready() {
				id = uint8(i)
				return true
			}
		}
		return false
	})
	return id
}

func (c *trio) trader(account uint64) *trade.Client {
	c.t.Helper()
	var addresses []string
	for _, m := range c.all {
		addresses = append(addresses, m.Client)
	}
	o := trade.Options{Account: account}
	o.Session.MaxBackoff = 100 * time.Millisecond
	client, err := trade.Open(o, addresses...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

// testWriter logs the lines of a node.
type testWriter struct {
	t  *testing.T
	id uint8
}

func (w testWriter) Write(p []byte) (int, error) {
	if os.Getenv("SLUICE_TEST_LOG") != "" {
		fmt.Fprintf(os.Stderr, "node %d: %s", w.id, p)
	}
	return len(p), nil
}

func order(t *testing.T, c *trade.Client, price int64) trade.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o := trade.Order{Instrument: 1, Side: orderbook.Buy, Price: price, Quantity: 1}
	command := o.Command()
	for {
		sent, err := c.Send(ctx, command)
		if err != nil {
			t.Fatal(err) // ctx has ended
		}
		command = sent.Command // with its id, so that it is executed once, however often it is sent
		r, err := sent.Wait(ctx)
		var rejected *trade.Rejected
		switch {
		case err == nil, errors.As(err, &rejected): // as a duplicate: it was executed before
			return r
		case ctx.Err() != nil, !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent):
			t.Fatal(err)
		}
	}
}
