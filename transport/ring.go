package transport

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"syscall"
)

// Ring hands the kernel batches of sends and of writability polls for many sockets, and gives their results back.
// It never waits: a send that finds no room completes at once with -EAGAIN, and the owner then polls that socket. So
// no send outlives the Submit that carried it, and nothing one client does delays another (R21).
//
//	owner    Send Send Poll   Submit   Reap Reap   Park   (sleeps)   Reap
//	kernel                    sends run, polls are armed ........... a poll fires -> Wake
//
// All methods belong to one goroutine, the owner; it need not be locked to a thread. At most one send and at most one
// poll may be pending for a socket at a time: the kernel keeps no order between two requests for one socket when the
// first of them is refused.
//
// user is any 64-bit value the owner chooses, normally index and generation of a table entry, never a pointer. It
// comes back unchanged in the Completion. Polls that are pending at the same time must have different values.
type Ring interface {
	// Send queues one send of b, which must not be empty, with MSG_DONTWAIT and MSG_NOSIGNAL. It returns false, and
	// queues nothing, when the queue is full: Submit and Reap first. b must stay unchanged until its completion was
	// reaped. Completion.Res is the number of bytes the socket took, which may be fewer than len(b), or -errno; with
	// EAGAIN, EINTR, ENOBUFS and ENOMEM no byte was taken and the stream is whole. See send(2).
	Send(fd int32, b []byte, user uint64) bool

	// Poll asks for one completion when fd takes bytes again, or has failed. A peer that only ended its own direction
	// is no reason. Completion.Res is a set of poll(2) events, or -errno. Any completion means "try to send again" and
	// nothing more. It takes effect at the next Submit or before. It returns false when the queue is full.
	Poll(fd int32, user uint64) bool

	// Cancel ends the pending poll of that user value. The poll completes as usual or with -ECANCELED, exactly once; the
	// cancel has no completion of its own. One that finds no such poll does nothing. It takes effect at the next Submit
	// or before. It returns false when the queue is full.
	Cancel(user uint64) bool

	// Submit hands over everything queued. Interrupted and partial hand-overs are continued inside. When the kernel
	// is short of memory it leaves the rest queued and returns nil: see Queued. An error wraps ErrRingInDoubt: it is
	// then unknown which requests ran, every later Submit returns it too, and nothing but Close is left (R28).
	Submit() error

	// Reap moves completions that are available now to dst and returns how many. It never waits. Fewer than len(dst)
	// means that there were no more.
	Reap(dst []Completion) int

	// Queued is the number of requests that the next Submit will hand over; not 0 either while Submit has to be called because
	// it would return an error, which then need not be of a send.
	Queued() int

	// Park says that the owner is about to sleep. Wake is then called at least once as soon as there is something to
	// reap or to submit, at once if there is already. It may also be called without need.
	Park()

	// Unread is the number of bytes that the socket has taken and its peer has not, as far as the kernel knows
	// (SIOCOUTQ, see tcp(7) and unix(7)); 0 if it does not. It falls when the peer reads, long before a full socket
	// takes more.
	Unread(fd int32) int

	// Unacked is the number of bytes that closing the socket now could lose: those of a TCP socket that its peer has not
	// acknowledged (SIOCOUTQ). Linux answers a close with a reset, and drops them, when the peer has sent something that
	// nobody read, or sends something after it (RFC 1122, 4.2.2.13). 0 for other sockets, whose peers can read on.
	Unacked(fd int32) int

	// Shutdown ends both directions of a socket, see shutdown(2). A pending poll of it completes.
	Shutdown(fd int32) error

	// CloseSocket ends both directions of a socket and closes it. A pending poll of it completes, in any manner.
	// No send for it may be queued: it would go to the next socket that gets the same descriptor.
	CloseSocket(fd int32) error

	// Info describes the engine.
	Info() Info

	// Counters is the owner's view of what happened so far. The pointer stays valid; only the owner may read it.
	Counters() *Counters

	// Close ends what is pending and releases all file descriptors and goroutines of the ring. Wake is not called
	// after it returned. Completions not reaped are lost, sockets stay open. A second Close does nothing.
	Close() error
}

// Completion is the result of one send or poll.
type Completion struct {
	User uint64
	Res  int32 // >= 0: bytes sent, or poll events; < 0: -errno
}

// Info describes an engine.
type Info struct {
	Engine  string // "uring", "poll" or "sim"
	Flags   uint32 // IORING_SETUP_* flags in use; 0 for other engines
	Entries int    // requests that can be queued between two Submits
}

// Counters are plain fields written by the owner's goroutine, in methods of the ring. They count sends by their outcome, then
// other requests, then hand-overs to the kernel.
type Counters struct {
	Sends       uint64 // sends that completed
	Refused     uint64 // of these, -EAGAIN: the socket had no room
	Short       uint64 // of these, fewer bytes taken than asked
	Failed      uint64 // of these, any other error
	Bytes       uint64 // bytes taken by sockets
	Polls       uint64 // polls queued
	Cancels     uint64 // cancels queued
	Unpolled    uint64 // polls and cancels that the kernel refused
	Submits     uint64 // calls of Submit that had something to hand over
	Enters      uint64 // system calls (io_uring_enter, or send and epoll calls) that handed requests over
	Interrupted uint64 // hand-overs that a signal interrupted (EINTR) and that were repeated
	Starved     uint64 // hand-overs refused for want of memory or completion entries (EAGAIN, EBUSY, ENOMEM)
	Overflows   uint64 // times the completion queue had overflowed and was refilled by the kernel
}

// RingConfig are the parameters of a ring.
type RingConfig struct {
	// Entries is how many requests can be queued between two Submits, 2..32768, rounded up to a power of two.
	// It does not limit the number of connections, nor of pending polls.
	Entries int
	// Wake is called from another goroutine when a late completion became available after Park, and from inside
	// Park when there is one already. It must not block.
	Wake func()
}

const (
	// EntriesMin and EntriesMax bound RingConfig.Entries; the upper one is the kernel's (io_uring_setup(2)).
	EntriesMin = 2
	EntriesMax = 32768
)

// ErrRingInDoubt is wrapped by the error of a Submit after which it is unknown which requests were executed.
var ErrRingInDoubt = errors.New("ring in doubt")

// normalized checks the configuration and rounds the entries up.
func (c RingConfig) normalized() (RingConfig, error) {
	if c.Entries < EntriesMin || c.Entries > EntriesMax {
		return c, fmt.Errorf("transport: ring entries %d are out of range; use %d..%d", c.Entries, EntriesMin, EntriesMax)
	}
	if c.Wake == nil {
		return c, errors.New("transport: RingConfig.Wake is nil; pass a function that wakes the ring's owner")
	}
	c.Entries = 1 << bits.Len(uint(c.Entries-1))
	return c, nil
}

// countSend enters the result of a send of length bytes.
func (c *Counters) countSend(res, length int32) {
	c.Sends++
	switch {
	case res >= 0:
		c.Bytes += uint64(res)
		if res < length {
			c.Short++
		}
	case res == -int32(syscall.EAGAIN):
		c.Refused++
	default:
		c.Failed++
	}
}

// checkSend panics on a send that no engine can carry out.
func checkSend(fd int32, b []byte) {
	if fd < 0 || len(b) == 0 || len(b) > math.MaxInt32 {
		panic(fmt.Sprintf("transport: Send(fd %d, %d bytes); want a descriptor and 1..%d bytes", fd, len(b), math.MaxInt32))
	}
}

// checkPoll panics on a poll of no descriptor.
func checkPoll(fd int32, user uint64) {
	if fd < 0 {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x); want a descriptor", fd, user))
	}
}
