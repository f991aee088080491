package client

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

func setCongestion(raw syscall.RawConn, name string) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	})
	if err != nil {
		err = fmt.Errorf("congestion control %q: %w", name, err)
	}
	return errors.Join(controlErr, err)
}
