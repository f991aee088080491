//go:build linux && !nogiouring

package transport

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

const (
	// starvedTries is how often one Submit asks again when the kernel is short of memory and nothing moved, before
	// it leaves the rest to the next Submit.
	starvedTries = 8
	// closeWait bounds how long Close waits for the kernel to give back cancelled polls.
	closeWait = 2 * time.Second
)

// uring is the Ring on io_uring(7).
//
// The ring is a plain one: no kernel thread, no flag that ties it to one thread. Sends run inside io_uring_enter(2)
// and are complete when it returns. Late completions, of polls, are announced by an epoll descriptor around the
// ring's own descriptor (decision record 0003).
type uring struct {
	ring    *giouring.Ring
	pending pending
	spill   fifo // completions taken out of a full completion queue by Submit
	doubt   error
	flags   uint32
	entries int
	wake    func()
	bell    ringBell
	count   Counters
	closed  bool

	// enter is ring.Submit; tests replace it to return the errors a healthy kernel does not.
	enter func() (uint, error)
}

// openUring makes a ring with exactly these flags; errors are errnos of the kernel, wrapped.
func openUring(cfg RingConfig, flags uint32) (*uring, error) {
	ring := giouring.NewRing()
	if err := ring.QueueInit(uint32(cfg.Entries), flags); err != nil {
		return nil, fmt.Errorf("io_uring_setup(%d entries, flags %#x): %w", cfg.Entries, flags, err)
	}
	u := &uring{
		ring: ring, pending: newPending(cfg.Entries), flags: flags, entries: cfg.Entries, wake: cfg.Wake,
		enter: ring.Submit,
	}
	if err := u.bell.open(ring.RingFd(), cfg.Wake); err != nil {
		ring.QueueExit()
		return nil, err
	}
	return u, nil
}

func (u *uring) Info() Info          { return Info{Engine: "uring", Flags: u.flags, Entries: u.entries} }
func (u *uring) Counters() *Counters { return &u.count }

// Queued implements Ring.
func (u *uring) Queued() int {
	if u.closed {
		return 0
	}
	return int(u.ring.SQReady())
}

// entry returns a zeroed submission entry, or nil when the queue is full. The library's prepare functions leave some
// fields from the last use of the entry, and the kernel then refuses the request or obeys a stale flag.
func (u *uring) entry() *giouring.SubmissionQueueEntry {
	if u.closed {
		panic("transport: request on a ring that is closed")
	}
	sqe := u.ring.GetSQE()
	if sqe != nil {
		*sqe = giouring.SubmissionQueueEntry{}
	}
	return sqe
}

// Send implements Ring; io_uring_prep_send(3).
func (u *uring) Send(fd int32, b []byte, user uint64) bool {
	checkSend(fd, b)
	sqe := u.entry()
	if sqe == nil {
		return false
	}
	r, key := u.pending.take(kindSend, user)
	r.buffer, r.length = unsafe.SliceData(b), int32(len(b))
	sqe.PrepareSend(int(fd), uintptr(unsafe.Pointer(r.buffer)), uint32(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	sqe.UserData = key
	return true
}

// Poll implements Ring; io_uring_prep_poll_add(3). The kernel adds POLLERR and POLLHUP. POLLRDHUP is left out: a
// half-closed client still receives its answers, and would complete every poll at once.
func (u *uring) Poll(fd int32, user uint64) bool {
	checkPoll(fd, user)
	sqe := u.entry()
	if sqe == nil {
		return false
	}
	_, key := u.pending.takePoll(fd, user)
	sqe.PreparePollAdd(int(fd), unix.POLLOUT)
	sqe.UserData = key
	u.count.Polls++
	return true
}

// Cancel implements Ring; io_uring_prep_cancel64(3). The cancel's own completion is not reported.
func (u *uring) Cancel(user uint64) bool {
	poll, ok := u.pending.pollOf(user)
	if !ok {
		return true
	}
	sqe := u.entry()
	if sqe == nil {
		return false
	}
	_, key := u.pending.take(kindCancel, user)
	sqe.PrepareCancel64(poll, 0)
	sqe.UserData = key
	u.count.Cancels++
	return true
}

// Submit implements Ring. The library publishes the queue's tail before it enters the kernel and computes what is left
// from the kernel's head, so entering again after an interruption neither loses nor repeats a request.
func (u *uring) Submit() error {
	if u.doubt != nil || u.Queued() == 0 {
		return u.doubt
	}
	u.bell.disarm()
	u.count.Submits++
	for tries := 0; tries < starvedTries; {
		before := u.ring.SQReady()
		_, err := u.enter()
		u.count.Enters++
		left := u.ring.SQReady()
		switch {
		case err == nil && left == 0:
			return nil
		case err == unix.EINTR:
			u.count.Interrupted++
		case err == nil && left < before:
			// The kernel stopped half-way; the next entry into it says why.
		case err == nil, err == unix.EAGAIN, err == unix.EBUSY, err == unix.ENOMEM:
			// Full completion queue or no memory. Making room in the queue is the part that is ours.
			u.count.Starved++
			u.drain()
			tries++
		default:
			u.doubt = fmt.Errorf("transport: io_uring_enter with %d requests queued: %w: %w", left, ErrRingInDoubt, err)
			return u.doubt
		}
	}
	return nil
}

// drain moves all available completions out of the completion queue.
func (u *uring) drain() {
	for {
		c, ok := u.next()
		if !ok {
			return
		}
		u.spill.push(c)
	}
}

// Reap implements Ring.
func (u *uring) Reap(dst []Completion) int {
	n := 0
	for n < len(dst) && !u.closed {
		c, ok := u.spill.pop()
		if !ok {
			if c, ok = u.next(); !ok {
				break
			}
		}
		dst[n] = c
		n++
	}
	return n
}

// next takes one completion out of the completion queue. When that is empty but had overflowed, PeekCQE makes the
// kernel refill it.
func (u *uring) next() (Completion, bool) {
	for {
		if u.ring.CQReady() == 0 {
			if !u.ring.CQHasOverflow() {
				return Completion{}, false
			}
			u.count.Overflows++
		}
		cqe, err := u.ring.PeekCQE()
		if err == unix.EINTR {
			u.count.Interrupted++
			continue
		}
		if err != nil || cqe == nil {
			return Completion{}, false
		}
		key, res := cqe.UserData, cqe.Res
		u.ring.CQESeen(cqe)
		if c, ok := u.complete(key, res); ok {
			return c, true
		}
	}
}

// complete ends the request with that key. ok is false for a request that the owner did not make.
func (u *uring) complete(key uint64, res int32) (c Completion, ok bool) {
	r := u.pending.find(key)
	if r == nil {
		panic(fmt.Sprintf("transport: io_uring completed request %#x (result %d), which is not pending", key, res))
	}
	c = Completion{User: r.user, Res: res}
	ok = r.kind != kindCancel
	if r.kind == kindSend {
		u.count.countSend(res, r.length, int32(unix.EAGAIN))
	}
	u.pending.release(key)
	return c, ok
}

// Park implements Ring.
func (u *uring) Park() {
	switch {
	case u.pending.live == 0 || u.closed:
		// Nothing is in flight, so nothing can complete.
	case u.spill.len() > 0 || u.ring.CQReady() > 0 || u.ring.CQHasOverflow() || u.Queued() > 0:
		u.wake()
	default:
		u.bell.arm()
	}
}

// Shutdown implements Ring.
func (u *uring) Shutdown(fd int32) error { return shutdownSocket(fd) }

// CloseSocket implements Ring. A poll in the kernel holds the socket open beyond close(2); shutdown(2) ends both.
func (u *uring) CloseSocket(fd int32) error {
	if key, ok := u.pending.pollOn(fd); ok {
		u.pending.detach(key)
		_ = shutdownSocket(fd) // fails only if there is no connection left to end
	}
	return closeSocket(fd)
}

// Close implements Ring. It cancels the pending polls and waits for them, because the kernel would otherwise keep the
// polled sockets and the ring's locked memory for a while after the descriptor is closed.
func (u *uring) Close() error {
	if u.closed {
		return nil
	}
	u.bell.close()
	var stuck int
	if u.doubt == nil {
		u.bell.armed = false
		stuck = u.cancelAll()
	}
	u.closed = true
	u.ring.QueueExit()
	if u.doubt == nil {
		u.doubt = fmt.Errorf("transport: %w: it is closed", ErrRingInDoubt)
	}
	if stuck > 0 {
		return fmt.Errorf("transport: closing the ring: %d requests did not end within %v", stuck, closeWait)
	}
	return nil
}

// cancelAll ends every pending poll and returns how many requests are still in flight after closeWait.
func (u *uring) cancelAll() int {
	var scrap [64]Completion
	users := make([]uint64, 0, len(u.pending.byUser))
	for user := range u.pending.byUser {
		users = append(users, user)
	}
	for deadline := time.Now().Add(closeWait); u.pending.live > 0 && time.Now().Before(deadline); {
		for len(users) > 0 && u.Cancel(users[0]) {
			users = users[1:]
		}
		if u.Submit() != nil {
			break
		}
		if u.Reap(scrap[:]) == 0 && len(users) == 0 {
			time.Sleep(50 * time.Microsecond) // a cancelled poll ends on the thread that had queued it
		}
	}
	return u.pending.live
}
