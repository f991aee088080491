package actors

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// newSocket returns a socket without a peer, which the caller closes.
func newSocket(t *testing.T, family, kind int) int {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// listening returns a socket that listens.
func listening(t *testing.T, family int, at unix.Sockaddr) int {
	t.Helper()
	fd := newSocket(t, family, unix.SOCK_STREAM)
	if err := errors.Join(unix.Bind(fd, at), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestConnectRejectsDescriptorsThatAreNotItsOwnSocket(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		owned, ownedFD := r.pair(socket{})
		r.must(r.Connect(Conn{ID: 77, FD: ownedFD, WriteOnly: true}))
		_, blocking := r.pair(socket{})
		r.must(unix.SetNonblock(blocking, false))
		closed, err := unix.FcntlInt(uintptr(blocking), unix.F_DUPFD_CLOEXEC, 900)
		r.must(err)
		r.must(unix.Close(closed)) // no other socket of this test gets so high a number
		var pipe [2]int
		r.must(unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
		local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		cases := []struct {
			name  string
			fd    int
			wraps error
			says  []string
		}{
			{"owned", ownedFD, nil, []string{"belongs to connection 77", "ConnectNet"}},
			{"closed", closed, unix.EBADF, []string{"is not open", "ConnectNet"}},
			{"a pipe", pipe[0], nil, []string{"not a stream socket"}},
			{"datagrams", newSocket(t, unix.AF_INET, unix.SOCK_DGRAM), nil, []string{"not a stream socket"}},
			{"blocking", blocking, nil, []string{"SetNonblock", "ConnectNet"}},
			{"listening, tcp", listening(t, unix.AF_INET, local), unix.ENOTCONN, []string{"no peer", "accept"}},
			{"listening, unix", listening(t, unix.AF_UNIX, &unix.SockaddrUnix{}), unix.ENOTCONN, []string{"accept"}},
			{"unconnected, tcp", newSocket(t, unix.AF_INET6, unix.SOCK_STREAM), unix.ENOTCONN, []string{"no peer"}},
			{"unconnected, unix", newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM), unix.ENOTCONN, []string{"no peer"}},
		}
		for i, c := range cases {
			err := r.Connect(Conn{ID: uint64(i + 1), FD: c.fd})
			if err == nil {
				t.Fatalf("%s: accepted", c.name)
			}
			for _, part := range append(c.says, "descriptor") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not contain %q", c.name, err, part)
				}
			}
			if c.wraps != nil && !errors.Is(err, c.wraps) {
				t.Errorf("%s: %v does not wrap %v", c.name, err, c.wraps)
			}
		}
		r.report(77, 0, 1, 20)
		r.persist()
		owned.wants(0, 1) // the owner of the descriptor lost nothing
		unix.Close(pipe[1])
		for _, c := range cases[2:] {
			unix.Close(c.fd)
		}
		if n := r.Connections(); n != 1 {
			t.Errorf("%d permits are in use, want 1", n)
		}
		r.drain()
	})
}

// A client that reset its connection before Connect is served like any other that leaves.
func TestConnectAcceptsClientsThatHaveLeft(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		for id, leave := range []func(*client){(*client).reset, (*client).close} {
			c, fd := r.pair(socket{})
			leave(c)
			r.must(r.Connect(Conn{ID: uint64(id + 1), FD: fd}))
			r.watch.add(fd, uint64(id+1)) // now, because Disconnect must follow Connect
		}
		r.until("both are released", func() bool { return r.Connections() == 0 })
		r.drain()
	})
}

// A number that the kernel gives to the next socket can be connected at once.
func TestConnectAcceptsReusedNumbers(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		seen := map[int]int{}
		for i := range 200 {
			c, fd := r.pair(socket{})
			seen[fd]++
			r.must(r.Connect(Conn{ID: uint64(i + 1), FD: fd, WriteOnly: true}))
			r.must(r.Kick(uint64(i+1), transport.ReasonKicked))
			c.wantsEnd() // soon closed, perhaps not yet
			c.close()
		}
		if len(seen) == 200 {
			t.Error("no number was used twice")
		}
		r.drain()
	})
}

// wrapped is a net.Conn that hides its socket.
type wrapped struct{ net.Conn }

func TestConnectNetTakesSocketsOnly(t *testing.T) {
	gone := dialNet(t, "tcp")[0]
	gone.Close()
	r := newRig(t, way{transport.ModePoll, "tcp"}, nil)
	var none *net.TCPConn
	packets, err := net.ListenUnixgram("unixgram",
		&net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	r.must(err)
	a, _ := net.Pipe()
	for name, c := range map[string]struct {
		from net.Conn
		says string
	}{
		"nil":         {nil, "*net.TCPConn"},
		"typed nil":   {none, "*net.TCPConn"},
		"a pipe":      {a, "*net.pipe is not a socket; pass the *net.TCPConn or *net.UnixConn"},
		"wrapped":     {wrapped{a}, "actors.wrapped is not a socket"},
		"tls":         {tls.Client(a, &tls.Config{}), "use Connect with a Sealer"},
		"datagrams":   {packets, "not a stream socket"},
		"closed here": {gone, "use of closed network connection"},
	} {
		err := r.ConnectNet(Conn{ID: 1}, c.from)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.says)
		}
	}
	packets.Close()
	r.drain()
}

// dialNet returns both ends of a connection of package net, the server's first.
func dialNet(t *testing.T, network string) [2]net.Conn {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "tls" {
		t.Skip("a net.Conn with TLS is rejected")
	}
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "socket")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return [2]net.Conn{far, near}
}
