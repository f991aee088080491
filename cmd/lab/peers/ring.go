package main

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// sendRing sends on io_uring(7) and waits for completion: at most one send of a connection is in
// flight, and none when flush returns. It belongs to one goroutine, and so do the buffers, which
// the kernel reads during flush only.
type sendRing struct {
	ring    *giouring.Ring
	sent    *counts
	conns   []ringConn // by id - 1
	entries int        // most sends in flight
	flying  int        // sends that are queued and have not completed
	watched bool       // completions are processed one by one, so that flying of each connection is exact
	each    func(*giouring.CompletionQueueEvent)
	seen    uint32
}

// ringConn is a connection of a sendRing.
type ringConn struct {
	fd     int
	buf    []byte // bytes to send
	done   int    // sent bytes of buf
	frames uint64 // in buf
	gone   bool
	flying atomic.Bool // written by the owner, read by a watch
}

// ringEntries is the number of sends that share a system call, unless one for each connection is
// less.
const ringEntries = 4096

func newSendRing(connections int, sent *counts, watched bool) (*sendRing, error) {
	entries := 8
	for entries < min(connections, ringEntries) {
		entries *= 2
	}
	r := &sendRing{ring: giouring.NewRing(), sent: sent, conns: make([]ringConn, connections), watched: watched, entries: entries}
	// No flags: they make no difference to sends that run inside the system call, and those that
	// tie a ring to one thread would tie the goroutine too.
	if err := r.ring.QueueInit(uint32(entries), 0); err != nil {
		return nil, fmt.Errorf("io_uring_setup(%d entries): %w", entries, err)
	}
	r.each = r.complete
	return r, nil
}

// send queues the buffer of a connection, and flushes first if the queue is full. The buffer must
// not change until flush has returned.
func (r *sendRing) send(i uint32) {
	c := &r.conns[i]
	if c.gone || len(c.buf) == 0 {
		c.buf, c.frames = c.buf[:0], 0
		return
	}
	if r.flying == r.entries {
		r.flush()
	}
	c.flying.Store(true)
	r.flying++
	r.queue(i, c)
}

func (r *sendRing) queue(i uint32, c *ringConn) {
	entry := r.ring.GetSQE()
	if entry == nil {
		panic(fmt.Sprintf("peers: no entry for a send with %d of %d under way", r.flying, r.entries))
	}
	*entry = giouring.SubmissionQueueEntry{} // the library does not clear fields of the last use
	rest := c.buf[c.done:]
	entry.PrepareSend(c.fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uint32(len(rest)), unix.MSG_NOSIGNAL|unix.MSG_WAITALL)
	entry.UserData = uint64(i)
}

// flush submits all queued sends and waits until they are complete, including the rest of short
// sends.
func (r *sendRing) flush() {
	for r.flying > 0 {
		wait := r.flying
		if r.watched {
			wait = 1
		}
		r.enter(uint32(wait))
		r.reap()
	}
}

// enter submits, and waits for a number of completions.
func (r *sendRing) enter(wait uint32) {
	_, err := r.ring.SubmitAndWait(wait)
	r.sent.submits.Add(1)
	switch err {
	case nil, unix.EINTR, unix.EAGAIN, unix.EBUSY: // flush counts completions and calls again
	default:
		panic(fmt.Sprintf("peers: io_uring_enter with %d sends: %v", r.flying, err))
	}
}

func (r *sendRing) reap() {
	r.seen = 0
	r.ring.ForEachCQE(r.each)
	r.ring.CQAdvance(r.seen)
}

// complete processes the result of one send.
func (r *sendRing) complete(e *giouring.CompletionQueueEvent) {
	r.seen++
	i, n := uint32(e.UserData), int(e.Res)
	c := &r.conns[i]
	switch {
	case n > 0:
		r.sent.sends.Add(1)
		r.sent.bytes.Add(uint64(n))
		if c.done += n; c.done == len(c.buf) {
			r.sent.frames.Add(c.frames)
			break
		}
		r.queue(i, c)
		return
	case n == -int(unix.EAGAIN), n == -int(unix.EINTR):
		r.sent.refused.Add(1)
		r.queue(i, c)
		return
	default:
		c.gone = true
		r.sent.closed.Add(1)
	}
	c.buf, c.done, c.frames = c.buf[:0], 0, 0
	c.flying.Store(false)
	r.flying--
}

// interrupt ends the sends in flight with an error, or those to full sockets alone. Any goroutine may call it
// while flush waits.
func (r *sendRing) interrupt(stuck bool) {
	for i := range r.conns {
		if c := &r.conns[i]; c.flying.Load() && (!stuck || full(c.fd)) {
			_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // an error means that the client has closed already
		}
	}
}

// close releases the ring; no send may be in flight.
func (r *sendRing) close() {
	r.ring.QueueExit()
	for i := range r.conns {
		if fd := r.conns[i].fd; fd > 0 {
			unix.Close(fd)
		}
	}
}
