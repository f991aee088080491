package peer

import (
	"net"
	"time"
)

// tune sets the options of a connection: no delay of short frames, and an end after that much
// silence of the other machine. Errors are ignored, because the connection works without.
func tune(conn net.Conn, silence time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: silence * 2 / 5, Interval: silence / 5, Count: 3,
	})
	setUserTimeout(tcp, silence)
}
