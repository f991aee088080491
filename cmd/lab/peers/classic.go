package main

import (
	"context"
	"errors"
	"fmt"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// classic is the response stage on io_uring as it is usually built: one goroutine passes the slots
// through the gate, encodes them into the buffers of their connections, queues a send for every
// connection of the batch, submits all of them in one system call and waits until they have
// completed, so that the buffers are free again.
//
//	slots ==> gate ==> encode ==> buffer of the connection ==> send ==> io_uring_enter(2), wait for all
//
// This is its best form: a ring with room for every connection, completions taken from memory,
// sends that run inside the one system call while sockets have room, MSG_WAITALL so that the kernel
// continues a short one. Its limit is its design: one client that does not read stops it.
type classic struct {
	stage
	ring  *sendRing
	dirty []uint32 // indices of connections with data in their buffer
	watch watch
}

func newClassic(spec *bench.Spec, cursors *durability.Cursors) (bench.Target, error) {
	c := &classic{stage: newStage(bench.NewGate(cursors))}
	var err error
	if c.ring, err = newSendRing(spec.Connections, &c.sent, spec.Stalled > 0); err != nil {
		return nil, fmt.Errorf("classic: %w", err)
	}
	c.watch.start(spec, &c.stage, func(uint64) { c.ring.interrupt(true) })
	go c.run(c)
	return c, nil
}

// Engine implements bench.Target.
func (c *classic) Engine() string { return "uring" }

// Connect implements bench.Target.
func (c *classic) Connect(id uint64, fd int) error {
	c.ring.conns[id-1].fd = fd
	return nil
}

func (c *classic) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		to := &c.ring.conns[r.Conn-1]
		if to.frames == 0 {
			c.dirty = append(c.dirty, uint32(r.Conn-1))
		}
		to.buf = bench.AppendFrame(to.buf, r)
		to.frames++
		if len(to.buf) >= sendMost {
			c.flush()
		}
	}
}

func (c *classic) flush() {
	for _, i := range c.dirty {
		c.ring.send(i)
	}
	c.dirty = c.dirty[:0]
	c.watch.begin(0)
	c.ring.flush()
	c.watch.end()
}

// Finish implements bench.Target.
func (c *classic) Finish(ctx context.Context) error {
	err := c.wait(ctx, func() { c.ring.interrupt(false) })
	c.ring.close()
	if err != nil {
		return errors.Join(err, errors.New("classic: a client did not read the rest"))
	}
	return nil
}
