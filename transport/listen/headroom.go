//go:build linux

package listen

import (
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// headroom keeps the highest numbers of descriptors free of clients. The kernel gives out the lowest
// free number. So if only clients fill the numbers below the ceiling, all others in the process find
// the numbers from there to the limit, and a client costs one comparison.
//
//	0 ............................... ceiling ............ limit (RLIMIT_NOFILE)
//	  files, listening sockets, clients  |  files, no clients
type headroom struct {
	spare   int
	limit   atomic.Int64 // when it was last read
	ceiling atomic.Int64 // sockets of clients have lower numbers; written by acceptors as well
}

// read takes notice of the limit, which may change while the process runs.
func (h *headroom) read() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("listen: getrlimit: %w", err)
	}
	limit := int64(min(l.Cur, math.MaxInt32))
	h.limit.Store(limit)
	h.ceiling.Store(limit - int64(h.spare))
	return nil
}

// check reports a limit that leaves no number for a client.
func (h *headroom) check(open int) error {
	if err := h.read(); err != nil {
		return err
	}
	free, err := unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		unix.Close(free)
	}
	if err == nil && int64(free) < h.ceiling.Load() {
		return nil
	}
	return fmt.Errorf("listen: the limit of file descriptors is %d, of which %d are kept for others than "+
		"clients (Config.Spare), and no number below is free for a client; raise the limit "+
		"(RLIMIT_NOFILE, ulimit -n)", h.limit.Load(), h.spare)
}

// lower moves a socket below the ceiling. It returns false, and the socket as it was, if no number is
// free there. It takes a number above the ceiling meanwhile.
func (h *headroom) lower(fd int) (int, bool) {
	ceiling := h.ceiling.Load()
	if int64(fd) < ceiling {
		return fd, true
	}
	low, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fd, false
	}
	if int64(low) >= ceiling {
		unix.Close(low)
		return fd, false
	}
	unix.Close(fd)
	return low, true
}
