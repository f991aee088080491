package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"

	"sluice/cmd/internal/bench"
	"sluice/durability"
)

// tape is the limit for topics, not a server: the shortest loop on io_uring that sends each client
// the bytes of a shared ring from its cursor to the head. It has no gate, no durability cursors, no encoding,
// no limits and no accounting. A round queues a send for each client that is behind, all of which
// share a system call.
//
//	slots ==> number and time into a prepared frame ==> | ring of bytes | ==> send for each cursor
//
// It has one ring, so all clients have the same topics. It waits for the slowest.
type tape struct {
	stage
	ring   *giouring.Ring
	memory []byte
	frame  []byte   // prepared
	size   uint64   // bytes of a frame
	head   uint64   // bytes so far
	fds    []int    // by client
	cursor []uint64 // by client: bytes sent
	flying []bool   // by client
}

const (
	tapeBytes = 8 << 20  // of the ring
	tapeSend  = 64 << 10 // largest send; a frame that begins within the ring ends within tapeBytes+tapeSend
	tapePause = 20 * time.Microsecond
)

func newTape(spec *bench.Spec, _ *durability.Cursors) (bench.Target, error) {
	if spec.Fan.Each != spec.Fan.Topics {
		return nil, fmt.Errorf("tape: clients of %d of %d topics do not have the same bytes; use --each %d",
			spec.Fan.Each, spec.Fan.Topics, spec.Fan.Topics)
	}
	if spec.Lag > 0 {
		return nil, errors.New("tape: the limit holds nothing back; leave --lag out")
	}
	t := &tape{stage: newStage(bench.NewGate(nil)), ring: giouring.NewRing(), size: uint64(spec.Frame),
		fds: make([]int, spec.Connections), cursor: make([]uint64, spec.Connections), flying: make([]bool, spec.Connections)}
	t.memory = make([]byte, tapeBytes/t.size*t.size)
	t.frame = bench.AppendTopicFrame(nil, 0, 0, &bench.Report{Size: int32(spec.Frame - bench.TopicExtra)})
	if err := t.ring.QueueInit(ringEntries, 0); err != nil {
		return nil, fmt.Errorf("tape: io_uring_setup(%d entries): %w", ringEntries, err)
	}
	go t.loop()
	return t, nil
}

// Engine implements bench.Target.
func (t *tape) Engine() string { return "uring" }

// Connect implements bench.Target.
func (t *tape) Connect(id uint64, fd int) error {
	t.fds[id-1] = fd
	return nil
}

func (t *tape) loop() {
	defer close(t.ended)
	for t.Wait(0) {
		for behind := true; behind; {
			slowest := t.slowest()
			room := (uint64(len(t.memory)) - tapeSend - (t.head - slowest)) / t.size
			batch := t.Poll(int(min(room, stepMost)))
			t.put(batch)
			t.Release(len(batch))
			if behind = slowest != t.head || len(batch) > 0; behind && t.round() == 0 {
				time.Sleep(tapePause)
			}
		}
	}
}

func (t *tape) slowest() uint64 {
	slowest := t.head
	for _, c := range t.cursor {
		slowest = min(slowest, c)
	}
	return slowest
}

// put appends the frames of slots.
func (t *tape) put(slots []bench.Slot) {
	for i := range slots {
		s := &slots[i]
		at := t.memory[t.head%uint64(len(t.memory)):]
		copy(at, t.frame)
		binary.LittleEndian.PutUint64(at[6:], s.Conn)
		binary.LittleEndian.PutUint64(at[14:], s.Request)
		bench.RenumberFrame(at[bench.TopicExtra:], s.Report.Seq, s.Report.Stamp)
		t.head += t.size
	}
}

// round sends to each client that is behind, and returns the number of sends that took bytes.
func (t *tape) round() (took int) {
	queued := 0
	for i, cursor := range t.cursor {
		if t.flying[i] || cursor == t.head {
			continue
		}
		entry := t.ring.GetSQE()
		if entry == nil {
			break // the rest is for the next round
		}
		at := cursor % uint64(len(t.memory))
		run := t.memory[at:min(at+min(t.head-cursor, tapeSend), uint64(len(t.memory)))]
		*entry = giouring.SubmissionQueueEntry{} // the library does not clear fields of the last use
		entry.PrepareSend(t.fds[i], uintptr(unsafe.Pointer(unsafe.SliceData(run))), uint32(len(run)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		entry.UserData = uint64(i)
		t.flying[i] = true
		queued++
	}
	if queued > 0 {
		if _, err := t.ring.Submit(); err != nil && err != unix.EINTR && err != unix.EAGAIN && err != unix.EBUSY {
			panic(fmt.Sprintf("peers: io_uring_enter with %d sends: %v", queued, err))
		}
		t.sent.submits.Add(1)
	}
	seen := uint32(0)
	t.ring.ForEachCQE(func(e *giouring.CompletionQueueEvent) {
		seen++
		if t.complete(uint32(e.UserData), int(e.Res)) {
			took++
		}
	})
	t.ring.CQAdvance(seen)
	return took
}

// complete processes the result of a send, and reports whether it took bytes.
func (t *tape) complete(i uint32, n int) bool {
	t.flying[i] = false
	switch {
	case n > 0:
		before := t.cursor[i] / t.size
		t.cursor[i] += uint64(n)
		t.sent.sends.Add(1)
		t.sent.bytes.Add(uint64(n))
		t.sent.frames.Add(t.cursor[i]/t.size - before)
		return true
	case n == -int(unix.EAGAIN), n == -int(unix.EINTR):
		t.sent.refused.Add(1)
		return false
	}
	t.sent.closed.Add(1)
	t.flying[i], t.cursor[i] = true, 1<<63 // it is sent nothing more
	return false
}

// Finish implements bench.Target.
func (t *tape) Finish(ctx context.Context) error {
	err := t.wait(ctx, func() {
		for _, fd := range t.fds {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // an error means that the client has closed already
		}
	})
	t.ring.QueueExit()
	for _, fd := range t.fds {
		unix.Close(fd)
	}
	return err
}
