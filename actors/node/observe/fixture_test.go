package observe

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

type limit = transport.Limits

func limits() limit { return transport.DefaultLimits() }

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = time.Minute

// rig is an observed server that demands keys on TCP and is open on a unix socket.
type rig struct {
	t                 testing.TB
	server            node.Running
	clock             *clocked // the same
	o                 *Observer
	admin             *admin
	web, socket       string // endpoints of the admin
	tcp, unix         string // for clients
	operator, unknown ed25519.PrivateKey
	trader            ed25519.PrivateKey
	orders            uint64 // the last client order id
}

// clocked is a node whose clock can be put ahead, by nanoseconds.
type clocked struct {
	node.Running
	ahead atomic.Int64
}

func (n *clocked) Now() int64 { return n.Running.Now() + n.ahead.Load() }

// bookConfig configures a node that runs the order book.
type bookConfig = node.Config[orderbook.Report, orderbook.Answer]

// plainBook is an order book that observes no connections and has no clock, so that the numbers of
// events are those of the requests.
type plainBook struct{ *orderbook.Book }

// Those of the book are hidden by methods of other signatures.
func (plainBook) Version()      {}
func (plainBook) Connected()    {}
func (plainBook) Disconnected() {}
func (plainBook) NextTick()     {}
func (plainBook) Tick()         {}

func newBook() sequencer.Application[orderbook.Report, orderbook.Answer] {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		panic(err)
	}
	return plainBook{book}
}

// setup changes a rig before it starts.
type setup func(sc *bookConfig, c *Config)

func newRig(t testing.TB, changes ...setup) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, socket: filepath.Join(dir, "admin"), unix: filepath.Join(dir, "clients")}
	var keys []byte
	for _, k := range []struct {
		to   *ed25519.PrivateKey
		role listen.Role
	}{{&r.operator, listen.Operator}, {&r.trader, listen.Trader}, {&r.unknown, 0}} {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if *k.to = private; k.role != 0 {
			keys = listen.AppendKeyLine(keys, k.role, public, "")
		}
	}
	path := filepath.Join(dir, "keys")
	if err := os.WriteFile(path, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	sc := bookConfig{
		Application: newBook, Encoder: orderbook.Encoder{},
		DataDir: filepath.Join(dir, "data"), KeysFile: path, Log: quiet,
		Journal: node.Journal{SegmentBytes: 1 << 20},
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "tcp", Address: "127.0.0.1:0", Name: "desk"},
			{Network: "unix", Address: r.unix, Name: "local", Open: true},
		}},
	}
	sc.Pipeline.IO, sc.Pipeline.Shards = transport.ModePoll, 2
	sc.Pipeline.Egress.DrainSpread = 10 * time.Millisecond
	c := Config{Admin: "127.0.0.1:0", Socket: r.socket, Log: quiet}
	for _, change := range changes {
		change(&sc, &c)
	}
	n, err := node.Open(context.Background(), sc)
	if err != nil {
		t.Fatal(err)
	}
	r.clock = &clocked{Running: n}
	r.server, r.tcp = r.clock, n.Addresses()[0]
	if r.o, err = Open(r.server, c); err != nil {
		t.Fatal(err)
	}
	r.admin, r.web = r.o.admin, r.o.Address()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = r.server.Stop(ctx) // tests that care look at it themselves
		if err := r.o.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// operators are clients of the two endpoints that accept commands.
func (r *rig) operators() map[string]*Client {
	return map[string]*Client{"unix socket": {Socket: r.socket},
		"operator key": {Addr: r.tcp, Key: r.operator}}
}

// request sends a request to an HTTP endpoint without the client of this package.
func (r *rig) request(endpoint, method, path, body string) (int, string) {
	r.t.Helper()
	h := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	base := "http://" + r.web
	if endpoint == "unix" {
		base = "http://admin"
		h.Transport = &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", r.socket)
			}}
	}
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := h.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// trade is a connected client.
type trade struct {
	*client.Conn
	r   *rig
	seq uint64
}

func (r *rig) dial(network, address string, key ed25519.PrivateKey) *trade {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, network, address, client.Options{Key: key})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return &trade{Conn: c, r: r}
}

func (c *trade) send(tag uint8, body string) {
	c.r.t.Helper()
	c.seq++
	if err := errors.Join(c.Send(c.seq, tag, []byte(body)), c.Flush()); err != nil {
		c.r.t.Fatal(err)
	}
}

// order sends an order that stays in the book.
func (c *trade) order() {
	c.r.t.Helper()
	c.r.orders++
	frame, err := orderbook.AppendRequest(nil, 0, &orderbook.Command{
		Tag: orderbook.TagNew, Account: 1, ClientOrderID: c.r.orders, Instrument: 1,
		Side: orderbook.Buy, Type: orderbook.Limit,
		TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1,
	})
	if err != nil {
		c.r.t.Fatal(err)
	}
	c.send(orderbook.TagNew, string(frame[wire.PrefixSize+wire.RequestHeaderSize:]))
}

// next is the next frame in words.
func (c *trade) next() string {
	c.r.t.Helper()
	tag, body, err := c.Next()
	var end *client.CloseError
	switch {
	case errors.As(err, &end):
		return "close: " + end.Reason.String()
	case err == io.EOF:
		return "EOF"
	case err != nil:
		return err.Error()
	case tag == wire.TagAdminResponse:
		seq, text, _ := wire.DecodeAdminResponse(body)
		return fmt.Sprintf("answer %d %s", seq, text)
	}
	words := map[uint8]string{wire.TagBatchEnd: "end", wire.TagEngineError: "error",
		orderbook.TagAccepted: "accepted"}
	return words[tag]
}

func (c *trade) expect(want ...string) {
	c.r.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.r.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// served checks that the connection is served.
func (c *trade) served() {
	c.r.t.Helper()
	c.order()
	c.expect("accepted", "end")
}

// until waits for something another goroutine does.
func until(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ready(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ids lists the open connections through the admin socket, the oldest first.
func (r *rig) ids() (all []uint64) {
	r.t.Helper()
	var page Connections
	err := (&Client{Socket: r.socket}).Get(soon(r.t), "/connections?by=age&top=1000", &page)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range page.Top {
		all = append(all, c.ID)
	}
	return all
}

// stalled puts all actors on one goroutine and blocks it when the first connection ends, until
// release is called.
func stalled(t testing.TB) (s setup, reached chan struct{}, release func()) {
	reached, gate := make(chan struct{}, 64), make(chan struct{})
	s = func(sc *bookConfig, _ *Config) {
		sc.Pipeline.Placement, sc.Pipeline.Shards = actors.PlacementFused, 1
		sc.Pipeline.OnNotice = func(n actors.ConnNotice) {
			if n.Kind == actors.NoticeClosed {
				reached <- struct{}{}
				<-gate
			}
		}
	}
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	return s, reached, open
}

// raw sends bytes to the TCP endpoint and returns the status line of the answer.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.web)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.SetDeadline(time.Now().Add(patience)),
		func() error { _, err := io.WriteString(c, text); return err }()); err != nil {
		r.t.Fatal(err)
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func mustJSON(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}

// logged is a log that tests can read.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
