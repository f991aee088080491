package trials

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/secure"
	"sluice/transport/wire"
)

// scale selects the size of a trial: with -short, normally, or with SLUICE_SOAK.
func scale(short, normal, soak int) int {
	switch {
	case os.Getenv("SLUICE_SOAK") != "":
		return soak
	case testing.Short():
		return short
	}
	return normal
}

// engines runs a trial on both engines.
func engines(t *testing.T, trial func(t *testing.T, engine transport.Mode)) {
	t.Helper()
	for _, engine := range []transport.Mode{transport.ModeUring, transport.ModePoll} {
		t.Run(engine.String(), func(t *testing.T) {
			ring, diagnosis, err := transport.Open(engine, transport.RingConfig{Entries: 8, Wake: func() {}})
			if err != nil {
				t.Skipf("engine %s is not available: %s", engine, diagnosis.Text)
			}
			if err := ring.Close(); err != nil {
				t.Fatal(err)
			}
			trial(t, engine)
		})
	}
}

// lenient returns limits that no client of a trial reaches.
func lenient() transport.Limits {
	return transport.Limits{HardBytes: 1 << 20, SoftBytes: 1 << 20, SoftFor: time.Hour, NoProgress: time.Hour}
}

// options configure a rig. Zero fields take defaults.
type options struct {
	engine     transport.Mode
	shards     int              // default 2
	entries    int              // entries of a ring
	max        int              // connections, default 1024
	ids        int              // size of the pool of connection ids, default twice max
	limits     transport.Limits // default lenient
	budget     int64
	heartbeat  time.Duration
	sendBuffer int // SO_SNDBUF of every accepted socket
	mute       bool
	policy     durability.Policy // default local
	tick       time.Duration     // period of the timer for slow clients, default that of the pipeline
	openRing   func(int, transport.RingConfig) (transport.Ring, error)
}

// rig is a server under trial: listener, readers, feed, pipeline.
type rig struct {
	t        testing.TB
	pipeline *actors.Pipeline[note, struct{}]
	listener *listen.Server
	feed     *feed
	tcp      how
	unix     how
	tls      how
	closing  chan struct{} // closed when readers must no longer wait for the feed
	tokens   atomic.Uint64 // last token given out; written by any goroutine
	fresh    atomic.Uint64 // ids given out beyond the pool; written by readers
	most     func() int    // limit for the notes sent by a stream so far; no limit by default

	mu      sync.Mutex // guards what follows
	notices []actors.ConnNotice
	failure error
	counted uint64 // slots published when the server failed; later ones are in no ledger
	readers []*reader

	fds, goroutines int // before it was built
}

// newRig starts a server, which is stopped at the end of the test at the latest.
func newRig(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, closing: make(chan struct{}), counted: math.MaxUint64, most: func() int { return endless }}
	r.fds, r.goroutines = openFiles(t), runtime.NumGoroutine()
	if o.shards == 0 {
		o.shards = 2
	}
	if o.max == 0 {
		o.max = 1024
	}
	if o.ids == 0 {
		o.ids = 2 * o.max
	}
	if o.limits == (transport.Limits{}) {
		o.limits = lenient()
	}
	if o.policy.Len() == 0 {
		o.policy = durability.Local()
	}
	cursors := durability.NewCursors(2)
	var err error
	r.pipeline, err = actors.Open(actors.Config{
		Policy: o.policy, IO: o.engine, Shards: o.shards, RingEntries: o.entries, MaxConnections: o.max, MaxFrame: maxFrame,
		Limits: []transport.Limits{o.limits}, ShardBudget: o.budget, Heartbeat: o.heartbeat, Log: slog.New(slog.DiscardHandler),
		OnNotice: func(n actors.ConnNotice) {
			if !o.mute {
				r.mu.Lock()
				r.notices = append(r.notices, n)
				r.mu.Unlock()
			}
		},
		OnFail: r.fail, OpenRing: o.openRing, Egress: actors.EgressConfig{Tick: o.tick},
	}, scribe{}, cursors)
	if err != nil {
		t.Fatal(err)
	}
	r.feed = &feed{
		pipeline: r.pipeline, cursors: cursors, ids: make(chan uint64, o.ids), asks: make(chan ask, 1024),
		calls: make(chan func(*feed)), hurry: make(chan struct{}), done: make(chan struct{}),
	}
	for id := range uint64(o.ids) {
		r.feed.ids <- id + 1
	}
	dir := t.TempDir()
	pair, pin := certificate(t)
	r.listener, err = listen.New(listen.Config{
		Endpoints: []listen.Endpoint{
			{Network: "tcp", Address: "127.0.0.1:0", Open: true},
			{Network: "unix", Address: filepath.Join(dir, "s"), Open: true},
			{Network: "tcp", Address: "127.0.0.1:0", Open: true, TLS: true},
		},
		TLS:     secure.Config(pair),
		Readers: 2, Sockets: listen.Sockets{SendBuffer: o.sendBuffer, Backlog: 4096}, IdleTimeout: time.Hour, NextID: r.nextID,
		MaxHandshakes: 4096, Fatal: r.fail,
	}, (*handler)(r))
	if err != nil {
		t.Fatal(err)
	}
	go r.feed.run()
	if err := r.listener.Listen(); err != nil {
		t.Fatal(err)
	}
	r.listener.Serve()
	addresses := r.listener.Addresses()
	r.tcp, r.unix = how{network: "tcp", address: addresses[0]}, how{network: "unix", address: addresses[1]}
	r.tls = how{network: "tcp", address: addresses[2], tls: pin}
	t.Cleanup(r.abandon)
	return r
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure, r.counted = errors.Join(r.failure, err), min(r.counted, r.pipeline.Slots().Published())
}

// nextID returns the id that has been free for longest. It must not wait for one, because readers,
// which call it, also free them.
func (r *rig) nextID() uint64 {
	select {
	case id := <-r.feed.ids:
		return id
	default:
		return 1<<40 + r.fresh.Add(1)
	}
}

// handler is the rig in its role as the handler of the listener.
type handler rig

func (h *handler) Connect(c listen.Conn) error {
	conn := actors.Conn{ID: c.ID, FD: int(c.FD)}
	if c.Secure != nil {
		conn.Sealer = c.Secure
	}
	err := h.pipeline.Connect(conn)
	if err != nil {
		h.feed.giveBack(c.ID)
	}
	return err
}

func (h *handler) Request(c listen.Conn, req wire.Request) error {
	a := ask{conn: c.ID}
	if err := a.parse(req); err != nil {
		return err
	}
	select {
	case h.feed.asks <- a:
		return nil
	default:
	}
	select {
	case h.feed.asks <- a:
		return nil
	case <-h.closing:
		return errors.New("the server ends")
	}
}

func (h *handler) Shed(c listen.Conn, requests []uint64) { _ = h.pipeline.Busy(c.ID, requests) } // an error means that the pipeline is ending

func (h *handler) Disconnect(c listen.Conn, requests uint64, reason transport.Reason) {
	why := transport.ReasonOther
	switch reason {
	case transport.ReasonPeerClosed, transport.ReasonShutdown, transport.ReasonRequestFailed:
		why = transport.ReasonPeerClosed
	case transport.ReasonPeerReset:
		why = transport.ReasonPeerReset
	}
	h.pipeline.Disconnect(c.ID, requests, why)
	select {
	case h.feed.asks <- ask{conn: c.ID}: // after the event above, so that the next owner of the id finds it released or closing
	case <-h.closing:
	}
}

// dial connects a client that is closed with the rig.
func (r *rig) dial(h how, size int) *reader {
	r.t.Helper()
	c, err := connect(h, r.tokens.Add(1)<<32|0x5A5A, size)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers = append(r.readers, c)
	return c
}

// followers connects n clients that follow the feed, over TCP, unix-domain sockets and TLS in turn.
func (r *rig) followers(n, size int) []*reader {
	r.t.Helper()
	var list []*reader
	for i := range n {
		list = append(list, r.dial([]how{r.tcp, r.unix, r.tls}[i%3], size))
	}
	if err := all(list, (*reader).follow); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// need fails the test on an error.
func (r *rig) need(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// conn returns the connection id of a follower.
func (r *rig) conn(c *reader) (id uint64) {
	r.call(func(f *feed) { id = f.to(c.token, 0) })
	return id
}

// closed waits for the notice that a connection was closed.
func (r *rig) closed(conn uint64) (notice actors.ConnNotice) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("the end of connection %d", conn), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range r.notices {
			if n.Conn == conn && n.Kind == actors.NoticeClosed {
				notice = n
				return true
			}
		}
		return false
	})
	return notice
}

// gauge returns the sum of a gauge over the shards.
func (r *rig) gauge(id telemetry.GaugeID) (sum float64) {
	r.pipeline.Collector().Gauges(func(g telemetry.Gauge, value float64) {
		if g.ID == id {
			sum += value
		}
	})
	return sum
}

// count returns the sum of a counter over all actors.
func (r *rig) count(c telemetry.Counter) uint64 {
	r.pipeline.Collector().Collect(0)
	return r.pipeline.Collector().Sum().C[c]
}

// until waits until a condition holds. what completes the sentence "waited for".
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		<-look.C
	}
}
