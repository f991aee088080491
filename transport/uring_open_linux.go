//go:build linux && giouring

package transport

import (
	"errors"
	"fmt"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// uringBuilt reports whether this program contains the io_uring engine.
const uringBuilt = true

// probeUring opens a ring and tests it. It requests IORING_SETUP_SUBMIT_ALL (Linux 5.18), with
// which a refused request does not stop the hand-over of those behind it, and does without it on
// older kernels, where Submit enters the kernel again. No other flag helps sends that complete
// inline. The second result is the error of the flags that were refused before.
func probeUring(cfg RingConfig) (ring Ring, refused, err error) {
	return openFirst(cfg, []uint32{giouring.SetupSubmitAll, 0})
}

// openFirst opens a ring with the first flags that work. A kernel refuses flags that it does not
// know with EINVAL; any other error would not go away with fewer flags.
func openFirst(cfg RingConfig, flagSets []uint32) (ring Ring, refused, err error) {
	for _, flags := range flagSets {
		u, err := openUring(cfg, flags)
		if err == nil {
			if err = u.selfTest(); err == nil {
				return u, refused, nil
			}
			err = fmt.Errorf("flags %#x: %w", flags, errors.Join(err, u.Close()))
		}
		fewer := errors.Is(err, unix.EINVAL)
		if refused != nil {
			err = fmt.Errorf("%w; before that %w", err, refused) // errors.As finds the errno of the last one
		}
		if !fewer {
			return nil, nil, err
		}
		refused = err
	}
	return nil, nil, refused
}

// selfTest runs one no-op and sends one byte over a socket pair.
func (u *uring) selfTest() error {
	const nop, send = 1, 2
	pair, err := unix.Socketpair(unix.AF_UNIX,
		unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])

	slot, key := u.sends.take()
	slot.user = nop
	sqe := u.entry()
	sqe.PrepareNop()
	sqe.UserData = key
	u.Send(int32(pair[0]), []byte{42}, send)
	if err := u.Submit(); err != nil {
		return err
	}
	want := map[uint64]int32{nop: 0, send: 1}
	var done [3]Completion
	for _, c := range done[:u.Reap(done[:])] {
		switch {
		case c.Res < 0:
			return fmt.Errorf("io_uring request %d of the self-test: %w", c.User, unix.Errno(-c.Res))
		case c.Res != want[c.User]:
			return fmt.Errorf("io_uring request %d of the self-test returned %d; want %d", c.User,
				c.Res, want[c.User])
		}
		delete(want, c.User)
	}
	if len(want) != 0 {
		return fmt.Errorf("io_uring left %d of the 2 requests of the self-test incomplete", len(want))
	}
	u.counts = Counters{}
	return nil
}
