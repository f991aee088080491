package main

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/bench"
)

const (
	// stepMost is the number of slots that are encoded before they are returned to the producer.
	stepMost = 1 << 10
	// batchMost is the number of slots that are encoded before their frames are sent. The frames of
	// a batch for one connection share a send, which saves more than anything else, so it is a
	// whole slot ring. At low rates a batch is what is available.
	batchMost = 1 << 16
	// sendMost is the length at which a buffer is sent before the batch ends, so that buffers stay
	// in the cache. Longer sends are no cheaper.
	sendMost = 32 << 10
	// patience is the time for which a write may be stuck before its connection is closed, in runs
	// with clients that never read. It is short, in favour of servers that wait for a client: all
	// connections wait for one such client after the other. A client that reads has room for more
	// than it gets in that time.
	patience = 50 * time.Millisecond
)

// stage is the common part of the peers: the gate, one goroutine that takes slots, and the counts.
type stage struct {
	*bench.Gate
	sent  counts
	ended chan struct{} // closed when all slots are processed
}

// counts are written by the sending goroutines and read by the sampler.
type counts struct{ frames, bytes, sends, submits, refused, closed atomic.Uint64 }

func newStage(gate *bench.Gate) stage { return stage{Gate: gate, ended: make(chan struct{})} }

// sender is the part of a peer that differs.
type sender interface {
	// put encodes slots; they are returned to the producer when it returns.
	put(slots []bench.Slot)
	// flush sends the encoded frames.
	flush()
}

// run processes slots until they end.
func (s *stage) run(to sender) {
	defer close(s.ended)
	for s.Wait(0) {
		s.drain(to)
	}
}

// drain processes all available slots. A batch never waits for more.
func (s *stage) drain(to sender) {
	n := 0
	for step := s.Poll(stepMost); len(step) > 0; step = s.Poll(stepMost) {
		to.put(step)
		s.Release(len(step))
		if n += len(step); n >= batchMost {
			to.flush()
			n = 0
		}
	}
	to.flush()
}

// Counts implements bench.Target.
func (s *stage) Counts() bench.Counts {
	c := &s.sent
	return bench.Counts{
		Frames: c.frames.Load(), Bytes: c.bytes.Load(), Sends: c.sends.Load(), Refused: c.refused.Load(),
		Submits: c.submits.Load(), Closed: c.closed.Load(),
	}
}

// wait returns when the slots have ended. When ctx ends, it calls interrupt, so that this happens
// soon.
func (s *stage) wait(ctx context.Context, interrupt func()) error {
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	interrupt()
	<-s.ended
	return ctx.Err()
}

// full reports whether a socket takes no more bytes. A write that lasts long and whose socket is not full is not
// stuck: its goroutine has had no processor.
func full(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return n == 0 && err == nil
}

// fullConn is full of a connection.
func fullConn(c syscall.Conn) (is bool) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { is = full(int(fd)) })
	}
	return is && err == nil
}

// watch closes connections whose write is stuck. It costs two readings of the clock a write, and
// nothing in runs in which every client reads: there, waiting for a client is the correct response
// to its closed window.
type watch struct {
	gate  *bench.Gate
	on    bool
	id    atomic.Uint64 // connection of the current write; written by the writing goroutine, read by that of watch
	since atomic.Int64  // begin of the current write, 0 for none; likewise
}

// start begins to watch if the run has stalled clients. Until ended is closed, give is called
// repeatedly with a connection whose write is stuck, on a goroutine other than the writing one.
func (w *watch) start(spec *bench.Spec, s *stage, give func(id uint64)) {
	w.gate, w.on = s.Gate, spec.Stalled > 0
	if !w.on {
		return
	}
	go func() {
		look := time.NewTicker(patience / 5)
		defer look.Stop()
		for {
			select {
			case <-s.ended:
				return
			case <-look.C:
			}
			since, id := w.since.Load(), w.id.Load()
			// Times are unique, so the same time before and after means that the connection read in
			// between belongs to it.
			if since != 0 && w.since.Load() == since && w.gate.Now()-since > int64(patience) {
				give(id)
			}
		}
	}()
}

// begin records the begin of a write to a connection; end records its end.
func (w *watch) begin(id uint64) {
	if w.on {
		w.id.Store(id)
		w.since.Store(w.gate.Now())
	}
}

func (w *watch) end() {
	if w.on {
		w.since.Store(0)
	}
}
