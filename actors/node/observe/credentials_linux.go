package observe

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// credentials returns user and process that connected, SO_PEERCRED of unix(7).
func credentials(c *net.UnixConn) (uid uint32, pid int32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return 0, 0, err
	}
	return peer.Uid, peer.Pid, nil
}
