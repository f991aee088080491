package trials

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// state is the set of problems that a server has when it is asked to end.
type state uint8

const (
	gateShut   state = 1 << iota // the policy asks for nodes that do not exist
	blocked                      // clients that read nothing, with responses waiting for them
	halfDone                     // handshakes that do not continue
	diskHangs                    // a sync that does not return
	everything = gateShut | blocked | halfDone | diskHangs
)

func (s state) String() string {
	var names []string
	for i, name := range []string{"gate shut", "clients blocked", "unfinished handshakes", "disk hangs"} {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "at rest"
	}
	return strings.Join(names, ", ")
}

// Drain, Stop and Fence end within their deadline in every combination of states, and leave nothing
// but the sync that hangs.
func TestDrainStopAndFenceKeepTheirDeadline(t *testing.T) {
	ends := []struct {
		name   string
		method func(node.Running, context.Context) error
	}{{"drain", node.Running.Drain}, {"stop", node.Running.Stop}, {"fence", node.Running.Fence}}
	engines(t, func(t *testing.T, engine transport.Mode) {
		for _, end := range ends {
			for s := range everything + 1 {
				if end.name != "drain" && s != everything && s != blocked && scale(1, 1, 0) == 1 {
					continue // all of them in a soak
				}
				t.Run(end.name+" "+s.String(), func(t *testing.T) {
					const deadline = 300 * time.Millisecond
					h := newHouse(t, engine, s)
					defer h.close()
					ctx, cancel := context.WithTimeout(context.Background(), deadline)
					defer cancel()
					began := time.Now()
					err := end.method(h.Running, ctx)
					took := time.Since(began)
					// The slack is for a loaded machine. The test is that no end waits for a
					// client.
					if took > deadline+h.slack {
						t.Errorf("took %v, the deadline was %v: %v", took, deadline, err)
					}
					if s == 0 && err != nil {
						t.Errorf("ending a server at rest: %v", err)
					}
				})
			}
		}
	})
}

// Stop ends a drain that waits for a shut gate or for clients that read nothing, as a second signal
// does.
func TestStopEndsDrain(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		for _, s := range []state{gateShut, blocked, gateShut | halfDone} {
			t.Run(s.String(), func(t *testing.T) {
				h := newHouse(t, engine, s)
				defer h.close()
				long, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				drained := make(chan error, 1)
				go func() { drained <- h.Drain(long) }()
				until(t, "the drain to begin", func() bool { return !h.Ready() })
				select {
				case err := <-drained:
					t.Fatalf("the drain ended before the stop: %v", err)
				default:
				}
				short, cancelShort := context.WithTimeout(context.Background(), time.Second)
				defer cancelShort()
				_ = h.Stop(short) // the error says that not everything was delivered
				select {
				case <-drained:
				case <-time.After(patience):
					t.Fatal("the drain continues after the stop")
				}
			})
		}
	})
}

// house is a whole server, with order book and journal, in a state.
type house struct {
	node.Running
	t          testing.TB
	dir        string // of the journal
	at         []string
	open       func() // lets the disk continue
	clients    []net.Conn
	goroutines int
	slack      time.Duration
}

func newHouse(t testing.TB, engine transport.Mode, s state) *house {
	t.Helper()
	h := &house{t: t, goroutines: runtime.NumGoroutine(), slack: 10 * time.Second}
	dir := t.TempDir()
	h.dir = filepath.Join(dir, "data", "journal")
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, listen.AppendKeyLine(nil, listen.Trader, public, "nobody"), 0o600); err != nil {
		t.Fatal(err)
	}
	gate, held := make(chan struct{}), make(chan struct{})
	var first sync.Once
	h.open = sync.OnceFunc(func() { close(gate) })
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{},
		DataDir: filepath.Join(dir, "data"), KeysFile: keys, Log: slog.New(slog.DiscardHandler),
		Listen: listen.Config{
			Endpoints: []listen.Endpoint{
				{Network: "unix", Address: filepath.Join(dir, "open"), Open: true},
				{Network: "tcp", Address: "127.0.0.1:0"},
			},
			// An hour each, so that an end that waits for one of them and not for its deadline is
			// noticed.
			Sockets: listen.Sockets{SendBuffer: 4608}, HandshakeTimeout: time.Hour, CloseTimeout: time.Hour,
		},
		Journal: node.Journal{SegmentBytes: 1 << 20}, FailTimeout: time.Hour,
	}
	cfg.Pipeline.IO, cfg.Pipeline.Shards = engine, 2
	cfg.Pipeline.Limits = []transport.Limits{lenient()}
	if s&gateShut != 0 {
		cfg.Policy, cfg.ForcePolicy = "hybrid", true
	}
	if s&diskHangs != 0 {
		cfg.Journal.BeforeSync = func() { first.Do(func() { close(held) }); <-gate }
	}
	if h.Running, err = node.Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	h.at = h.Addresses()
	if s&halfDone != 0 {
		h.halfShake()
	}
	if s&(blocked|diskHangs|gateShut) != 0 {
		h.silent(s)
	}
	if s&diskHangs != 0 {
		<-held
	}
	return h
}

// halfShake starts handshakes and stops where the server waits for the client, some in the middle
// of a frame.
func (h *house) halfShake() {
	h.t.Helper()
	for i := range 20 {
		c, err := net.Dial("tcp", h.at[1])
		if err != nil {
			h.t.Fatal(err)
		}
		h.clients = append(h.clients, c)
		if i%2 == 0 {
			if _, err := c.Write([]byte{0x69, 0, 0}); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	until(h.t, "the handshakes to begin", func() bool { return h.Listener().Counters().Handshakes == 20 })
}

// silent connects clients that send many orders and read nothing. Where responses leave, it waits
// until their sockets are full.
func (h *house) silent(s state) {
	h.t.Helper()
	const clients, orders = 4, 400
	for k := range uint64(clients) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		c, err := client.Dial(ctx, "unix", h.at[0], client.Options{})
		cancel()
		if err != nil {
			h.t.Fatal(err)
		}
		h.clients = append(h.clients, c.NetConn())
		for i := range uint64(orders) {
			order := &orderbook.Command{
				Tag: orderbook.TagNew, Account: k + 1, ClientOrderID: i + 1, Instrument: 1, Side: orderbook.Buy, Type: orderbook.Limit,
				TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1,
			}
			frame, err := orderbook.AppendRequest(nil, i+1, order)
			if err == nil {
				err = c.Send(binary.LittleEndian.Uint64(frame[wire.PrefixSize:]), order.Tag, frame[wire.PrefixSize+wire.RequestHeaderSize:])
			}
			if err != nil {
				h.t.Fatal(err)
			}
		}
		if err := c.Flush(); err != nil {
			h.t.Fatal(err)
		}
	}
	until(h.t, "all orders to be read", func() bool { return h.Listener().Counters().Requests == clients*orders })
	if s == blocked || s == blocked|halfDone {
		until(h.t, "the clients to be blocked", func() bool {
			n := 0.0
			h.Collector().Gauges(func(g telemetry.Gauge, value float64) {
				if g.ID == telemetry.EgressBlockedConnections {
					n += value
				}
			})
			return n == clients
		})
	}
}

// close checks that nothing of the server is left once the disk continues.
func (h *house) close() {
	h.t.Helper()
	h.open()
	for _, c := range h.clients {
		c.Close()
	}
	until(h.t, "all permits to be returned", func() bool { return h.Connections() == 0 })
	until(h.t, fmt.Sprintf("at most %d goroutines", h.goroutines), func() bool { return runtime.NumGoroutine() <= h.goroutines })
	until(h.t, "the journal of a disk that hung to be closed", func() bool { // its directory is removed next
		unlock, err := journal.Lock(h.dir)
		if err == nil {
			err = unlock()
		}
		return err == nil
	})
}
