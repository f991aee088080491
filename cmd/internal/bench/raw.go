package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/mailbox"
)

// direct is a target without stages: the producer calls it for each report, on its goroutine.
type direct interface{ Send(r *Report) }

// raw is the least that can be done: the producer itself encodes and sends, one send(2) for each frame. There is no ring,
// no gate and nobody to wake; what it takes from the schedule to the receiver is the kernel's and the receiver's time.
type raw struct {
	*Gate
	fds    map[uint64]int
	buffer []byte
	frames atomic.Uint64 // written by the producer, read by the sampler
	bytes  atomic.Uint64 // written by the producer, read by the sampler
}

func newRaw(*Spec, *durability.Cursors) (Target, error) {
	return &raw{Gate: NewGate(nil), fds: map[uint64]int{}}, nil
}

// Slots implements Target: a ring that nobody uses.
func (r *raw) Slots() *mailbox.Writer[Slot] { return r.ring }

// Connect implements Target.
func (r *raw) Connect(id uint64, fd int) error {
	r.fds[id] = fd
	return nil
}

// Send implements direct. What a full socket refuses is waited for: a pair has nobody else to serve.
func (r *raw) Send(report *Report) {
	fd := r.fds[report.Conn]
	r.buffer = AppendFrame(r.buffer[:0], report)
	for rest := r.buffer; len(rest) > 0; {
		n, err := unix.SendmsgN(fd, rest, nil, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			rest = rest[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
				panic(fmt.Sprintf("bench: poll: %v", err)) // poll(2): nothing of that can happen
			}
		default:
			return // the client has gone, and will be missed
		}
	}
	r.frames.Add(1)
	r.bytes.Add(uint64(len(r.buffer)))
}

// Counts implements Target.
func (r *raw) Counts() Counts {
	n := r.frames.Load()
	return Counts{Frames: n, Bytes: r.bytes.Load(), Sends: n, Submits: n}
}

// Engine implements Target.
func (r *raw) Engine() string { return "send" }

// Finish implements Target.
func (r *raw) Finish(context.Context) error {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	return nil
}
