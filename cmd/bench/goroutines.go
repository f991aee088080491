package bench

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
)

// goroutines is the peer: the server that a Go programmer writes first. One goroutine takes the slots in order, holds
// each back until it is durable and puts it into the channel of its connection; each connection has a goroutine that
// encodes into a bufio.Writer and flushes when its channel is empty.
//
//	slots ==> dispatch: gate ==> channel ==> encode, bufio ==> net.Conn
//	                        \==> channel ==> encode, bufio ==> net.Conn
//
// It gets the cheap parts for nothing: slots come through the same ring, and the channels carry values.
type goroutines struct {
	ring    *mailbox.Writer[slot]
	input   *mailbox.Reader[slot]
	policy  durability.Policy
	cursors *durability.Cursors
	clock   clock
	room    int   // capacity of a channel
	patient int64 // how long a full channel is waited for, ns
	signal  *mailbox.Signal
	token   chan struct{}

	mu    sync.RWMutex
	conns map[uint64]*peerConn // filled before slots are published, then only read
	ended chan struct{}        // closed when dispatch has ended
	wait  sync.WaitGroup       // of the connections' goroutines
	all   peerCounts
}

// peerCounts are written by all connections' goroutines, once a flush, and read by the sampler.
type peerCounts struct {
	frames, bytes, writes, closed atomic.Uint64
}

const (
	peerBuffer = 16 << 10 // of a bufio.Writer
	// A connection whose channel is full and that is stuck in a write for so long is closed rather than waited for. It
	// matters only where clients never read: elsewhere slow receivers hold everybody back, which is what a closed window does.
	peerPatience = time.Second
)

func newGoroutines(spec *Spec, cursors *durability.Cursors) *goroutines {
	g := &goroutines{
		policy: durability.Local(), cursors: cursors, clock: newClock(), conns: map[uint64]*peerConn{},
		room: min(max(1<<16/spec.Connections, 256), 8192), ended: make(chan struct{}), token: make(chan struct{}, 1),
		patient: int64(peerPatience),
	}
	if spec.Stalled == 0 {
		g.patient = math.MaxInt64
	}
	g.ring, g.input = mailbox.NewSPSC[slot](1 << 16)
	g.signal = mailbox.NewSignal(g)
	g.input.SetSignal(g.signal)
	cursors.SetBell(g.signal)
	go g.dispatch()
	return g
}

// Wake implements mailbox.Waker.
func (g *goroutines) Wake() {
	select {
	case g.token <- struct{}{}:
	default: // a token is there already
	}
}

func (g *goroutines) slots() *mailbox.Writer[slot] { return g.ring }
func (g *goroutines) now() int64                   { return g.clock.now() }
func (g *goroutines) engine() string               { return "net" }

func (g *goroutines) connect(id uint64, fd int) error {
	file := os.NewFile(uintptr(fd), "client")
	conn, err := net.FileConn(file)
	if err != nil {
		file.Close()
		return fmt.Errorf("bench: connection %d: %w", id, err)
	}
	if err := file.Close(); err != nil { // FileConn made a duplicate
		conn.Close()
		return fmt.Errorf("bench: connection %d: %w", id, err)
	}
	c := &peerConn{owner: g, conn: conn, in: make(chan Report, g.room)}
	g.mu.Lock()
	g.conns[id] = c
	g.mu.Unlock()
	g.wait.Add(1)
	go c.run()
	return nil
}

// dispatch is the gate and the way to the connections.
func (g *goroutines) dispatch() {
	defer close(g.ended)
	durable := durability.Seq(0)
	for {
		batch := g.input.Batch(1024)
		n := 0
		for n < len(batch) {
			s := &batch[n]
			if s.Seq > durable && !s.Bypass {
				if durable = g.look(durable); s.Seq > durable {
					break
				}
			}
			g.mu.RLock()
			c := g.conns[s.Conn]
			g.mu.RUnlock()
			if c != nil && s.Kind == actors.KindReport {
				c.put(&s.Report)
			}
			n++
		}
		g.input.Release(n)
		if n == 0 {
			if g.input.Done() {
				return
			}
			g.sleep(durable)
		}
	}
}

// look reads the cursors as one snapshot.
func (g *goroutines) look(durable durability.Seq) durability.Seq {
	var view durability.View
	if !g.cursors.Snapshot(&view) {
		return durable
	}
	return max(durable, g.policy.Evaluate(&view).Position)
}

// sleep waits for a slot or for the cursor.
func (g *goroutines) sleep(durable durability.Seq) {
	g.signal.Prepare()
	head := g.input.Batch(1)
	if len(head) == 0 && !g.input.Done() || len(head) > 0 && head[0].Seq > g.look(durable) {
		<-g.token
	}
	g.signal.Cancel()
}

func (g *goroutines) counts() Counts {
	writes := g.all.writes.Load()
	return Counts{Frames: g.all.frames.Load(), Bytes: g.all.bytes.Load(), Sends: writes, Submits: writes, Closed: g.all.closed.Load()}
}

func (g *goroutines) finish(ctx context.Context) error {
	<-g.ended
	for _, c := range g.conns {
		close(c.in)
	}
	done := make(chan struct{})
	go func() { g.wait.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range g.conns {
		c.conn.Close() // ends the write that the goroutine is stuck in
	}
	<-done
	return ctx.Err()
}

// peerConn is one connection and its goroutine.
type peerConn struct {
	owner *goroutines
	conn  net.Conn
	in    chan Report
	since atomic.Int64 // written by run, read by dispatch: when the present write began, 0 = none
	gone  atomic.Bool  // written by run and dispatch, read by dispatch
}

// put passes a report on. A full channel makes everybody wait, unless its client has not read for a while.
func (c *peerConn) put(r *Report) {
	for !c.gone.Load() {
		select {
		case c.in <- *r:
			return
		default:
		}
		if since := c.since.Load(); since != 0 && c.owner.clock.now()-since > c.owner.patient {
			c.gone.Store(true)
			c.owner.all.closed.Add(1)
			c.conn.Close()
			return
		}
		select {
		case c.in <- *r:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *peerConn) run() {
	defer c.owner.wait.Done()
	defer c.conn.Close()
	w := bufio.NewWriterSize(c, peerBuffer)
	held := uint64(0) // frames that were not flushed
	for r := range c.in {
		if _, err := w.Write(appendFrame(w.AvailableBuffer(), &r)); err != nil {
			c.gone.Store(true)
			continue // takes what dispatch still sends
		}
		held++
		if len(c.in) > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			c.gone.Store(true)
			continue
		}
		c.owner.all.frames.Add(held)
		held = 0
	}
	if w.Flush() == nil {
		c.owner.all.frames.Add(held)
	}
}

// Write counts what bufio writes.
func (c *peerConn) Write(b []byte) (int, error) {
	c.since.Store(c.owner.clock.now())
	n, err := c.conn.Write(b)
	c.since.Store(0)
	c.owner.all.writes.Add(1)
	c.owner.all.bytes.Add(uint64(n))
	return n, err
}
