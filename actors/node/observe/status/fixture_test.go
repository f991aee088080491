package status

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

const patience = 60 * time.Second // for what takes milliseconds on a quiet machine

// stand is a server with its admin pages, and a disk that can be held back.
type stand struct {
	t      *testing.T
	server node.Running
	live   *Live
	tcp    string
	unix   string
	base   string // of the pages, http://host:port

	syncs atomic.Uint64 // written by the journal's goroutine, read by anyone

	mu   sync.Mutex
	shut chan struct{} // the disk waits for it to be closed; nil: it does not wait; guarded by mu
}

// bookConfig configures a node that runs the order book.
type bookConfig = node.Config[orderbook.Report, orderbook.Answer]

func newBook(t testing.TB) *orderbook.Book {
	t.Helper()
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// newStand runs until the end of the test. prepare may change the configuration.
func newStand(t *testing.T, prepare func(*bookConfig)) *stand {
	t.Helper()
	d := &stand{t: t, unix: filepath.Join(t.TempDir(), "s")}
	log := slog.New(slog.DiscardHandler)
	cfg := bookConfig{
		Application: newBook(t), Encoder: orderbook.Encoder{},
		DataDir: t.TempDir(), Log: log,
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "tcp", Address: "127.0.0.1:0", Open: true}, {Network: "unix", Address: d.unix, Open: true},
		}},
		Journal: node.Journal{BeforeSync: d.beforeSync},
	}
	cfg.Pipeline.Shards = 4
	cfg.Pipeline.Egress.DrainSpread = 10 * time.Millisecond
	if prepare != nil {
		prepare(&cfg)
	}
	n, err := node.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.server, d.tcp = n, n.Addresses()[0]
	d.live = Start(d.server, nil)
	pages, err := observe.New(observe.Config{Address: "127.0.0.1:0", Handlers: d.live.Handlers(), Front: d.live.Front, Log: log}, d.server)
	if err != nil {
		t.Fatal(err)
	}
	at, err := pages.Start()
	if err != nil {
		t.Fatal(err)
	}
	d.base = "http://" + at
	t.Cleanup(func() {
		d.disk(true)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = d.server.Stop(ctx) // it has clients that do not read
		d.live.Close()
		if err := pages.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// disk lets the journal go on, or holds it back.
func (d *stand) disk(goes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case goes && d.shut != nil:
		close(d.shut)
		d.shut = nil
	case !goes && d.shut == nil:
		d.shut = make(chan struct{})
	}
}

func (d *stand) beforeSync() {
	d.syncs.Add(1)
	d.mu.Lock()
	shut := d.shut
	d.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func (d *stand) dial(i int) *client.Conn {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	network, address := "tcp", d.tcp
	if i%2 == 1 {
		network, address = "unix", d.unix
	}
	c, err := client.Dial(ctx, network, address, client.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// body is what follows the header of a request.
func body(c *orderbook.Command) []byte {
	frame, err := orderbook.AppendRequest(nil, 0, c)
	if err != nil {
		panic(err)
	}
	return frame[wire.PrefixSize+wire.RequestHeaderSize:]
}

// until waits for something another goroutine does.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}
