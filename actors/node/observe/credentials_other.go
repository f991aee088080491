//go:build !linux

package observe

import (
	"errors"
	"net"
)

// credentials returns an error, so nothing is accepted: no server runs here.
func credentials(*net.UnixConn) (uid uint32, pid int32, err error) {
	return 0, 0, errors.ErrUnsupported
}
