package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"sluice/cmd/bench"
	"sluice/durability"
)

// gnetPeer is panjf2000/gnet: one goroutine takes the slots through the gate and deals a batch's reports out to the event
// loops, one for each core; a loop encodes them into a buffer of the connection and writes to every connection that it got
// reports for.
//
//	slots ==> gate ==> reports of loop 0 ==> loop 0: encode ==> buffer of the connection ==> Conn.Write
//	              \==> reports of loop 1 ==> loop 1: encode ==> buffer of the connection ==> Conn.Write
//
// This is its best form: only the event loop may write directly, and AsyncWrite, which is for other goroutines, allocates
// and queues a task for each connection and keeps the bytes until it ran. Here a batch costs one task and one wake-up for
// each loop, nothing at all while the last task has not run, and the loops encode in parallel. A full socket makes nobody
// wait: gnet keeps the rest and writes it when the socket has room. A connection for which it keeps more than keepMost is
// closed, the limit that sluice gets in this benchmark.
type gnetPeer struct {
	gnet.BuiltinEventEngine
	stage
	client *gnet.Client
	conns  []gnetConn // by id - 1; conn and loop are filled before slots are published
	loops  []*gnetLoop
}

const (
	keepMost = 32 << 20
	// dealtMost is how many reports may wait for a loop before the gate waits: a slot ring of them.
	dealtMost = 1 << 16
)

// gnetConn is a connection. What follows loop belongs to the event loop.
type gnetConn struct {
	conn   gnet.Conn
	loop   *gnetLoop
	buf    []byte
	frames uint64 // in buf
	kept   uint64 // frames that gnet keeps a part of
	gone   bool
}

// gnetLoop is the way to one event loop.
type gnetLoop struct {
	owner *gnetPeer
	loop  gnet.EventLoop
	own   []bench.Report // of the gate's goroutine: what it will deal
	dirty []uint32       // of the event loop: indices of connections with something in their buffer, some twice

	mu     sync.Mutex
	roomy  sync.Cond      // with mu: dealt has become shorter
	dealt  []bench.Report // with mu
	asked  bool           // with mu: a task that takes dealt is queued
	spare  []bench.Report // of the event loop: the dealt before
	failed error          // with mu: the loop takes no tasks any more
}

func newGnet(spec *bench.Spec, cursors *durability.Cursors) (bench.Target, error) {
	g := &gnetPeer{stage: newStage(bench.NewGate(cursors)), conns: make([]gnetConn, spec.Connections)}
	var err error
	// Its own logger would write to the standard output, which carries the reports.
	g.client, err = gnet.NewClient(g, gnet.WithMulticore(true), gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(zap.NewNop().Sugar()))
	if err != nil {
		return nil, fmt.Errorf("gnet: %w", err)
	}
	if err := g.client.Start(); err != nil {
		return nil, fmt.Errorf("gnet: %w", err)
	}
	go g.run(g)
	return g, nil
}

// Engine implements bench.Target.
func (g *gnetPeer) Engine() string { return "gnet" }

// Connect implements bench.Target. The library duplicates the descriptor.
func (g *gnetPeer) Connect(id uint64, fd int) error {
	file, err := bench.NetConn(fd)
	if err != nil {
		return fmt.Errorf("gnet: connection %d: %w", id, err)
	}
	conn, err := g.client.EnrollContext(file, id)
	if err != nil {
		return fmt.Errorf("gnet: connection %d: %w", id, err)
	}
	c := &g.conns[id-1]
	c.conn = conn
	for _, l := range g.loops {
		if l.loop == conn.EventLoop() {
			c.loop = l
			return nil
		}
	}
	c.loop = &gnetLoop{owner: g, loop: conn.EventLoop()}
	c.loop.roomy.L = &c.loop.mu
	g.loops = append(g.loops, c.loop)
	return nil
}

// OnClose implements gnet.EventHandler, on the event loop of the connection.
func (g *gnetPeer) OnClose(conn gnet.Conn, _ error) gnet.Action {
	if id, ok := conn.Context().(uint64); ok {
		g.conns[id-1].gone = true
		g.sent.closed.Add(1)
	}
	return gnet.None
}

func (g *gnetPeer) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		l := g.conns[r.Conn-1].loop
		l.own = append(l.own, *r)
	}
}

func (g *gnetPeer) flush() {
	for _, l := range g.loops {
		if len(l.own) > 0 {
			l.deal()
		}
	}
}

// deal gives the loop what put collected. It waits while the loop has too much.
func (l *gnetLoop) deal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.dealt) >= dealtMost && l.failed == nil {
		l.roomy.Wait()
	}
	if len(l.dealt) == 0 {
		l.dealt, l.own = l.own, l.dealt
	} else {
		l.dealt = append(l.dealt, l.own...)
	}
	l.own = l.own[:0]
	if !l.asked && l.failed == nil {
		l.asked = true
		l.failed = l.loop.Execute(context.Background(), l)
	}
}

// Run implements gnet.Runnable, on the event loop.
func (l *gnetLoop) Run(context.Context) error {
	l.mu.Lock()
	reports := l.dealt
	l.dealt, l.spare, l.asked = l.spare[:0], reports, false
	l.mu.Unlock()
	l.roomy.Signal()
	g := l.owner
	for i := range reports {
		r := &reports[i]
		c := &g.conns[r.Conn-1]
		if c.gone {
			continue
		}
		if len(c.buf) == 0 {
			l.dirty = append(l.dirty, uint32(r.Conn-1))
		}
		c.buf = bench.AppendFrame(c.buf, r)
		c.frames++
		if len(c.buf) >= sendMost {
			g.write(c)
		}
	}
	g.sent.submits.Add(1)
	for _, i := range l.dirty {
		g.write(&g.conns[i])
	}
	l.dirty = l.dirty[:0]
	return nil
}

// write sends the connection's buffer, on its event loop. A frame counts when gnet has nothing left of it.
func (g *gnetPeer) write(c *gnetConn) {
	if len(c.buf) > 0 && !c.gone {
		if c.conn.OutboundBuffered() == 0 {
			g.sent.sends.Add(1)
			g.sent.frames.Add(c.kept)
			c.kept = 0
		}
		n, err := c.conn.Write(c.buf) // an error has closed the connection
		g.sent.bytes.Add(uint64(n))
		switch left := c.conn.OutboundBuffered(); {
		case err != nil:
		case left == 0:
			g.sent.frames.Add(c.frames)
		case left > keepMost:
			_ = c.loop.loop.Close(c.conn) // OnClose counts it
		default:
			c.kept += c.frames
		}
	}
	c.buf, c.frames = c.buf[:0], 0
}

// Finish implements bench.Target.
func (g *gnetPeer) Finish(ctx context.Context) error {
	err := g.wait(ctx, func() {
		for _, l := range g.loops {
			l.mu.Lock()
			l.failed = context.Cause(ctx)
			l.mu.Unlock()
			l.roomy.Signal()
		}
	})
	// A task that is queued now runs after those that deliver the rest.
	done := sync.WaitGroup{}
	for _, l := range g.loops {
		done.Add(1)
		if failed := l.loop.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error { done.Done(); return nil })); failed != nil {
			done.Done()
			err = errors.Join(err, fmt.Errorf("gnet: ending an event loop: %w", failed))
		}
	}
	done.Wait()
	if stopped := g.client.Stop(); stopped != nil {
		err = errors.Join(err, fmt.Errorf("gnet: %w", stopped))
	}
	return err
}
