//go:build linux && giouring

package transport

import (
	"fmt"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// starvedTries is the number of attempts of one Submit if the kernel is short of memory and accepts
// nothing. After that, the rest is left to the next Submit.
const starvedTries = 8

// uring is the Ring on io_uring(7): one system call for all sends of a Submit, and a pollSet.
//
// The ring has no kernel thread and no flag that ties it to a thread. Its only requests are sends
// that never wait, which run inside io_uring_enter(2). So the kernel holds no request when Submit
// returns, unless it had no memory to start one, and then Queued counts it.
type uring struct {
	*pollSet
	ring    *giouring.Ring
	sends   sendTable
	doubt   error
	flags   uint32
	entries int
	wake    func()
	counts  Counters
	closed  bool

	// enter is ring.Submit; tests replace it to return errors that a healthy kernel does not.
	enter func() (uint, error)
}

// openUring opens a ring with exactly these flags. Errors wrap the errno of the kernel.
func openUring(cfg RingConfig, flags uint32) (*uring, error) {
	ring := giouring.NewRing()
	if err := ring.QueueInit(uint32(cfg.Entries), flags); err != nil {
		return nil, fmt.Errorf("io_uring_setup(%d entries, flags %#x): %w", cfg.Entries, flags, err)
	}
	u := &uring{ring: ring, flags: flags, entries: cfg.Entries, wake: cfg.Wake, enter: ring.Submit}
	u.sends.slots = make([]sendSlot, 0, 2*cfg.Entries)
	var err error
	if u.pollSet, err = newPollSet(cfg, &u.counts); err != nil {
		ring.QueueExit()
		return nil, err
	}
	return u, nil
}

// Info implements Ring.
func (u *uring) Info() Info { return Info{Engine: "uring", Flags: u.flags, Entries: u.entries} }

// Counters implements Ring.
func (u *uring) Counters() *Counters { return &u.counts }

// Queued implements Ring.
func (u *uring) Queued() int {
	switch {
	case u.closed:
		return 0
	case u.doubt != nil, u.broken != nil:
		return max(1, int(u.ring.SQReady()))
	}
	return int(u.ring.SQReady())
}

// entry returns a zeroed submission entry, or nil if the queue is full. The prepare functions of
// the library leave some fields from the last use of the entry, and the kernel would refuse the
// request or obey a stale flag.
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
	slot, key := u.sends.take()
	slot.user, slot.buffer, slot.length = user, unsafe.SliceData(b), int32(len(b))
	if errno := u.refused(CallSend); errno != 0 {
		prepareFailed(sqe, errno)
	} else {
		sqe.PrepareSend(int(fd), uintptr(unsafe.Pointer(slot.buffer)), uint32(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	sqe.UserData = key
	return true
}

// Submit implements Ring. The library publishes the tail of the queue before it enters the kernel,
// and computes what is left from the head that the kernel wrote. So entering again after an
// interruption neither loses nor repeats a request.
func (u *uring) Submit() error {
	if u.doubt == nil {
		u.doubt = u.broken
	}
	if u.doubt != nil || u.ring.SQReady() == 0 {
		return u.doubt
	}
	u.counts.Submits++
	for tries := 0; tries < starvedTries; {
		before := u.ring.SQReady()
		_, err := u.enter()
		u.counts.Enters++
		left := u.ring.SQReady()
		switch {
		case err == nil && left == 0:
			return nil
		case err == nil && left < before:
			// The kernel stopped half-way; the next call returns the error, if any.
		case err == unix.EINTR:
			u.counts.Interrupted++
		case err == nil, err == unix.EAGAIN, err == unix.EBUSY, err == unix.ENOMEM:
			// The completion queue is full, or memory is short. Draining the queue is all that can
			// be done here.
			u.counts.Starved++
			u.drain()
			tries++
		default:
			u.doubt = fmt.Errorf("transport: io_uring_enter with %d requests queued: %w: %w", left,
				ErrRingInDoubt, err)
			return u.doubt
		}
	}
	return nil
}

// drain moves all completions from the completion queue to the list from which Reap takes them.
func (u *uring) drain() {
	for c, ok := u.next(); ok; c, ok = u.next() {
		u.done.push(c)
	}
}

// Reap implements Ring.
func (u *uring) Reap(dst []Completion) int {
	n := 0
	for n < len(dst) {
		c, ok := u.done.pop()
		if !ok {
			if c, ok = u.next(); !ok {
				if !u.collect() {
					break
				}
				continue
			}
		}
		dst[n] = c
		n++
	}
	return n
}

// next takes one completion from the completion queue. If that is empty and had overflowed, PeekCQE
// makes the kernel refill it.
func (u *uring) next() (Completion, bool) {
	for !u.closed {
		if u.ring.CQReady() == 0 {
			if !u.ring.CQHasOverflow() {
				break
			}
			u.counts.Overflows++
		}
		cqe, err := u.ring.PeekCQE()
		if err == unix.EINTR {
			u.counts.Interrupted++
			continue
		}
		if err != nil || cqe == nil {
			break // the kernel could not refill it; Park sees the overflow and wakes the owner again
		}
		key, res := cqe.UserData, cqe.Res
		u.ring.CQESeen(cqe)
		slot := u.sends.find(key)
		if slot == nil {
			panic(fmt.Sprintf("transport: io_uring completed request %#x (result %d), which is "+
				"not pending", key, res))
		}
		u.counts.countSend(res, slot.length)
		c := Completion{User: slot.user, Res: res}
		u.sends.release(key)
		return c, true
	}
	return Completion{}, false
}

// Park implements Ring. The ring has no requests that could complete later. The watcher is always
// active, and one more check covers what it reported before.
func (u *uring) Park() {
	if u.closed {
		return
	}
	if u.done.len() > 0 || u.ring.CQReady() > 0 || u.ring.CQHasOverflow() || u.collect() ||
		u.Queued() > 0 {
		u.wake()
	}
}

// Close implements Ring.
func (u *uring) Close() error {
	if u.closed {
		return nil
	}
	u.closed = true
	u.pollSet.close()
	u.ring.QueueExit()
	if u.doubt == nil {
		u.doubt = fmt.Errorf("transport: %w: it is closed", ErrRingInDoubt)
	}
	return nil
}

// sendTable holds the sends that were queued and whose completion was not reaped. In the kernel, a
// send is identified by a key of slot and generation of the slot, so a completion is never matched
// to a later send.
type sendTable struct {
	slots []sendSlot
	free  uint32 // head of the list of free slots, slot+1; 0 = none
}

type sendSlot struct {
	user   uint64
	buffer *byte // keeps the memory alive: the kernel has its address as a plain number
	length int32
	gen    uint32 // odd while the slot is in use
	next   uint32 // list of free slots
}

func (t *sendTable) take() (*sendSlot, uint64) {
	at := t.free
	if at == 0 {
		t.slots = append(t.slots, sendSlot{})
		at = uint32(len(t.slots))
	}
	slot := &t.slots[at-1]
	t.free = slot.next
	slot.gen++
	return slot, uint64(slot.gen)<<32 | uint64(at-1)
}

// find returns the send with this key, or nil if it is not pending.
func (t *sendTable) find(key uint64) *sendSlot {
	at := uint32(key)
	if int(at) >= len(t.slots) || t.slots[at].gen != uint32(key>>32) || t.slots[at].gen&1 == 0 {
		return nil
	}
	return &t.slots[at]
}

func (t *sendTable) release(key uint64) {
	at := uint32(key)
	t.slots[at] = sendSlot{gen: t.slots[at].gen + 1, next: t.free}
	t.free = at + 1
}
