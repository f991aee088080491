//go:build linux

package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/secure"
	"sluice/transport/wire"
)

// The TLS handshake of a connection comes before its Challenge. It has a goroutine, and the record of any
// other handshake, so the reader ends it at its deadline:
//
//	reader                          goroutine
//	begin --------------------------> waits for its turn; reads and writes the socket
//	readable (once) --signal------->  goes on
//	takeShaken <---inbox------------  done, or failed
//	Challenge, in a record
//	...
//	end: ended = true ------------->  uses the socket no more

var _ transport.Sealer = (*secure.Session)(nil)

// secured is the TLS of one connection. The first fields say which one it is, and do not change. Those of the
// reader follow, and then what its goroutine needs of the socket.
type secured struct {
	session *secure.Session
	server  *Server
	reader  *reader
	slot    int32
	gen     uint32
	result  error // of the TLS handshake; guarded by reader.mu

	// of the reader
	err      error // result, once it is known
	done     bool  // the TLS handshake is done
	closed   bool  // the client has ended its direction
	leftover int32 // index of the beginning of a record, or none

	ready chan struct{} // holds a token once the socket is readable, or ended is set
	mu    sync.Mutex    // held while the goroutine uses the socket
	fd    int32
	ended bool // the reader has ended the connection
	heard bool // the client has sent something
}

var errEnded = errors.New("listen: the connection has ended")

// SetTLS replaces the certificate and the authorities for later connections of the endpoints with TLS.
func (s *Server) SetTLS(c *tls.Config) {
	if c == nil {
		panic("listen: SetTLS(nil)")
	}
	s.tls.config.Store(c)
}

// secure returns the TLS of a connection, nil for a plain one.
func (r *reader) secured(slot int32) *secured {
	if int(slot) < len(r.tls.conns) {
		return r.tls.conns[slot]
	}
	return nil
}

// serverTLS is the part of a server for TLS.
type serverTLS struct {
	config    atomic.Pointer[tls.Config] // written by New and SetTLS, read by readers
	computing chan struct{}              // places for TLS handshakes that compute at a time
	shaking   sync.WaitGroup             // goroutines of TLS handshakes
}

// readerTLS is the part of a reader for TLS. Its buffers are made for the first connection.
type readerTLS struct {
	conns   []*secured // by slot
	records []byte     // what was read
	plain   []byte     // what it contains
	shaken  []*secured // whose TLS handshakes have ended; guarded by reader.mu
}

// beginTLS starts the TLS handshake of a connection. epoll reports that it is readable once, whenever its goroutine
// waits for that.
func (r *reader) beginTLS(slot int32, rec *record) {
	if r.tls.records == nil {
		r.tls.records = make([]byte, max(len(r.buf), 2*transport.SealRecord))
		r.tls.plain = make([]byte, len(r.tls.records)+len(r.buf))
	}
	for int(slot) >= len(r.tls.conns) {
		r.tls.conns = append(r.tls.conns, nil)
	}
	t := &secured{server: r.server, reader: r, slot: slot, gen: rec.gen, fd: rec.fd, leftover: none,
		ready: make(chan struct{}, 1)}
	t.session = secure.Server((*shaking)(t), r.server.tls.config.Load())
	r.tls.conns[slot] = t
	rec.tls = true
	r.server.tls.shaking.Add(1)
	go t.shake()
}

// shake is the goroutine of a TLS handshake.
func (t *secured) shake() {
	s, r := t.server, t.reader
	defer s.tls.shaking.Done()
	s.tls.computing <- struct{}{}
	err := t.session.Handshake()
	<-s.tls.computing
	r.mu.Lock()
	t.result = err
	r.tls.shaken = append(r.tls.shaken, t)
	r.mu.Unlock()
	r.wake()
}

func (t *secured) signal() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// end keeps the goroutine from using the socket.
func (t *secured) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.signal()
}

// shaking is a secured as the socket of its TLS handshake.
type shaking secured

// Read waits until there is a byte.
func (t *shaking) Read(b []byte) (int, error) {
	for {
		n, err := t.try(b)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err != unix.EAGAIN:
			return 0, err
		}
		<-t.server.tls.computing // others compute meanwhile
		<-t.ready
		t.server.tls.computing <- struct{}{}
	}
}

// try reads what there is, and has epoll report what comes if there is nothing.
func (t *shaking) try(b []byte) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, errEnded
	}
	for {
		if n, err = unix.Read(int(t.fd), b); err != unix.EINTR {
			break
		}
	}
	if n > 0 {
		t.heard = true
	}
	if err == unix.EAGAIN {
		event := unix.EpollEvent{Events: once, Fd: t.slot, Pad: int32(t.gen)}
		if wrong := unix.EpollCtl(t.reader.epfd, unix.EPOLL_CTL_MOD, int(t.fd), &event); wrong != nil {
			err = os.NewSyscallError("epoll_ctl", wrong)
		}
	}
	return n, err
}

// once are the events of a connection whose TLS handshake is under way.
const once = served | unix.EPOLLONESHOT

// Write sends at once. A new socket has room for a flight; if not, it is broken.
func (t *shaking) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, errEnded
	}
	if !t.server.send(t.fd, b) {
		return 0, unix.EPIPE
	}
	return len(b), nil
}

// takeShaken goes on with the connections whose TLS handshakes have ended.
func (r *reader) takeShaken() {
	r.mu.Lock()
	shaken := r.tls.shaken
	r.tls.shaken = nil
	r.mu.Unlock()
	for _, t := range shaken {
		if t.ended { // only the reader sets it
			continue
		}
		rec := r.table.at(t.slot)
		r.mu.Lock()
		t.err = t.result
		r.mu.Unlock()
		if t.err != nil {
			r.end(t.slot, t.failure())
			continue
		}
		t.done = true
		r.watch(t.slot, rec, served)
		r.challenge(t.slot, rec)
	}
}

// failure is why a client is rejected whose TLS handshake has failed.
func (t *secured) failure() transport.Reason {
	var header tls.RecordHeaderError
	switch {
	case errors.As(t.err, &header) && header.Conn != nil:
		return transport.ReasonTLSMismatch
	case errors.Is(t.err, io.EOF), errors.Is(t.err, unix.ECONNRESET), errors.Is(t.err, unix.EPIPE):
		return transport.ReasonHandshakeLost
	}
	return transport.ReasonTLSFailed
}

// serviceTLS is service for a connection with TLS.
func (r *reader) serviceTLS(slot int32, rec *record, events uint32, now int64) {
	t := r.secured(slot)
	switch {
	case !t.done:
		t.signal()
		return
	case events&unix.EPOLLHUP != 0:
		r.end(slot, r.lostReason(rec, hangUpReason(rec)))
		return
	case rec.paused:
		return
	}
	kept := copy(r.tls.records, r.leftovers.get(t.leftover))
	most := len(r.tls.records)
	if r.paused.head != none {
		most = min(most, kept+crowdedRead)
	}
	n, err := unix.Read(int(rec.fd), r.tls.records[kept:most])
	if !r.received(slot, rec, n, err, kept > 0 || rec.leftover != none) {
		return
	}
	r.leftovers.drop(t.leftover)
	t.leftover = none
	r.open(slot, rec, t, r.tls.records[:kept+n], now)
}

// open decrypts what was read, and handles every complete frame in it.
func (r *reader) open(slot int32, rec *record, t *secured, records []byte, now int64) {
	kept := copy(r.tls.plain, r.leftovers.get(rec.leftover))
	n, used, err := t.session.Open(r.tls.plain[kept:], records, now)
	if err == nil && used < len(records) {
		t.leftover = r.leftovers.keep(records[used:])
	}
	if n > 0 {
		r.leftovers.drop(rec.leftover)
		rec.leftover = none
		gen := rec.gen
		r.process(slot, rec, r.tls.plain[:kept+n], now)
		if rec.gen != gen {
			return
		}
	}
	switch {
	case err == io.EOF:
		if t.closed = true; !rec.paused {
			r.endClosed(slot, rec)
		}
	case err != nil:
		r.end(slot, r.lostReason(rec, transport.ReasonRecordMalformed))
	}
}

// endClosed ends a connection whose client has ended its direction.
func (r *reader) endClosed(slot int32, rec *record) {
	if rec.leftover != none {
		r.server.counters.truncated.Add(1)
	}
	r.end(slot, r.lostReason(rec, transport.ReasonPeerClosed))
}

// sendTo sends a frame of the listener's own to a client that it handles.
func (r *reader) sendTo(slot int32, rec *record, frame []byte) bool {
	t := r.secured(slot)
	if t == nil {
		return r.server.send(rec.fd, frame)
	}
	record, err := t.session.Seal(nil, frame)
	return r.server.send(rec.fd, record) && err == nil
}

// binding is the channel binding that a client signs; nil on a plain connection.
func (r *reader) binding(slot int32) []byte {
	t := r.secured(slot)
	if t == nil {
		return nil
	}
	binding := t.session.Binding()
	return binding[:]
}

// lastWords are the bytes that tell a rejected client why, and nil if there is no way to. A client that spoke no
// TLS, or nothing at all, is told in the clear.
func (t *secured) lastWords(end wire.Close, reason transport.Reason) []byte {
	frame := wire.AppendClose(nil, end)
	if !t.done {
		t.mu.Lock()
		defer t.mu.Unlock()
		if reason == transport.ReasonTLSMismatch || !t.heard {
			return frame
		}
		return nil
	}
	records, err := t.session.Seal(nil, frame)
	if err == nil {
		records, _ = t.session.End(records)
	}
	return records
}
