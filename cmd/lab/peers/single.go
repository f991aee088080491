package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// single is one goroutine that does everything with net.Conn: gate, encoding into the buffer of the
// connection, and one Write for each connection of a batch.
//
//	slots ==> gate ==> encode ==> buffer of the connection ==> net.Conn.Write
//
// This is its best form because nothing is handed over: no channel, no wake-up, one system call for
// all frames of a connection in a batch, and the buffers are reused. The runtime's poller is used
// only when a socket is full; then the goroutine waits, and with it all other connections.
type single struct {
	stage
	conns []singleConn // by id - 1; filled before slots are published
	dirty []uint32     // indices of connections with data in their buffer, some twice
	watch watch
}

type singleConn struct {
	net    net.Conn
	buf    []byte
	frames uint64 // in buf
	gone   bool
}

func newSingle(spec *bench.Spec, cursors *durability.Cursors) (bench.Target, error) {
	s := &single{stage: newStage(bench.NewGate(cursors)), conns: make([]singleConn, spec.Connections)}
	s.watch.start(spec, &s.stage, func(id uint64) {
		if c := s.conns[id].net; fullConn(c.(syscall.Conn)) {
			c.Close()
		}
	})
	go s.run(s)
	return s, nil
}

// Engine implements bench.Target.
func (s *single) Engine() string { return "net" }

// Connect implements bench.Target.
func (s *single) Connect(id uint64, fd int) error {
	conn, err := bench.NetConn(fd)
	if err != nil {
		return fmt.Errorf("single: connection %d: %w", id, err)
	}
	s.conns[id-1].net = conn
	return nil
}

func (s *single) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		c := &s.conns[r.Conn-1]
		if len(c.buf) == 0 {
			s.dirty = append(s.dirty, uint32(r.Conn-1))
		}
		c.buf = bench.AppendFrame(c.buf, r)
		c.frames++
		if len(c.buf) >= sendMost {
			s.write(uint32(r.Conn - 1))
		}
	}
}

func (s *single) flush() {
	for _, i := range s.dirty {
		s.write(i)
	}
	s.dirty = s.dirty[:0]
}

func (s *single) write(i uint32) {
	c := &s.conns[i]
	if len(c.buf) > 0 && !c.gone {
		s.watch.begin(uint64(i))
		n, err := c.net.Write(c.buf)
		s.watch.end()
		s.sent.sends.Add(1)
		s.sent.submits.Add(1)
		s.sent.bytes.Add(uint64(n))
		if err == nil {
			s.sent.frames.Add(c.frames)
		} else {
			c.gone = true
			s.sent.closed.Add(1)
		}
	}
	c.buf, c.frames = c.buf[:0], 0
}

// Finish implements bench.Target.
func (s *single) Finish(ctx context.Context) error {
	end := func() {
		for i := range s.conns {
			if s.conns[i].net != nil {
				s.conns[i].net.Close()
			}
		}
	}
	defer end()
	if err := s.wait(ctx, end); err != nil {
		return errors.Join(err, errors.New("single: a client did not read the rest"))
	}
	return nil
}
