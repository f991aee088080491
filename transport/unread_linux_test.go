package transport

import (
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUnreadFallsWhenThePeerReads(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	var set pollSet // no field is used
	if n := set.Unread(int32(fds[0])); n != 0 {
		t.Errorf("%d bytes unread on a fresh socket", n)
	}
	for range 2 {
		if _, err := unix.Write(fds[0], make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	before := set.Unread(int32(fds[0]))
	if _, err := unix.Read(fds[1], make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if after := set.Unread(int32(fds[0])); before < 2000 || after >= before || after == 0 {
		t.Errorf("%d bytes unread, after half was read %d", before, after)
	}
	if n := set.Unread(-1); n != 0 {
		t.Errorf("%d bytes unread on no socket", n)
	}
}

func TestReadingFromAFullSocketIsProgress(t *testing.T) {
	const second = int64(time.Second)
	limits := Limits{HardBytes: 1 << 20, SoftBytes: 1 << 20, SoftFor: time.Hour, NoProgress: 5 * time.Second}
	for _, tt := range []struct {
		name   string
		unread []int // 2, 4, 6, ... s after it was blocked
		want   Reason
	}{
		{"reads nothing", []int{9000, 9000, 9000}, ReasonStalled},
		{"reads now and then", []int{9000, 8000, 8000, 7000, 7000, 6000}, ReasonNone},
		{"read only at first", []int{9000, 8000, 8000, 8000, 8000}, ReasonStalled},
		{"the kernel does not report it", []int{0, 0, 0}, ReasonStalled},
		{"the socket holds more than before", []int{9000, 9500, 9900}, ReasonStalled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Conn{}
			now := second
			c.MarkBlocked(now)
			for _, n := range tt.unread {
				now += 2 * second
				c.ObserveUnread(n, now)
			}
			if got := limits.Check(&c, now); got != tt.want {
				t.Errorf("Check returned %v after %d s, want %v", got, now/second, tt.want)
			}
		})
	}
}

// Closing a TCP socket can lose the bytes that its peer has not acknowledged, unless the peer is
// gone. Closing a unix-domain socket loses nothing.
func TestUnackedCountsBytesThatACloseCouldLose(t *testing.T) {
	var set pollSet // no field is used
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := dialed.(*net.TCPConn)
	defer client.Close()
	if err := client.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	unacked := func() (n int) {
		if err := raw.Control(func(fd uintptr) { n = set.Unacked(int32(fd)) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := unacked(); n != 0 {
		t.Errorf("%d bytes unacked on a socket that has sent nothing", n)
	}
	var sent int
	if err := raw.Write(func(fd uintptr) bool {
		for err = error(nil); err == nil; { // until both kernels are full
			var n int
			n, err = unix.SendmsgN(int(fd), make([]byte, 64<<10), nil, nil, unix.MSG_DONTWAIT)
			sent += max(n, 0)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if n := unacked(); n == 0 || n > sent {
		t.Errorf("%d bytes unacked of %d sent to a client that does not read", n, sent)
	}
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for deadline := time.Now().Add(10 * time.Second); unacked() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes unacked after the client reset its socket", unacked())
		}
	}

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if _, err := unix.Write(fds[0], make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if n := set.Unacked(int32(fds[0])); n != 0 || set.Unread(int32(fds[0])) == 0 {
		t.Errorf("%d bytes unacked on a unix-domain socket, %d unread", n, set.Unread(int32(fds[0])))
	}
}

// A client on a unix socket that reads 36 KiB within each time of no progress is not stalled, as
// docs/operations.md says: the kernel then reports that something was read. It reports no byte before a
// send, or the part of it that has a buffer of its own, was read whole.
func TestUnixSocketReportsWhatWasReadAfter36KiB(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	for err == nil {
		_, err = unix.Write(pair[0], make([]byte, 1<<20))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	unread := func() int {
		n, err := unix.IoctlGetInt(pair[0], unix.SIOCOUTQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, read := unread(), 0
	for piece := make([]byte, 512); unread() == before; read += len(piece) {
		if n, err := unix.Read(pair[1], piece); n != len(piece) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	if read > 36<<10 {
		t.Errorf("SIOCOUTQ fell after %d bytes were read, want at most 36 KiB", read)
	}
	t.Logf("SIOCOUTQ fell by %d after %d bytes were read", before-unread(), read)
}
