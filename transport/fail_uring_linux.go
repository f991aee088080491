//go:build linux && giouring

package transport

import (
	"syscall"

	"github.com/pawelgaczynski/giouring"
)

// failUring lets the calls of an io_uring engine fail; see OpenFailing.
func failUring(ring Ring, fail func(Call) syscall.Errno) {
	u := ring.(*uring)
	u.fail = fail
	u.enter = func() (uint, error) {
		if errno := fail(CallEnter); errno != 0 {
			return 0, errno
		}
		return u.ring.Submit()
	}
}

// nopInject is IORING_NOP_INJECT_RESULT (Linux 6.11): a no-op completes with the result in its
// length.
const nopInject = 1

// prepareFailed prepares a request that sends nothing and completes with -errno, like a send that
// the kernel refused.
func prepareFailed(sqe *giouring.SubmissionQueueEntry, errno syscall.Errno) {
	sqe.PrepareNop()
	sqe.Len, sqe.OpcodeFlags = uint32(-int32(errno)), nopInject
}
