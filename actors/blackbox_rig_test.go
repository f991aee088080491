package actors

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// The black-box tests use the pipeline as a server does: through its exported methods and over real
// sockets, on every engine and both families. They wait for facts with generous deadlines, never
// for time to pass.

// patience bounds every wait for a fact.
const patience = time.Minute

// way is one engine with one family of sockets.
type way struct {
	engine transport.Mode
	family string // "tcp", "unix" or "tls"
}

// eachWay runs a test on every engine and family that there is.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, engine := range []transport.Mode{transport.ModeUring, transport.ModePoll} {
		for _, family := range []string{"tcp", "unix", "tls"} {
			t.Run(engine.String()+"/"+family, func(t *testing.T) {
				ring, diagnosis, err := transport.Open(engine,
					transport.RingConfig{Entries: 2, Wake: func() {}})
				if err != nil {
					t.Skip(diagnosis.Text)
				}
				if err := ring.Close(); err != nil {
					t.Fatal(err)
				}
				test(t, way{engine, family})
			})
		}
	}
}

// askEncoder is tickEncoder with queries: an empty response of its own tag.
type askEncoder struct{ tickEncoder }

const askTag = tickTag + 1

func (askEncoder) AppendQuery(dst []byte, q *struct{}) ([]byte, error) {
	return append(dst, 1, 0, 0, 0, askTag), nil
}

// rig is a running pipeline with a listening socket and a reader that sees the ends of streams.
type rig struct {
	*Pipeline[tick, struct{}]
	t       testing.TB
	w       way
	cursors *durability.Cursors
	watch   *watcher
	listen  int
	addr    unix.Sockaddr
	tls     rigTLS
	clients []*client // every one that was dialled

	seq   uint64 // last wire seq
	slots uint64 // published in all

	mu      sync.Mutex
	notices []ConnNotice
	failure error

	goroutines, fds int // before it was built
}

// newRig starts a pipeline. Limits are lenient and shards are two unless change says otherwise.
func newRig(t testing.TB, w way, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, w: w, cursors: durability.NewCursors(2)}
	r.fds, r.goroutines = openFDs(t), runtime.NumGoroutine()
	cfg := Config{
		Policy: durability.Local(), IO: w.engine, Shards: 2, Log: slog.New(slog.DiscardHandler),
		Egress: EgressConfig{DrainSpread: 1}, Heartbeat: time.Hour,
		Limits: []transport.Limits{{HardBytes: 1 << 20, SoftBytes: 1 << 20, SoftFor: time.Hour,
			NoProgress: time.Hour}},
	}
	if change != nil {
		change(&cfg)
	}
	notice, fail := cfg.OnNotice, cfg.OnFail
	cfg.OnNotice = func(n ConnNotice) {
		r.mu.Lock()
		r.notices = append(r.notices, n)
		r.mu.Unlock()
		if notice != nil {
			notice(n)
		}
	}
	cfg.OnFail = func(err error) {
		r.mu.Lock()
		r.failure = err
		r.mu.Unlock()
		if fail != nil {
			fail(err)
		}
	}
	p, err := newPipeline(cfg, askEncoder{}, r.cursors)
	if err != nil {
		t.Fatal(err)
	}
	r.Pipeline = p
	r.listenOn()
	r.watch = newWatcher(t, p)
	r.watch.session = r.tls.session
	p.start()
	t.Cleanup(func() {
		select {
		case <-p.Ended():
		default: // the test failed before it ended the pipeline
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			p.Fence(ctx)
		}
		r.closeEnds()
	})
	return r
}

// listenOn makes the listening socket.
func (r *rig) listenOn() {
	r.t.Helper()
	family := unix.AF_INET
	r.addr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if r.w.family == "unix" {
		family = unix.AF_UNIX
		r.addr = &unix.SockaddrUnix{} // the kernel picks an abstract name
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	r.must(err)
	r.must(unix.Bind(fd, r.addr))
	r.must(unix.Listen(fd, 4096))
	r.addr, err = unix.Getsockname(fd)
	r.must(err)
	r.listen = fd
}

// closeEnds closes what belongs to the rig itself, once.
func (r *rig) closeEnds() {
	if r.listen != 0 {
		unix.Close(r.listen)
		r.watch.stop()
		r.listen = 0
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// socket says how a client's connection is made.
type socket struct {
	small bool  // the least kernel buffers on both sides: it blocks early
	alone bool  // the server's end has no reader
	held  bool  // the test itself is the reader and calls Disconnect
	class uint8 // of limits
}

// dial makes a connection that the pipeline owns when dial returns.
func (r *rig) dial(id uint64, s socket) *client {
	r.t.Helper()
	c, fd := r.pair(s)
	c.id = id
	if !s.alone && !s.held {
		r.watch.add(fd, id)
	}
	if err := r.Connect(Conn{ID: id, FD: fd, Class: s.class, WriteOnly: s.alone}); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// dialAll connects the ids first..first+n-1.
func (r *rig) dialAll(first uint64, n int, s socket) []*client {
	r.t.Helper()
	var all []*client
	for i := range uint64(n) {
		all = append(all, r.dial(first+i, s))
	}
	return all
}

// pair makes a connection and returns its client and the server's descriptor.
func (r *rig) pair(s socket) (*client, int) {
	r.t.Helper()
	family := unix.AF_INET
	if r.w.family == "unix" {
		family = unix.AF_UNIX
	}
	near, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	r.must(err)
	if s.small {
		r.must(unix.SetsockoptInt(near, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096))
	}
	r.must(unix.Connect(near, r.addr))
	far, _, err := unix.Accept4(r.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	r.must(err)
	if s.small {
		r.must(unix.SetsockoptInt(far, unix.SOL_SOCKET, unix.SO_SNDBUF, 4608))
	}
	if r.w.family != "unix" {
		r.must(unix.SetsockoptInt(far, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	r.must(unix.SetNonblock(near, true))
	c := newClient(r.t, near)
	r.clients = append(r.clients, c)
	if r.w.family == "tls" {
		r.shake(c, far)
	}
	return c, far
}

// each publishes one slot forevery id in order, all with one store.
func (r *rig) each(ids []uint64, edit func(i int, s *Slot[tick, struct{}])) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for done := 0; done < len(ids); {
		room := r.Slots().Claim(len(ids) - done)
		if room == nil {
			r.Slots().Publish()
			if time.Now().After(deadline) {
				r.t.Fatal("the slot ring stays full")
			}
			runtime.Gosched()
			continue
		}
		for i := range room {
			r.seq++
			now := r.Now()
			room[i] = Slot[tick, struct{}]{Conn: ids[done+i], Seq: durability.Seq(r.seq),
				Received: now, Matched: now, Last: true}
			edit(done+i, &room[i])
			room[i].Request = askedFirst + room[i].Report.n
		}
		r.Slots().Commit(len(room))
		done += len(room)
		r.slots += uint64(len(room))
	}
	r.Slots().Publish()
}

// report publishes n reports for one connection, numbered from first, of size bytes each.
func (r *rig) report(id, first uint64, n, size int) {
	r.t.Helper()
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = id
	}
	r.each(ids, func(i int, s *Slot[tick, struct{}]) {
		s.Report = tick{n: first + uint64(i),
			size: size}
	})
}

// one publishes one report as edit wants it.
func (r *rig) one(id uint64, edit func(s *Slot[tick, struct{}])) {
	r.t.Helper()
	r.each([]uint64{id}, func(_ int, s *Slot[tick, struct{}]) { edit(s) })
}

// persist makes everything published so far durable.
func (r *rig) persist() { r.cursors.SetPersisted(durability.Seq(r.seq)) }

// until waits for a fact.
func (r *rig) until(fact string, holds func() bool) {
	r.t.Helper()
	eventually(r.t, fact, holds)
}

func eventually(t testing.TB, fact string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	look := time.NewTicker(500 * time.Microsecond)
	defer look.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", fact)
		}
		<-look.C
	}
}

// count collects and returns one counter, over all actors. It collects until all actors have answered twice: what
// one hands over first may be what an earlier collection asked for.
func (r *rig) count(c telemetry.Counter) uint64 {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for whole := 0; whole < 2; whole++ {
		if r.Collector().Collect(0) == 0 {
			continue
		}
		if whole = -1; time.Now().After(deadline) {
			r.t.Fatal("an actor does not answer the collector")
		}
	}
	return r.Collector().Sum().C[c]
}

// settled returns a counter once it has not changed for half a second.
func (r *rig) settled(c telemetry.Counter) uint64 {
	r.t.Helper()
	value, since := r.count(c), time.Now()
	r.until("a counter that stays", func() bool {
		if now := r.count(c); now != value {
			value, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	return value
}

// gauge reads a gauge, added up over its shards.
func (r *rig) gauge(id telemetry.GaugeID) (sum float64) {
	r.Collector().Gauges(func(g telemetry.Gauge, value float64) {
		if g.ID == id {
			sum += value
		}
	})
	return sum
}

// closed returns the reason with which a connection was closed, if it was.
func (r *rig) closed(id uint64) (transport.Reason, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		if n.Conn == id && n.Kind == NoticeClosed {
			return n.Reason, true
		}
	}
	return 0, false
}

// untilClosed waits for a connection to be closed for that reason.
func (r *rig) untilClosed(id uint64, want transport.Reason) {
	r.t.Helper()
	var got transport.Reason
	r.until("a connection is closed", func() (ok bool) { got, ok = r.closed(id); return ok })
	if got != want {
		r.t.Fatalf("connection %d was closed with reason %v, want %v", id, got, want)
	}
}

// told counts the notices of a kind about a connection.
func (r *rig) told(id uint64, kind NoticeKind) (times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		if n.Conn == id && n.Kind == kind {
			times++
		}
	}
	return times
}

var _ encode.Encoder[tick, struct{}] = askEncoder{}
