package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// bare is the limit, not a server: the shortest loop on io_uring that delivers the same frames to
// the same connections. It has no gate, no cursors and no encoding. The frames of a connection are
// prepared, and only their number and time, eight bytes each, are filled in, so that checker and
// histogram are the same. Each send carries the same number of frames, 1 or 8.
//
//	slots ==> number and time into a prepared frame ==> send ==> io_uring_enter(2)
//
// Sends of different connections share a system call while slots wait, as they do in each of the
// servers. At most one send of a connection is in flight, because a second one could overtake it
// when the socket is full. With 8 frames a send, slots that do not complete a send leave when
// nothing was published for idleMost, so that a run ends complete. Such a run is for CPU time; its
// latency means nothing.
type bare struct {
	stage
	ring *sendRing
	each uint64   // frames of a send
	room [][]byte // prepared frames, by id - 1
	size int      // bytes of a frame
}

// idleMost is the time without slots after which incomplete sends leave.
const idleMost = 10 * time.Millisecond

// newBare returns the constructor of a bare with the given number of frames in a send.
func newBare(each int) bench.NewTarget {
	return func(spec *bench.Spec, _ *durability.Cursors) (bench.Target, error) {
		if spec.Stalled > 0 {
			return nil, errors.New("bare: the limit is not defined with clients that never read; leave --stalled out")
		}
		if spec.Lag > 0 {
			return nil, errors.New("bare: the limit holds nothing back; leave --lag out")
		}
		b := &bare{stage: newStage(bench.NewGate(nil)), each: uint64(each), room: make([][]byte, spec.Connections), size: spec.Frame}
		var err error
		if b.ring, err = newSendRing(spec.Connections, &b.sent, false); err != nil {
			return nil, fmt.Errorf("bare: %w", err)
		}
		for i := range b.room {
			for range each {
				b.room[i] = bench.AppendFrame(b.room[i], &bench.Report{Conn: uint64(i) + 1, Size: int32(spec.Frame)})
			}
			b.ring.conns[i].buf = b.room[i][:0]
		}
		go b.loop()
		return b, nil
	}
}

// Engine implements bench.Target.
func (b *bare) Engine() string { return "uring" }

// Connect implements bench.Target.
func (b *bare) Connect(id uint64, fd int) error {
	b.ring.conns[id-1].fd = fd
	return nil
}

func (b *bare) loop() {
	defer close(b.ended)
	limit, last := time.Duration(0), b.Now()
	if b.each > 1 {
		limit = idleMost
	}
	for b.Wait(limit) {
		batch := b.Poll(stepMost)
		if limit > 0 && len(batch) > 0 {
			last = b.Now()
		} else if limit > 0 && b.Now()-last >= int64(limit) { // Wait can also end before the limit
			b.rest()
			last = b.Now()
		}
		for ; len(batch) > 0; batch = b.Poll(stepMost) {
			b.put(batch)
			b.Release(len(batch))
			b.ring.flush()
		}
	}
	b.rest()
}

func (b *bare) put(slots []bench.Slot) {
	for i := range slots {
		r := &slots[i].Report
		to := &b.ring.conns[r.Conn-1]
		if to.flying.Load() {
			b.ring.flush()
		}
		at := len(to.buf)
		to.buf = to.buf[:at+b.size]
		bench.RenumberFrame(to.buf[at:], r.Seq, r.Stamp)
		if to.frames++; to.frames == b.each {
			b.ring.send(uint32(r.Conn - 1))
		}
	}
}

// rest sends incomplete sends.
func (b *bare) rest() {
	for i := range b.ring.conns {
		b.ring.send(uint32(i))
	}
	b.ring.flush()
}

// Finish implements bench.Target.
func (b *bare) Finish(ctx context.Context) error {
	err := b.wait(ctx, func() { b.ring.interrupt(false) })
	b.ring.close()
	return err
}
