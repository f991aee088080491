//go:build !linux

package peer

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the system decides when it gives up unacknowledged data.
func setUserTimeout(*net.TCPConn, time.Duration) {}
