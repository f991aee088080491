package transport

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"syscall"
)

// Ring hands batches of sends and writability polls for many sockets to the kernel, and returns
// their results. It never waits: a send that finds no room completes immediately with -EAGAIN, and
// the owner then polls that socket. So no send outlives the Submit that carried it, and no client
// can delay another (R21).
//
//	owner    Send Send Poll   Submit   Reap Reap   Park   (sleeps)   Reap
//	kernel                    sends run, polls are armed ........... a poll fires -> Wake
//
// All methods must be called from one goroutine, the owner; it need not be locked to a thread. A
// socket may have at most one send and at most one poll pending, because the kernel does not keep
// two requests for one socket in order if the first is refused.
//
// user is any 64-bit value that the owner chooses, normally index and generation of a table entry,
// never a pointer. It is returned unchanged in the Completion. Polls that are pending at the same
// time must have different values.
type Ring interface {
	// Send queues one send of b, which must not be empty, with MSG_DONTWAIT and MSG_NOSIGNAL. If
	// the queue is full, it queues nothing and returns false: Submit and Reap first. b must not
	// change until its completion is reaped. Completion.Res is the number of bytes that the socket
	// accepted, which may be fewer than len(b), or -errno. With EAGAIN, EINTR, ENOBUFS and ENOMEM
	// no byte was accepted and the stream is intact. See send(2).
	Send(fd int32, b []byte, user uint64) bool

	// Poll requests one completion when fd accepts bytes again or has failed. A peer that only
	// ended its own direction does not complete it. Completion.Res is a set of poll(2) events, or
	// -errno. Any completion means "try to send again" and nothing more. Poll takes effect at the
	// next Submit or earlier. It returns false if the queue is full.
	Poll(fd int32, user uint64) bool

	// Cancel ends the pending poll with that user value. The poll completes as usual or with
	// -ECANCELED, exactly once; the cancel itself has no completion. If there is no such poll, it
	// does nothing. It takes effect at the next Submit or earlier. It returns false if the queue is
	// full.
	Cancel(user uint64) bool

	// Submit hands over everything queued. Interrupted and partial hand-overs are continued inside.
	// If the kernel is short of memory, it leaves the rest queued and returns nil: see Queued. An
	// error wraps ErrRingInDoubt: it is then unknown which requests ran, every later Submit returns
	// the error too, and the ring can only be closed (R28).
	Submit() error

	// Reap moves available completions to dst and returns their number. It never waits. Fewer than
	// len(dst) means that there were no more.
	Reap(dst []Completion) int

	// Queued is the number of requests that the next Submit will hand over. While Submit would
	// return an error, Queued is not 0 either, so that the owner calls it; after Close it is 0.
	Queued() int

	// Park announces that the owner is about to sleep. Wake is then called at least once as soon as
	// there is something to reap or to submit, immediately if there is already. It may also be
	// called without need.
	Park()

	// Unread is the number of bytes that the socket has accepted and its peer has not read, as far
	// as the kernel knows (SIOCOUTQ, see tcp(7) and unix(7)); 0 if it does not. It falls when the
	// peer reads, long before a full socket accepts more.
	Unread(fd int32) int

	// Unacked is the number of bytes that closing the socket now could lose: those of a TCP socket
	// that its peer has not acknowledged (SIOCOUTQ). Linux answers a close with a reset, and drops
	// them, if the peer has sent bytes that were not read, or sends bytes afterwards (RFC 1122,
	// 4.2.2.13). 0 for other sockets, whose peers can still read.
	Unacked(fd int32) int

	// Shutdown ends both directions of a socket, see shutdown(2). A pending poll of it completes.
	Shutdown(fd int32) error

	// CloseSocket closes a descriptor, see close(2). That ends both directions of its socket, unless a
	// duplicate of the descriptor is open: then call Shutdown first. A pending poll of it completes,
	// with any result. No send for it may be queued, because it would go to the next socket with
	// the same descriptor.
	CloseSocket(fd int32) error

	// Info describes the engine.
	Info() Info

	// Counters returns what the ring counted so far. The pointer stays valid; only the owner may
	// read it.
	Counters() *Counters

	// Close cancels pending requests and releases all file descriptors and goroutines of the ring.
	// Wake is not called after it returned. Completions not reaped are lost; sockets stay open. A
	// second Close does nothing.
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

// Counters are plain fields that the owner's goroutine writes in methods of the ring. They count
// sends by their outcome, then other requests, then hand-overs to the kernel.
type Counters struct {
	Sends       uint64 // sends that completed
	Refused     uint64 // of Sends: -EAGAIN, the socket had no room
	Short       uint64 // of Sends: fewer bytes accepted than requested
	Failed      uint64 // of Sends: any other error
	Bytes       uint64 // bytes accepted by sockets
	Polls       uint64 // polls queued
	Cancels     uint64 // cancels queued
	Unpolled    uint64 // polls and cancels refused by the kernel
	Submits     uint64 // calls of Submit with requests queued
	Enters      uint64 // system calls that handed requests over: io_uring_enter, or send and epoll
	Interrupted uint64 // hand-overs interrupted by a signal (EINTR) and repeated
	Starved     uint64 // hand-overs refused because memory or completion entries ran out (EAGAIN, EBUSY, ENOMEM)
	Overflows   uint64 // refills of the completion queue by the kernel after an overflow
}

// RingConfig are the parameters of a ring.
type RingConfig struct {
	// Entries is the number of requests that can be queued between two Submits, 2..32768, rounded
	// up to a power of two. It does not limit the number of connections or of pending polls.
	Entries int
	// Wake is called from another goroutine when a completion became available after Park, and from
	// inside Park if there is one already. It must not block.
	Wake func()
}

const (
	// EntriesMin and EntriesMax bound RingConfig.Entries; the upper one is the kernel's
	// (io_uring_setup(2)).
	EntriesMin = 2
	EntriesMax = 32768
)

// ErrRingInDoubt is wrapped by the error of a Submit after which it is unknown which requests ran.
var ErrRingInDoubt = errors.New("ring in doubt")

// normalized checks the configuration and rounds Entries up.
func (c RingConfig) normalized() (RingConfig, error) {
	if c.Entries < EntriesMin || c.Entries > EntriesMax {
		return c, fmt.Errorf("transport: ring entries %d are out of range; use %d..%d", c.Entries,
			EntriesMin, EntriesMax)
	}
	if c.Wake == nil {
		return c, errors.New("transport: RingConfig.Wake is nil; pass a function that wakes the " +
			"ring's owner")
	}
	c.Entries = 1 << bits.Len(uint(c.Entries-1))
	return c, nil
}

// countSend counts the result of a send of length bytes.
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

// checkSend panics if the arguments of a send are invalid.
func checkSend(fd int32, b []byte) {
	if fd < 0 || len(b) == 0 || len(b) > math.MaxInt32 {
		panic(fmt.Sprintf("transport: Send(fd %d, %d bytes); want a descriptor and 1..%d bytes", fd,
			len(b), math.MaxInt32))
	}
}

// checkPoll panics if the descriptor of a poll is invalid.
func checkPoll(fd int32, user uint64) {
	if fd < 0 {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x); want a descriptor", fd, user))
	}
}
