//go:build linux

package peer

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The peer answers the hello and then reads nothing, so that its window closes.
func TestPeerThatReadsNothingIsGivenUp(t *testing.T) {
	r := newRig(t, 1, 2)
	limits := quick()
	limits.silence = 200 * time.Millisecond
	limits.minBackoff, limits.maxBackoff = time.Hour, time.Hour
	n := r.start(r.config(1), limits)
	for range lanes {
		conn, err := r.sockets[2].Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s := newStream(conn, conn)
		h, err := readHello(&s.frames)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(answer(func(a *hello) { a.lane = h.lane })); err != nil {
			t.Fatal(err)
		}
	}
	n.reports(true)
	frame := make([]byte, 1<<20)
	eventually(t, "the link is given up", func() bool {
		n.Send(2, Append, frame)
		return len(n.states) > 0
	})
	n.reports(false)
	if s := n.status(2, Append); s.Dropped == 0 || s.Out.Connected {
		t.Errorf("status %+v", s)
	}
	n.logs("peer disconnected", "lane=append", "timed out")
	if s := n.status(2, Control); !s.Out.Connected {
		t.Errorf("the control lane is down: %+v", s)
	}
}

func TestOptionsOfConnections(t *testing.T) {
	socket := listen(t)
	conn, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tune(conn, defaultTimes().silence)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []struct{ level, name, want int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 5000},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 2},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		if err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), option.level, option.name); err != nil || got != option.want {
				t.Errorf("option %d of %d is %d, %v; want %d", option.name, option.level, got, err, option.want)
			}
		}); err != nil {
			t.Error(err)
		}
	}
}
