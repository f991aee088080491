package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/mailbox"
)

// direct is a target without stages. The producer calls Send for each report on its own goroutine.
type direct interface{ Send(r *Report) }

// raw is the minimal server: the producer itself encodes and sends, one send(2) per frame, without
// ring, gate or wake-up. The time from schedule to receiver is that of the kernel and the receiver.
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

// Slots implements Target. The ring is not used.
func (r *raw) Slots() *mailbox.Writer[Slot] { return r.ring }

// Connect implements Target.
func (r *raw) Connect(id uint64, fd int) error {
	r.fds[id] = fd
	return nil
}

// Send implements direct. It waits for a full socket, because there is only one client to serve.
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
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}},
				-1); err != nil && err != unix.EINTR {
				panic(fmt.Sprintf("bench: poll: %v", err)) // impossible according to poll(2)
			}
		default:
			return // the client has gone, and its missing frames will be reported
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
