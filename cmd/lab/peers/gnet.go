package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// gnetPeer is panjf2000/gnet: its event loop runs a task that passes all available slots through
// the gate, encodes them into buffers of their connections, and writes to every connection that has
// some. Then it is an event loop again, until new slots queue the task.
//
//	slots ==(wake-up queues a task)==> event loop: gate ==> encode ==> buffer of the connection ==> Conn.Write
//
// This is its best form: only the event loop may write directly. AsyncWrite, which is for other
// goroutines, allocates and queues a task for each connection and copies when it runs; here a batch
// costs one task. A goroutine for the gate that distributes reports to two loops was measured as
// well: on two cores it costs a tenth to a half more CPU per frame. A full socket delays no other
// connection: gnet buffers the rest and writes it when the socket has room. A connection with more
// than keepMost buffered is closed, which is the limit of sluice in this benchmark.
type gnetPeer struct {
	gnet.BuiltinEventEngine
	stage
	client *gnet.Client
	loop   gnet.EventLoop        // set by the first Connect
	conns  []gnetConn            // by id - 1; conn is set before slots are published, the rest belongs to the event loop
	dirty  []uint32              // of the event loop: indices of connections with data in their buffer, some twice
	over   bool                  // of the event loop: ended is closed
	failed atomic.Pointer[error] // written by wake, read by Finish
}

// keepMost is the limit for the bytes that gnet buffers for a connection.
const keepMost = 32 << 20

type gnetConn struct {
	conn   gnet.Conn
	buf    []byte
	frames uint64 // in buf
	kept   uint64 // frames of which gnet still buffers a part
	gone   bool
}

func newGnet(spec *bench.Spec, cursors *durability.Cursors) (bench.Target, error) {
	g := &gnetPeer{stage: newStage(bench.NewGate(cursors)), conns: make([]gnetConn, spec.Connections)}
	var err error
	// The default logger would write to standard output, which carries the reports.
	g.client, err = gnet.NewClient(g, gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(zap.NewNop().Sugar()))
	if err != nil {
		return nil, fmt.Errorf("gnet: %w", err)
	}
	if err := g.client.Start(); err != nil {
		return nil, fmt.Errorf("gnet: %w", err)
	}
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
	g.conns[id-1].conn = conn
	if g.loop == nil {
		g.loop = conn.EventLoop()
		g.OnWake(g.wake)
		g.wake()
	}
	return nil
}

// wake queues Run.
func (g *gnetPeer) wake() {
	if err := g.loop.Execute(context.Background(), g); err != nil {
		g.failed.Store(&err)
	}
}

// OnClose implements gnet.EventHandler, on the event loop.
func (g *gnetPeer) OnClose(conn gnet.Conn, _ error) gnet.Action {
	if id, ok := conn.Context().(uint64); ok {
		g.conns[id-1].gone = true
		g.sent.closed.Add(1)
	}
	return gnet.None
}

// Run implements gnet.Runnable, on the event loop.
func (g *gnetPeer) Run(context.Context) error {
	for {
		g.drain(g)
		g.sent.submits.Add(1)
		if g.Done() {
			if !g.over {
				g.over = true
				close(g.ended)
			}
			return nil
		}
		if g.Arm() {
			return nil
		}
	}
}

func (g *gnetPeer) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		c := &g.conns[r.Conn-1]
		if c.gone {
			continue
		}
		if len(c.buf) == 0 {
			g.dirty = append(g.dirty, uint32(r.Conn-1))
		}
		c.buf = bench.AppendFrame(c.buf, r)
		c.frames++
		if len(c.buf) >= sendMost {
			g.write(c)
		}
	}
}

func (g *gnetPeer) flush() {
	for _, i := range g.dirty {
		g.write(&g.conns[i])
	}
	g.dirty = g.dirty[:0]
}

// write sends the buffer of a connection. A frame counts as sent when gnet buffers no part of it.
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
			_ = g.loop.Close(c.conn) // OnClose counts this
		default:
			c.kept += c.frames
		}
	}
	c.buf, c.frames = c.buf[:0], 0
}

// Finish implements bench.Target.
func (g *gnetPeer) Finish(ctx context.Context) error {
	var err error
	if g.loop != nil {
		err = g.wait(ctx, func() {})
	}
	if failed := g.failed.Load(); failed != nil {
		err = errors.Join(err, fmt.Errorf("gnet: waking the event loop: %w", *failed))
	}
	if stopped := g.client.Stop(); stopped != nil {
		err = errors.Join(err, fmt.Errorf("gnet: %w", stopped))
	}
	return err
}
