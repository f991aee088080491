package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"sluice/durability"
)

// encodeOnce is the common part of servers that encode a topic frame once for all of its clients.
//
//	slots ==> gate ==> encode once for each set of topics that clients have ==> send(clients, bytes)
//
// Clients with the same topics share bytes, which are sent when there are sendChunk of them, or no
// more slots.
type encodeOnce struct {
	*Gate
	clients [][]int  // by set
	sets    [][]int  // by topic: the sets with it
	bytes   [][]byte // by set: encoded frames
	frames  []uint64 // in them
	dirty   []int    // sets with frames
	conns   []net.Conn
	ended   chan struct{} // closed when all slots are processed
	all     peerCounts
	submit  func(e *encodeOnce, set int)
	finish  func()
}

// sendChunk is the length from which on encoded frames are sent.
const sendChunk = 16 << 10

func newEncodeOnce(spec *Spec, gate *Gate, submit func(*encodeOnce, int)) *encodeOnce {
	e := &encodeOnce{Gate: gate, conns: make([]net.Conn, spec.Connections), ended: make(chan struct{}),
		submit: submit, finish: func() {}}
	e.clients, e.sets = spec.Groups()
	e.bytes, e.frames = make([][]byte, len(e.clients)), make([]uint64, len(e.clients))
	return e
}

// Engine implements Target.
func (e *encodeOnce) Engine() string { return "net" }

// Connect implements Target.
func (e *encodeOnce) Connect(id uint64, fd int) error {
	conn, err := NetConn(fd)
	if err != nil {
		return fmt.Errorf("bench: connection %d: %w", id, err)
	}
	e.conns[id-1] = conn
	return nil
}

// run processes slots until they end.
func (e *encodeOnce) run() {
	defer close(e.ended)
	defer e.finish()
	for e.Wait(0) {
		for batch := e.Poll(1024); len(batch) > 0; batch = e.Poll(1024) {
			for i := range batch {
				e.put(&batch[i])
			}
			e.Release(len(batch))
		}
		for _, set := range e.dirty {
			e.send(set)
		}
		e.dirty = e.dirty[:0]
	}
}

func (e *encodeOnce) put(s *Slot) {
	for _, set := range e.sets[s.Conn-1] {
		if len(e.bytes[set]) == 0 {
			e.dirty = append(e.dirty, set)
		}
		e.bytes[set], _ = TopicSlot(e.bytes[set], s)
		if e.frames[set]++; len(e.bytes[set]) >= sendChunk {
			e.send(set)
		}
	}
}

// send sends the frames of a set to its clients.
func (e *encodeOnce) send(set int) {
	if len(e.bytes[set]) > 0 {
		e.submit(e, set)
		e.frames[set] = 0
	}
}

// written counts a write of frames.
func (e *encodeOnce) written(frames uint64, n int, err error) {
	if err != nil {
		e.all.closed.Add(1)
		return
	}
	e.all.frames.Add(frames)
	e.all.bytes.Add(uint64(n))
	e.all.writes.Add(1)
}

// Counts implements Target.
func (e *encodeOnce) Counts() Counts {
	writes := e.all.writes.Load()
	return Counts{Frames: e.all.frames.Load(), Bytes: e.all.bytes.Load(), Sends: writes, Submits: writes,
		Closed: e.all.closed.Load()}
}

// Finish implements Target. A client that does not read ends with ctx.
func (e *encodeOnce) Finish(ctx context.Context) error {
	var err error
	select {
	case <-e.ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	for _, c := range e.conns {
		if c != nil {
			c.Close()
		}
	}
	<-e.ended
	return err
}

// newLoop returns the plain loop: encode once, then one net.Conn.Write for each client, on one
// goroutine. It waits for a client whose socket is full, and with it all others.
func newLoop(spec *Spec, gate *durability.Cursors) (Target, error) {
	e := newEncodeOnce(spec, NewGate(gate), func(e *encodeOnce, set int) {
		for _, client := range e.clients[set] {
			n, err := e.conns[client].Write(e.bytes[set])
			e.written(e.frames[set], n, err)
		}
		e.bytes[set] = e.bytes[set][:0]
	})
	go e.run()
	return e, nil
}

// chunk is bytes that several clients share.
type chunk struct {
	bytes  []byte
	frames uint64
	left   *atomic.Int64 // clients that have not sent it
}

// chunksMost is the capacity of the channel of a client.
const chunksMost = 64

// newChannels returns a server with a goroutine and a channel for each client, through which it gets
// the shared bytes. The memory of bytes that all have sent is used again.
func newChannels(spec *Spec, gate *durability.Cursors) (Target, error) {
	c := &channels{in: make([]chan chunk, spec.Connections)}
	c.encodeOnce = newEncodeOnce(spec, NewGate(gate), c.pass)
	c.finish = c.end
	for i := range c.in {
		c.in[i] = make(chan chunk, chunksMost)
	}
	go c.run()
	return c, nil
}

type channels struct {
	*encodeOnce
	in    []chan chunk // by client
	wait  sync.WaitGroup
	spare sync.Pool
}

// Connect implements Target.
func (c *channels) Connect(id uint64, fd int) error {
	if err := c.encodeOnce.Connect(id, fd); err != nil {
		return err
	}
	c.wait.Go(func() { c.serve(c.conns[id-1], c.in[id-1]) })
	return nil
}

func (c *channels) serve(conn net.Conn, in <-chan chunk) {
	for k := range in {
		n, err := conn.Write(k.bytes)
		c.written(k.frames, n, err)
		if k.left.Add(-1) == 0 {
			c.spare.Put(&k.bytes)
		}
	}
}

// pass gives the frames of a set to its clients.
func (c *channels) pass(e *encodeOnce, set int) {
	k := chunk{bytes: e.bytes[set], frames: e.frames[set], left: &atomic.Int64{}}
	k.left.Store(int64(len(e.clients[set])))
	for _, client := range e.clients[set] {
		c.in[client] <- k
	}
	e.bytes[set] = nil
	if b, ok := c.spare.Get().(*[]byte); ok {
		e.bytes[set] = (*b)[:0]
	}
}

// end waits for all goroutines.
func (c *channels) end() {
	for _, in := range c.in {
		close(in)
	}
	c.wait.Wait()
}
