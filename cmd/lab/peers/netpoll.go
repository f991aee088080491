package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloudwego/netpoll"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// netpoller is cloudwego/netpoll: one goroutine passes the slots through the gate, encodes each
// frame in place into the LinkBuffer of its connection and flushes every connection of a batch.
//
//	slots ==> gate ==> encode in Writer().Malloc ==> Flush: sendmsg(2) of the buffer's blocks
//
// This is its best form for a stage that only responds: Malloc and Flush are the library's path
// without a copy, its blocks come from its own pool, and Flush sends at once on the calling
// goroutine, where its pollers would add a wake-up. Buffers are flushed at 32 KiB, because a Flush
// sends at most 32 blocks of 4 KiB and otherwise waits for a poller to send the rest. A Flush to a
// full socket waits for the client.
type netpoller struct {
	stage
	conns []netpollConn // by id - 1; filled before slots are published
	dirty []uint32      // indices of connections with data in their buffer, some twice
	watch watch
}

type netpollConn struct {
	conn   netpoll.Connection
	writer netpoll.Writer
	frames uint64 // in the buffer
	bytes  int    // in the buffer
	gone   bool
}

func newNetpoll(spec *bench.Spec, cursors *durability.Cursors) (bench.Target, error) {
	n := &netpoller{stage: newStage(bench.NewGate(cursors)), conns: make([]netpollConn, spec.Connections)}
	n.watch.start(spec, &n.stage, func(id uint64) {
		if c := n.conns[id].conn; full(c.(netpoll.Conn).Fd()) {
			c.Close()
		}
	})
	go n.run(n)
	return n, nil
}

// Engine implements bench.Target.
func (n *netpoller) Engine() string { return "netpoll" }

// Connect implements bench.Target.
func (n *netpoller) Connect(id uint64, fd int) error {
	conn, err := netpoll.NewFDConnection(fd)
	if err != nil {
		return fmt.Errorf("netpoll: connection %d: %w", id, err)
	}
	n.conns[id-1] = netpollConn{conn: conn, writer: conn.Writer()}
	return nil
}

func (n *netpoller) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		c := &n.conns[r.Conn-1]
		if c.gone {
			continue
		}
		room, err := c.writer.Malloc(int(r.Size))
		if err != nil {
			n.lose(c)
			continue
		}
		bench.AppendFrame(room[:0], r)
		if c.frames == 0 {
			n.dirty = append(n.dirty, uint32(r.Conn-1))
		}
		c.frames++
		c.bytes += int(r.Size)
		if c.bytes >= sendMost {
			n.write(uint32(r.Conn - 1))
		}
	}
}

func (n *netpoller) flush() {
	for _, i := range n.dirty {
		n.write(i)
	}
	n.dirty = n.dirty[:0]
}

func (n *netpoller) write(i uint32) {
	c := &n.conns[i]
	if c.frames == 0 || c.gone {
		return
	}
	n.watch.begin(uint64(i))
	err := c.writer.Flush()
	n.watch.end()
	n.sent.sends.Add(1)
	n.sent.submits.Add(1)
	if err != nil {
		n.lose(c)
		return
	}
	n.sent.bytes.Add(uint64(c.bytes))
	n.sent.frames.Add(c.frames)
	c.frames, c.bytes = 0, 0
}

func (n *netpoller) lose(c *netpollConn) {
	c.gone = true
	n.sent.closed.Add(1)
}

// Finish implements bench.Target.
func (n *netpoller) Finish(ctx context.Context) error {
	end := func() {
		for i := range n.conns {
			if n.conns[i].conn != nil {
				n.conns[i].conn.Close()
			}
		}
	}
	defer end()
	if err := n.wait(ctx, end); err != nil {
		return errors.Join(err, errors.New("netpoll: a client did not read the rest"))
	}
	return nil
}
