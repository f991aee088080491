package main

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/cmd/internal/bench"
)

const (
	// stepMost is how many slots are encoded before they are the producer's again.
	stepMost = 1 << 10
	// batchMost is how many slots are encoded before what they wrote is sent. What a batch has for one connection shares a
	// send, and nothing makes a frame as cheap as that, so it is a slot ring. At low rates it is what there is.
	batchMost = 1 << 16
	// sendMost is the length of a connection's buffer that is sent before the batch ends, for the buffers to stay in the
	// cache. More in one send is no cheaper.
	sendMost = 32 << 10
	// patience is how long a write may be stuck before its connection is closed, in runs with clients that never read. It is
	// short, in favour of servers that wait for a client: everybody waits with them, for one such client after the other.
	// A client that reads has room for more than it gets in that time.
	patience = 50 * time.Millisecond
)

// stage is what the peers have in common: the gate, one goroutine that takes slots, and the counts.
type stage struct {
	*bench.Gate
	sent  counts
	ended chan struct{} // closed when all slots were passed on
}

// counts are written by the goroutines that send, read by the sampler.
type counts struct{ frames, bytes, sends, submits, refused, closed atomic.Uint64 }

func newStage(gate *bench.Gate) stage { return stage{Gate: gate, ended: make(chan struct{})} }

// sender is the part of a peer that differs.
type sender interface {
	// put encodes slots; they are the producer's again when it returns.
	put(slots []bench.Slot)
	// flush sends what was put.
	flush()
}

// run passes slots on until they end.
func (s *stage) run(to sender) {
	defer close(s.ended)
	for s.Wait(0) {
		s.drain(to)
	}
}

// drain passes all slots on that there are. A batch never waits for more.
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

// wait returns when the slots have ended; after ctx it calls interrupt, for that to happen soon.
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

// watch closes connections that a write is stuck in. It costs two readings of the clock a write, and nothing in runs in
// which every client reads: there, waiting for a client is what its closed window asks for.
type watch struct {
	gate  *bench.Gate
	on    bool
	id    atomic.Uint64 // written by the goroutine that writes, read by watch's: the connection
	since atomic.Int64  // written by the goroutine that writes, read by watch's: when the write began, 0 = none
}

// start begins to watch if the run has stalled clients. give is called with the connection, again and again while its
// write is stuck, from another goroutine than the one that writes, until ended is closed.
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
			// A time is never used twice, so the same time twice means that the connection between belongs to it.
			if since != 0 && w.since.Load() == since && w.gate.Now()-since > int64(patience) {
				give(id)
			}
		}
	}()
}

// begin notes that a write to the connection begins, end that it is over.
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
