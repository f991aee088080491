package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// patience bounds every wait of a test that should not take long at all.
const patience = time.Minute

// engines runs a test on both engines; io_uring is skipped, with the reason, where it cannot be
// had.
func engines(t *testing.T, test func(t *testing.T, mode transport.Mode)) {
	for _, mode := range []transport.Mode{transport.ModePoll, transport.ModeUring} {
		t.Run(mode.String(), func(t *testing.T) {
			ring, diagnosis, err := transport.Open(mode,
				transport.RingConfig{Entries: 8, Wake: func() {}})
			if err != nil {
				t.Skipf("engine %s cannot be had here: %s", mode, diagnosis.Text)
			}
			if err := ring.Close(); err != nil {
				t.Fatal(err)
			}
			test(t, mode)
		})
	}
}

// lines is a log that tests can read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The tests run the order book.
type (
	bookNode   = Node[orderbook.Report, orderbook.Answer]
	bookConfig = Config[orderbook.Report, orderbook.Answer]
)

func newBook(limits orderbook.Config) *orderbook.Book {
	book, err := orderbook.New(limits)
	if err != nil {
		panic(err)
	}
	return book
}

// plain is an order book that observes no connections and has no clock, so that the numbers of events
// are those of the requests.
type plain struct{ *orderbook.Book }

// Those of the book are hidden by methods of other signatures.
func (plain) Version()      {}
func (plain) Connected()    {}
func (plain) Disconnected() {}
func (plain) NextTick()     {}
func (plain) Tick()         {}

// Factories of Config.Application.
type bookApp = sequencer.Application[orderbook.Report, orderbook.Answer]

func newPlain() bookApp { return plain{newBook(orderbook.Config{})} }

func newFull() bookApp { return newBook(orderbook.Config{}) }

func bookOf(n *bookNode) *orderbook.Book { return n.app.(plain).Book }

// config is a small node on loopback and a unix-domain socket, without authentication and with an
// empty book.
func config(dir string, mode transport.Mode, log io.Writer) bookConfig {
	cfg := bookConfig{
		Application: newPlain, Encoder: orderbook.Encoder{},
		DataDir: filepath.Join(dir, "data"),
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "tcp", Address: "127.0.0.1:0", Open: true},
			{Network: "unix", Address: filepath.Join(dir, "s"), Open: true},
		}},
		Journal: Journal{SegmentBytes: 1 << 20},
		Log:     slog.New(slog.NewTextHandler(log, nil)),
	}
	cfg.Pipeline.IO = mode
	cfg.Pipeline.Shards = 2
	cfg.Pipeline.Egress.DrainSpread = 10 * time.Millisecond
	return cfg
}

// serve opens a node that is stopped at the end of the test. A configuration may be used again.
func serve(t testing.TB, cfg bookConfig) (*bookNode, []string) {
	t.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Stop(ctx) // tests that care look at it themselves
	})
	return s, s.Addresses()
}

func drain(t testing.TB, s *bookNode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatalf("drain: %v", err)
	}
}

// trader is a client of the order book.
type trader struct {
	t    testing.TB
	conn *client.Conn
	seq  uint64
}

func dial(t testing.TB, network, address string) *trader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, network, address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &trader{t: t, conn: c}
}

// body is what follows the header of a request.
func body(c *orderbook.Command) []byte {
	frame, err := orderbook.AppendRequest(nil, 0, c)
	if err != nil {
		panic(err)
	}
	return frame[wire.PrefixSize+wire.RequestHeaderSize:]
}

func order(account, id uint64, side orderbook.Side, price int64, quantity uint64) *orderbook.Command {
	return &orderbook.Command{
		Tag: orderbook.TagNew, Account: account, ClientOrderID: id, Instrument: 1, Side: side,
		Type:        orderbook.Limit,
		TimeInForce: orderbook.GoodTillCancel, Price: price, Quantity: quantity,
	}
}

func position(account uint64) *orderbook.Command {
	return &orderbook.Command{Tag: orderbook.TagQueryPosition, Account: account, Instrument: 1}
}

func (c *trader) send(tag uint8, body []byte) {
	c.t.Helper()
	c.seq++
	if err := errors.Join(c.conn.Send(c.seq, tag, body), c.conn.Flush()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *trader) command(cmd *orderbook.Command) { c.t.Helper(); c.send(cmd.Tag, body(cmd)) }

// next is the next frame in words.
func (c *trader) next() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	tag, b, err := c.conn.Next()
	var end *client.CloseError
	switch {
	case errors.As(err, &end):
		return "close: " + end.Reason.String()
	case err != nil:
		return err.Error()
	}
	return words(tag, b)
}

func words(tag uint8, b []byte) string {
	switch tag {
	case wire.TagBatchEnd:
		return "end"
	case wire.TagEngineError:
		return "error"
	case wire.TagServerBusy:
		return "busy"
	case orderbook.TagPosition:
		a, err := orderbook.DecodeAnswer(tag, b)
		if err != nil {
			return err.Error()
		}
		p := a.(orderbook.Position)
		return fmt.Sprintf("position seq=%d net=%d last=%d accepted=%d", p.Seq, p.Net(),
			p.LastID, p.Accepted)
	}
	var r orderbook.Report
	if err := orderbook.DecodeReport(tag, b, &r); err != nil {
		return err.Error()
	}
	switch tag {
	case orderbook.TagAccepted:
		return fmt.Sprintf("accepted %d seq=%d", r.ClientOrderID, r.Seq)
	case orderbook.TagFill:
		return fmt.Sprintf("fill %d seq=%d %d@%d", r.ClientOrderID, r.Seq, r.Quantity, r.Price)
	}
	return fmt.Sprintf("0x%02x %d seq=%d", tag, r.ClientOrderID, r.Seq)
}

// expect reads frames and compares them.
func (c *trader) expect(want ...string) {
	c.t.Helper()
	for i, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("frame %d is %q, want %q (of %q)", i, got, w, want)
		}
	}
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

// unlocked waits until a node that was left behind has closed its journal.
func unlocked(t *testing.T, dataDir string) {
	until(t, "the lock of the journal", func() bool {
		unlock, err := journal.Lock(filepath.Join(dataDir, "journal"))
		if err == nil {
			err = unlock()
		}
		return err == nil
	})
}

// leaks notes goroutines and descriptors, and at the end of the test compares.
func leaks(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	t.Cleanup(func() {
		until := time.Now().Add(patience)
		for runtime.NumGoroutine() > goroutines || len(descriptors(t)) > len(files) {
			if time.Now().After(until) {
				buf := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, %d before; descriptors %v, before %v\n%s",
					runtime.NumGoroutine(), goroutines, descriptors(t), files, buf[:runtime.Stack(buf, true)])
			}
			runtime.Gosched()
		}
	})
}

func descriptors(t *testing.T) []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+"="+to)
		}
	}
	return out
}

// valve is a BeforeSync that can hold the disk back.
type valve struct {
	mu   sync.Mutex
	shut chan struct{}
	held chan struct{} // a token for each sync that is being held
}

func newValve() *valve { return &valve{held: make(chan struct{}, 1024)} }

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

func (v *valve) beforeSync() {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut != nil {
		v.held <- struct{}{}
		<-shut
	}
}

// withKeys makes an endpoint that asks for authentication, and the keys file it needs.
func withKeys(t *testing.T, cfg *bookConfig) listen.Endpoint {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.KeysFile = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(cfg.KeysFile, listen.AppendKeyLine(nil, listen.Trader, public, "test"),
		0o600); err != nil {
		t.Fatal(err)
	}
	return listen.Endpoint{Network: "tcp", Address: "127.0.0.1:0"}
}
