//go:build linux && !nogiouring

package transport

import (
	"errors"
	"fmt"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// openUringLadder makes a ring that was seen to work. It asks for IORING_SETUP_SUBMIT_ALL (Linux 5.18), with which a
// refused request does not stop the hand-over of those behind it, and does without on an older kernel: Submit then
// enters again. No other flag helps sends that complete inline.
func openUringLadder(cfg RingConfig) (Ring, error) {
	var last error
	for _, flags := range []uint32{giouring.SetupSubmitAll, 0} {
		u, err := openUring(cfg, flags)
		if err == nil {
			if err = u.prove(); err == nil {
				return u, nil
			}
			err = errors.Join(err, u.Close())
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// prove lets the ring do nothing once, send one byte over a socket pair, and poll and cancel.
func (u *uring) prove() error {
	const nop, send, poll = 1, 2, 3
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])

	_, key := u.pending.take(kindSend, nop)
	sqe := u.entry()
	sqe.PrepareNop()
	sqe.UserData = key
	u.Send(int32(pair[0]), []byte{42}, send)
	if err := u.Submit(); err != nil {
		return err
	}
	u.Poll(int32(pair[0]), poll)
	if err := u.Submit(); err != nil {
		return err
	}
	want := map[uint64]int32{nop: 0, send: 1, poll: unix.POLLOUT}
	var done [4]Completion
	n := u.Reap(done[:])
	for _, c := range done[:n] {
		switch {
		case c.Res < 0:
			return fmt.Errorf("io_uring request %d of the trial: %w", c.User, unix.Errno(-c.Res))
		case c.Res != want[c.User]:
			return fmt.Errorf("io_uring request %d of the trial returned %d; want %d", c.User, c.Res, want[c.User])
		}
		delete(want, c.User)
	}
	if len(want) != 0 {
		return fmt.Errorf("io_uring did not complete %d of the 3 requests of the trial at once", len(want))
	}
	u.count = Counters{}
	return nil
}
