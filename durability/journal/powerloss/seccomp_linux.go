package powerloss

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notification is a call that waits for a Reply, as in linux/seccomp.h.
type Notification struct {
	ID         uint64
	PID, Flags uint32
	NR         int32
	Arch       uint32
	IP         uint64
	Args       [6]uint64
}

// Reply says what becomes of a call, as in linux/seccomp.h.
type Reply struct {
	ID    uint64
	Val   int64
	Errno int32 // negative
	Flags uint32
}

// Continue is the Reply by which a call is executed.
func (n *Notification) Continue() Reply {
	return Reply{ID: n.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
}

// Fail is the Reply by which a call fails with errno.
func (n *Notification) Fail(errno unix.Errno) Reply { return Reply{ID: n.ID, Errno: -int32(errno)} }

// Notified calls judge with each call under the filter of a listener, which it may answer now or later. It returns
// nil when no process is left under the filter, or the first error.
func Notified(listener int, judge func(n *Notification) error) error {
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents&unix.POLLHUP != 0 {
				return nil
			}
			continue
		}
		var n Notification
		switch err := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err {
		case nil:
		case unix.EINTR, unix.ENOENT: // the process was killed meanwhile
			continue
		default:
			return fmt.Errorf("receiving a notification: %w", err)
		}
		if err := judge(&n); err != nil {
			return err
		}
	}
}

// Send sends a Reply. That the process was killed meanwhile is no error.
func (r Reply) Send(listener int) error {
	for {
		switch err := control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err {
		case nil, unix.ENOENT:
			return nil
		case unix.EINTR: // while it waited for the lock
		default:
			return fmt.Errorf("answering a notification: %w", err)
		}
	}
}

func control(fd int, request uint, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
