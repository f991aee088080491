//go:build unix

package actors

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// closeDescriptor closes a socket.
func closeDescriptor(fd int32) error { return unix.Close(int(fd)) }

// checkSocket reports what is wrong with a descriptor. The error wraps that of the kernel, if any.
func checkSocket(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("actors: descriptor %d is not open; was it closed by the net.Conn or "+
			"*os.File that it was taken from? Hand over the net.Conn with ConnectNet: %w", fd, err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return fmt.Errorf("actors: descriptor %d is not a stream socket (SO_TYPE %d, %v); "+
			"use a TCP socket or a unix socket of type SOCK_STREAM", fd, kind, err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		return fmt.Errorf("actors: descriptor %d is blocking; set O_NONBLOCK (unix.SetNonblock). "+
			"If it is from Fd of an *os.File, that file still owns it: use ConnectNet", fd)
	}
	if !hadPeer(fd) {
		return fmt.Errorf("actors: descriptor %d has no peer; hand over what accept returned, not "+
			"the listening socket: %w", fd, unix.ENOTCONN)
	}
	return nil
}

// hadPeer reports that a stream socket is or was connected. One whose client has reset it is not
// connected any more, but keeps its port; its end is then noticed as that of any other.
func hadPeer(fd int) bool {
	if _, err := unix.Getpeername(fd); !errors.Is(err, unix.ENOTCONN) {
		return true
	}
	if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil &&
		listening != 0 {
		return false
	}
	switch name, _ := unix.Getsockname(fd); at := name.(type) {
	case *unix.SockaddrInet4:
		return at.Port != 0
	case *unix.SockaddrInet6:
		return at.Port != 0
	}
	return false
}

// duplicate returns a second descriptor of the same socket.
func duplicate(socket syscall.Conn) (int, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if failed := raw.Control(func(own uintptr) {
		fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); failed != nil {
		return -1, failed
	}
	return fd, err
}
