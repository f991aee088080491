package transport

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Call is a system call that a ring makes.
type Call uint8

const (
	CallEnter    Call = iota + 1 // io_uring_enter(2)
	CallSend                     // send(2), as a request of io_uring or as a call
	CallArm                      // epoll_ctl(2), to start polling a socket
	CallDisarm                   // epoll_ctl(2), to stop polling it
	CallWait                     // epoll_wait(2)
	CallUnread                   // ioctl(2) SIOCOUTQ
	CallShutdown                 // shutdown(2)
	CallClose                    // close(2)
	NumCalls     = int(CallClose) + 1
)

// String names the system call.
func (c Call) String() string {
	names := [NumCalls]string{"none", "io_uring_enter", "send", "epoll_ctl", "epoll_ctl(del)",
		"epoll_wait", "ioctl(SIOCOUTQ)", "shutdown", "close"}
	if int(c) >= len(names) {
		return fmt.Sprintf("Call(%d)", uint8(c))
	}
	return names[c]
}

// OpenFailing is Open for tests of system calls that fail. fail is called before each system call
// of the ring, on the owner goroutine. If it returns an errno, that is the result and the call is
// not made; 0 lets the call happen. close(2) is made in any case, because Linux frees the
// descriptor whatever close reports. A send of io_uring fails in its completion.
func OpenFailing(mode Mode, cfg RingConfig, fail func(Call) syscall.Errno) (Ring, error) {
	ring, _, err := Open(mode, cfg)
	if err != nil {
		return nil, err
	}
	switch r := ring.(type) {
	case *pollRing:
		r.fail = fail
	default:
		failUring(ring, fail)
	}
	return ring, nil
}

// refused returns the errno with which a test lets a call fail; 0 in production.
func (p *pollSet) refused(c Call) unix.Errno {
	if p.fail == nil {
		return 0
	}
	return p.fail(c)
}
