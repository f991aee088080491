//go:build linux

package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

const (
	// acceptPause is how long accepting pauses when descriptors or memory ran out. Clients wait in
	// the backlog meanwhile.
	acceptPause = 50 * time.Millisecond
	// handshakePause bounds the wait for a free place among the handshakes. Usually a handshake
	// that ends cuts it short.
	handshakePause = 10 * time.Millisecond
	waitPause      = time.Millisecond // between two calls of Config.Wait
)

// acceptor accepts connections from one listening socket, on its own goroutine, which waits in the
// Go poller.
type acceptor struct {
	server   *Server
	endpoint uint8
	bound    bound
	file     *os.File // owns bound.fd
	raw      syscall.RawConn
	turn     int           // the reader that gets the next connection
	short    bool          // descriptors or memory have run out
	done     chan struct{} // closed when the goroutine is gone
}

func newAcceptor(s *Server, endpoint int, b bound) (*acceptor, error) {
	a := &acceptor{
		server: s, endpoint: uint8(endpoint), bound: b, turn: endpoint,
		file: os.NewFile(uintptr(b.fd), b.addr), done: make(chan struct{}),
	}
	raw, err := a.file.SyscallConn()
	if err == nil {
		err = a.file.SetReadDeadline(time.Time{}) // fails if the Go poller cannot poll it
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("listen: %s cannot be polled: %w", s.cfg.Endpoints[endpoint].Name, err)
	}
	a.raw = raw
	return a, nil
}

func (a *acceptor) close() {
	a.bound.release() // before the close: an inode that is in use is not given to another file
	a.file.Close()
}

// run is the acceptor's goroutine. It ends when the deadline of its file expires; only
// Server.StopAccepting sets one.
func (a *acceptor) run() {
	defer close(a.done)
	defer a.close()
	defer a.recovered()
	defer a.reportPanic()
	for {
		select {
		case <-a.server.stopAccepting:
			return
		default:
		}
		if a.server.handshakesFull() {
			a.server.counters.handshakePauses.Add(1)
			a.server.wakeReaders() // for the shorter deadline of handshakes
			a.pause(handshakePause, a.server.handshakeFreed)
			continue
		}
		fd, peer, err := a.accept()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err == nil:
			if fd, err = a.lower(fd); err != nil {
				return
			}
			a.recovered()
			a.server.counters.accepted.Add(1)
			a.setUp(fd, peer)
		case errors.Is(err, errWait):
			a.pause(waitPause, nil)
		case exhausted(err):
			a.runShort(err)
		case errors.Is(err, unix.EBADF) || errors.Is(err, unix.EINVAL) ||
			errors.Is(err, unix.ENOTSOCK):
			panic(fmt.Errorf("accept4: %w", err))
		default: // accept(2): errors of the one connection that was about to be accepted
			a.server.counters.acceptErrors.Add(1)
		}
	}
}

func (a *acceptor) reportPanic() {
	cause := recover()
	if cause == nil {
		return
	}
	err := fmt.Errorf("listen: accepting on %s stopped: %v\n%s",
		a.server.cfg.Endpoints[a.endpoint].Name, cause, debug.Stack())
	if a.server.cfg.Fatal == nil {
		panic(err)
	}
	a.server.cfg.Fatal(err)
}

// exhausted reports an error of the whole process or machine, for which an immediate retry is
// useless.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) ||
		errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// errSpare is the cause of a pause that leaves the last descriptors to others than clients.
var errSpare = fmt.Errorf("the descriptors left are kept for files: %w", unix.EMFILE)

// lower gives an accepted socket a number that clients may have. While there is none, the socket waits
// here, and all later ones in the backlog. If accepting stops meanwhile, the socket is closed, as
// those in the backlog are.
func (a *acceptor) lower(fd int) (int, error) {
	for {
		low, ok := a.server.headroom.lower(fd)
		if ok {
			return low, nil
		}
		a.runShort(errSpare)
		select {
		case <-a.server.stopAccepting:
			unix.Close(fd)
			return -1, os.ErrDeadlineExceeded
		default:
		}
	}
}

// runShort pauses because descriptors or memory have run out. Handshakes have less time meanwhile.
func (a *acceptor) runShort(cause error) {
	s := a.server
	if !a.short {
		a.short = true
		s.counters.acceptPauses.Add(1)
		s.counters.acceptPaused.Add(1)
		s.wakeReaders() // for the shorter deadline of handshakes
		if s.cfg.Exhausted != nil {
			s.cfg.Exhausted(s.cfg.Endpoints[a.endpoint].Name, cause)
		}
	}
	a.pause(acceptPause, nil)
	_ = s.headroom.read() // an error leaves the limit as it was
}

// recovered notes that accepting goes on.
func (a *acceptor) recovered() {
	if a.short {
		a.short = false
		a.server.counters.acceptPaused.Add(-1)
	}
}

// pause waits until d has passed, a token arrives or accepting stops.
func (a *acceptor) pause(d time.Duration, token <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-token:
	case <-a.server.stopAccepting:
	}
}

// errWait means that clients stay in the backlog.
var errWait = errors.New("another server is about to accept")

// accept waits for one connection: accept4(2).
func (a *acceptor) accept() (fd int, peer unix.Sockaddr, err error) {
	waitErr := a.raw.Read(func(listening uintptr) bool {
		if wait := a.server.cfg.Wait; wait != nil && wait() {
			err = errWait
			return true
		}
		for {
			fd, peer, err = unix.Accept4(int(listening), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err == unix.EINTR {
				continue
			}
			return err != unix.EAGAIN
		}
	})
	if waitErr != nil {
		return 0, nil, waitErr
	}
	return fd, peer, err
}

// setUp sets the options of an accepted socket and hands it to the next reader in turn.
func (a *acceptor) setUp(fd int, peer unix.Sockaddr) {
	s := a.server
	s.counters.handshakes.Add(1)
	arriving := arrival{fd: int32(fd), uid: NoUID, endpoint: a.endpoint}
	var err error
	if s.cfg.Endpoints[a.endpoint].Network == "unix" {
		var credentials *unix.Ucred
		if credentials, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			arriving.uid = credentials.Uid
			err = s.cfg.sendBuffer(fd)
		}
	} else {
		addr, port := addressOf(peer)
		arriving.addr, arriving.port = addr.As16(), port
		if !s.addresses.underway.begin(addr) {
			s.refuseArrival(arriving, transport.ReasonAddressHandshakes)
			return
		}
		if !s.addresses.allow(addr, s.now()) {
			s.refuseArrival(arriving, transport.ReasonAddressLimit)
			return
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		s.refuseArrival(arriving, transport.ReasonSetupFailed)
		return
	}
	a.turn = (a.turn + 1) % len(s.readers)
	if !s.readers[a.turn].handOver(arriving) {
		s.refuseArrival(arriving, transport.ReasonShutdown)
	}
}

// addressOf returns the IP address and port of a socket address; the unspecified IPv6 address for
// any other kind.
func addressOf(name unix.Sockaddr) (netip.Addr, uint16) {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(name.Addr), uint16(name.Port)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(name.Addr), uint16(name.Port)
	}
	return netip.IPv6Unspecified(), 0
}
