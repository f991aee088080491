package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/durability"
)

// goroutines is the plain Go server. One goroutine takes the slots in order, holds each back until
// it is durable and sends it to the channel of its connection. Each connection has a goroutine that
// encodes into a bufio.Writer and flushes when its channel is empty.
//
//	slots ==> dispatch: gate ==> channel ==> encode, bufio ==> net.Conn
//	                        \==> channel ==> encode, bufio ==> net.Conn
//
// It has two advantages: slots arrive through the same ring, and the channels carry values.
type goroutines struct {
	*Gate
	room    int   // capacity of a channel
	patient int64 // longest wait for a full channel, ns

	mu    sync.RWMutex
	conns map[uint64]*peerConn // guarded by mu
	ended chan struct{}        // closed when dispatch has ended
	wait  sync.WaitGroup       // goroutines of connections
	all   peerCounts
}

// peerCounts are written by the goroutines of all connections, once per flush, and read by the
// sampler.
type peerCounts struct {
	frames, bytes, writes, closed atomic.Uint64
}

const (
	peerBuffer = 16 << 10 // bytes of a bufio.Writer
	// A connection with a full channel whose write has been blocked for this time is closed. It
	// applies only if clients never read. Otherwise a slow receiver delays all connections, as a
	// closed window does.
	peerPatience = time.Second
)

func newGoroutines(spec *Spec, cursors *durability.Cursors) (Target, error) {
	g := &goroutines{
		Gate: NewGate(cursors), conns: map[uint64]*peerConn{}, ended: make(chan struct{}),
		room: min(max(1<<16/spec.Connections, 256), 8192), patient: int64(peerPatience),
	}
	if spec.Stalled == 0 {
		g.patient = math.MaxInt64
	}
	go g.dispatch()
	return g, nil
}

// Engine implements Target.
func (g *goroutines) Engine() string { return "net" }

// Connect implements Target.
func (g *goroutines) Connect(id uint64, fd int) error {
	conn, err := NetConn(fd)
	if err != nil {
		return fmt.Errorf("bench: connection %d: %w", id, err)
	}
	g.serve(id, conn)
	return nil
}

// serve starts the goroutine of a connection.
func (g *goroutines) serve(id uint64, conn net.Conn) {
	c := &peerConn{owner: g, conn: conn, in: make(chan Report, g.room)}
	g.mu.Lock()
	g.conns[id] = c
	g.mu.Unlock()
	g.wait.Add(1)
	go c.run()
}

// NetConn returns a net.Conn of a socket. It closes the descriptor, even on an error.
func NetConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "client")
	conn, err := net.FileConn(file) // of a duplicate
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return conn, nil
}

// dispatch passes slots from the gate to the connections.
func (g *goroutines) dispatch() {
	defer close(g.ended)
	for g.Wait(0) {
		for batch := g.Poll(1024); len(batch) > 0; batch = g.Poll(1024) {
			for i := range batch {
				s := &batch[i]
				g.mu.RLock() // until the report is in the channel, which Leave closes
				if c := g.conns[s.Conn]; c != nil {
					c.put(&s.Report)
				}
				g.mu.RUnlock()
			}
			g.Release(len(batch))
		}
	}
}

// Counts implements Target.
func (g *goroutines) Counts() Counts {
	writes := g.all.writes.Load()
	return Counts{Frames: g.all.frames.Load(), Bytes: g.all.bytes.Load(), Sends: writes,
		Submits: writes, Closed: g.all.closed.Load()}
}

// Finish implements Target.
func (g *goroutines) Finish(ctx context.Context) error {
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
		c.conn.Close() // unblocks the write of its goroutine
	}
	<-done
	return ctx.Err()
}

// peerConn is one connection and its goroutine.
type peerConn struct {
	owner *goroutines
	conn  net.Conn
	in    chan Report
	since atomic.Int64 // written by run, read by dispatch: start of the current write, 0 for none
	gone  atomic.Bool  // written by run and dispatch, read by dispatch
}

// put sends a report to the channel. It waits for a full channel unless the client has not read for
// too long.
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
	held := uint64(0) // frames not flushed yet
	for r := range c.in {
		if _, err := w.Write(AppendFrame(w.AvailableBuffer(), &r)); err != nil {
			c.gone.Store(true)
			continue // drains what dispatch still sends
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

// Write counts the writes of bufio.
func (c *peerConn) Write(b []byte) (int, error) {
	c.since.Store(c.owner.clock.now())
	n, err := c.conn.Write(b)
	c.since.Store(0)
	c.owner.all.writes.Add(1)
	c.owner.all.bytes.Add(uint64(n))
	return n, err
}
