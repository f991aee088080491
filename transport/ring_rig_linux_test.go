package transport

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds waits for events that must happen. Reaching it fails the test.
const patience = time.Minute

// rig is a ring with sockets around it, the same for all engines.
type rig struct {
	t    testing.TB
	ring Ring
	open func() (int32, rigPeer) // a connection with little room
	rest func()                  // waits after Park until the ring wakes its owner, or fails the test
	wake chan struct{}
	sim  *SimNet // nil for real sockets

	tcp   bool
	peers []*realPeer // clients of real sockets
}

// rigPeer is the client's end.
type rigPeer interface {
	Take(n int) []byte // exactly n bytes, waiting for them
	Drain()            // reads all bytes, and while the test rests, all that arrive
	HalfClose()
	Close()
	Reset()
	EOF() bool // waits for the next read, and reports whether it is the end of the stream
}

// newRig opens a rig by name, or skips the test with the reason why it cannot.
func newRig(t testing.TB, name string, entries int) *rig {
	t.Helper()
	r := &rig{t: t, wake: make(chan struct{}, 1)}
	wake := func() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	engine, family, _ := strings.Cut(name, "/")
	if engine == "sim" {
		r.openSim(entries, wake)
		return r
	}
	mode, err := ParseMode(engine)
	if err != nil {
		t.Fatal(err)
	}
	ring, diagnosis, err := Open(mode, RingConfig{Entries: entries, Wake: wake})
	if err != nil {
		if diagnosis.Fallback.fallsBack() {
			t.Skip(diagnosis.Text)
		}
		t.Fatal(err)
	}
	r.ring, r.tcp = ring, family == "tcp"
	t.Cleanup(func() {
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	})
	r.open = func() (int32, rigPeer) {
		fd, peer := realPair(t, family)
		r.peers = append(r.peers, peer)
		return fd, peer
	}
	r.rest = r.restReal
	return r
}

// restReal waits for the wake-up and lets draining clients continue to read, because TCP moves
// bytes one window at a time.
func (r *rig) restReal() {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-r.wake:
			return
		case <-time.After(2 * time.Millisecond):
		}
		for _, peer := range r.peers {
			if peer.draining {
				peer.Drain()
			}
		}
	}
	r.t.Fatalf("the ring did not wake its owner within %v after Park", patience)
}

func (r *rig) openSim(entries int, wake func()) {
	r.sim = NewSimNet()
	ring := NewSimRing(r.sim, SimConfig{Entries: entries, Completions: max(1, entries/2), Seed: 1,
		Wake: wake})
	r.ring = ring
	r.open = func() (int32, rigPeer) {
		fd, peer := r.sim.Open(4096)
		return fd, simRigPeer{r.t, peer}
	}
	r.rest = func() {
		for range 1000 {
			select {
			case <-r.wake:
				return
			default:
				ring.Tick()
			}
		}
		r.t.Fatal("the ring did not wake its owner within 1000 ticks after Park")
	}
}

// widen gives a connection room for many small sends.
func (r *rig) widen(fd int32) {
	r.t.Helper()
	if r.sim != nil {
		return
	}
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<18); err != nil {
		r.t.Fatal(err)
	}
}

// submit calls Submit, and fails the test on an error.
func (r *rig) submit() {
	r.t.Helper()
	if err := r.ring.Submit(); err != nil {
		r.t.Fatal(err)
	}
}

// await reaps exactly n completions, parking in between as an owner would.
func (r *rig) await(n int) []Completion {
	r.t.Helper()
	got := make([]Completion, 0, n)
	for deadline := time.Now().Add(patience); len(got) < n; {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d of %d completions within %v", len(got), n, patience)
		}
		k := r.ring.Reap(got[len(got):n])
		got = got[:len(got)+k]
		if k == 0 {
			r.ring.Park()
			r.rest()
		}
	}
	return got
}

// none fails the test if there is a completion.
func (r *rig) none(why string) {
	r.t.Helper()
	var one [1]Completion
	if r.ring.Reap(one[:]) != 0 {
		r.t.Fatalf("unexpected completion %+v: %s", one[0], why)
	}
}

// send queues, submits and reaps one send, and returns its result.
func (r *rig) send(fd int32, b []byte) int32 {
	r.t.Helper()
	if !r.ring.Send(fd, b, 77) {
		r.t.Fatal("Send returned false on an empty queue")
	}
	r.submit()
	c := r.await(1)[0]
	if c.User != 77 {
		r.t.Fatalf("completion of user %d; want 77", c.User)
	}
	return c.Res
}

// fill sends until the socket accepts no more, and returns the number of bytes accepted.
func (r *rig) fill(fd int32, next func(n int) []byte) int {
	r.t.Helper()
	for _, peer := range r.peers {
		peer.draining = false
	}
	total := 0
	for {
		b := next(total)
		res := r.send(fd, b)
		if res == -int32(unix.EAGAIN) {
			if r.staysFull(fd) {
				return total
			}
			continue
		}
		if res <= 0 {
			r.t.Fatalf("send: %v", unix.Errno(-res))
		}
		total += int(res)
	}
}

// staysFull reports whether a full socket stays full. TCP moves bytes to the client's buffer for a
// while after it refused some.
func (r *rig) staysFull(fd int32) bool {
	if !r.tcp {
		return true
	}
	n, _ := unix.Poll([]unix.PollFd{{Fd: fd, Events: unix.POLLOUT}}, 100)
	return n == 0
}

// zeros is a source for fill when the bytes do not matter.
func zeros(int) []byte { return make([]byte, 1<<16) }

// poll queues and submits a poll.
func (r *rig) poll(fd int32, user uint64) {
	r.t.Helper()
	if !r.ring.Poll(fd, user) {
		r.t.Fatal("Poll returned false")
	}
	r.submit()
}

type simRigPeer struct {
	t testing.TB
	*SimPeer
}

func (p simRigPeer) Take(n int) []byte {
	got := p.Read(n)
	if len(got) != n {
		p.t.Fatalf("peer read %d bytes; want %d", len(got), n)
	}
	return got
}
func (p simRigPeer) Drain()    { p.Read(1 << 30) }
func (p simRigPeer) EOF() bool { return p.Ended() }

// realPair returns a connected pair of sockets with small buffers: the server's descriptor, which
// the test closes if it is still open, and the client's end.
func realPair(t testing.TB, family string) (int32, *realPeer) {
	t.Helper()
	var server, client int
	sndbuf := 4608
	if family == "tcp" {
		sndbuf = 1 << 16 // with smaller ones TCP depends on its timers, which is slow
		server, client = tcpPair(t)
	} else {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatalf("socketpair: %v", err)
		}
		server, client = pair[0], pair[1]
	}
	if err := unix.SetsockoptInt(server, unix.SOL_SOCKET, unix.SO_SNDBUF, sndbuf); err != nil {
		t.Fatal(err)
	}
	peer := &realPeer{t: t, fd: client}
	t.Cleanup(func() { peer.Close() })
	return int32(server), peer
}

// tcpPair returns a connected pair of TCP sockets over loopback with cubic congestion control.
func tcpPair(t testing.TB) (server, client int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	defer unix.Close(listener)
	// Ethernet-sized segments: with the 64 KiB segments of loopback, a window opens only by a
	// timer, seconds later.
	must(unix.SetsockoptInt(listener, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1460))
	must(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.Listen(listener, 1))
	address, err := unix.Getsockname(listener)
	must(err)
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1460))
	must(unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<16)) // and no automatic growth
	must(unix.Connect(client, address))
	server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	must(err)
	must(unix.SetNonblock(client, true))
	for _, fd := range []int{server, client} {
		must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		must(unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"))
	}
	return server, client
}

// realPeer is the client's end of a real connection.
type realPeer struct {
	t        testing.TB
	fd       int
	draining bool
}

// ready waits until the socket is readable.
func (p *realPeer) ready() {
	p.t.Helper()
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		if n > 0 {
			return
		}
		if !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			p.t.Fatalf("peer: nothing to read within %v (%v)", patience, err)
		}
	}
}

func (p *realPeer) Take(n int) []byte {
	p.t.Helper()
	b := make([]byte, n)
	for got := 0; got < n; {
		p.ready()
		k, err := unix.Read(p.fd, b[got:])
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			p.t.Fatalf("peer: read: %v", err)
		}
		if err == nil && k == 0 {
			p.t.Fatalf("peer: end of stream after %d of %d bytes", got, n)
		}
		got += max(k, 0)
	}
	return b
}

func (p *realPeer) Drain() {
	p.draining = true
	for b := make([]byte, 1<<16); ; {
		k, err := unix.Read(p.fd, b)
		if k <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (p *realPeer) EOF() bool {
	for {
		p.ready()
		k, err := unix.Read(p.fd, make([]byte, 1<<16))
		if err == nil && k == 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return errors.Is(err, unix.ECONNRESET)
		}
	}
}

func (p *realPeer) HalfClose() { _ = unix.Shutdown(p.fd, unix.SHUT_WR) }

func (p *realPeer) Close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

func (p *realPeer) Reset() {
	_ = unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	p.Close()
}

// openFiles counts this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// settles waits until a count is back at its baseline, because goroutines that ended are counted
// for a moment.
func settles(t testing.TB, what string, want int, count func() int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for count() > want {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d; want %d as before", what, count(), want)
		}
		runtime.Gosched()
	}
}
