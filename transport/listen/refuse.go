//go:build linux

package listen

import (
	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

// directed returns the Close for a client that is sent to another server now.
func (s *Server) directed() (c wire.Close, direct bool) {
	if s.cfg.Direct == nil {
		return wire.Close{}, false
	}
	address, direct := s.cfg.Direct()
	return wire.Close{Reason: wire.CloseNotLeader, RetryAfter: s.cfg.RetryAfter.NotLeader,
		Address: address}, direct
}

// farewell returns the Close for a client that is rejected. ok is false if the client is gone, or has
// been told.
func (s *Server) farewell(reason transport.Reason) (c wire.Close, ok bool) {
	retry := &s.cfg.RetryAfter
	switch reason {
	case transport.ReasonHandshakeLost, transport.ReasonNotLeader, transport.ReasonTLSFailed:
		return wire.Close{}, false
	case transport.ReasonShutdown:
		if end, direct := s.directed(); direct {
			return end, true
		}
		return wire.Close{Reason: wire.CloseShutdown, RetryAfter: retry.Shutdown}, true
	case transport.ReasonHandshakeTimeout:
		return wire.Close{Reason: wire.CloseHandshakeTimeout, RetryAfter: retry.HandshakeTimeout}, true
	case transport.ReasonTooManyHandshakes, transport.ReasonConnectionLimit, transport.ReasonAddressLimit,
		transport.ReasonKeyLimit, transport.ReasonKeyConnectRate, transport.ReasonAddressHandshakes:
		return wire.Close{Reason: wire.CloseLimit, RetryAfter: retry.Limit}, true
	case transport.ReasonHandshakeMalformed, transport.ReasonTLSMismatch:
		return wire.Close{Reason: wire.CloseProtocolError, RetryAfter: wire.Never}, true
	case transport.ReasonUnknownKey, transport.ReasonBadSignature, transport.ReasonNoSignature,
		transport.ReasonKeyExpired:
		return wire.Close{Reason: wire.CloseUnauthorized, RetryAfter: wire.Never}, true
	}
	return wire.Close{Reason: wire.CloseInternal, RetryAfter: retry.Internal}, true
}

// refuseArrival closes a socket that never reached the table of a reader.
func (s *Server) refuseArrival(a arrival, reason transport.Reason) {
	s.handshakeDone(a.addr, a.uid)
	rec := record{fd: a.fd, uid: a.uid, addr: a.addr, port: a.port}
	var t *secured
	if s.cfg.Endpoints[a.endpoint].TLS {
		t = &secured{heard: true} // a client that may speak TLS at any moment is not told in the clear
	}
	s.refuse(Conn{
		FD: a.fd, UID: a.uid, Remote: rec.remote(), Listener: s.cfg.Endpoints[a.endpoint].Name,
	}, t, reason)
}

// refuse sends Close, closes a socket that the handler never owned, and reports it. t is nil for a plain connection.
func (s *Server) refuse(c Conn, t *secured, reason transport.Reason) {
	s.counters.ended[reason].Add(1)
	if end, ok := s.farewell(reason); ok {
		last := wire.AppendClose(nil, end)
		if t != nil {
			last = t.lastWords(end, reason)
		}
		if len(last) > 0 {
			s.send(c.FD, last)
		}
	}
	if t != nil && t.err != nil {
		c.Secure = t.session
	}
	discard(c.FD)
	unix.Close(int(c.FD))
	if s.cfg.Refused != nil {
		c.FD = -1
		s.cfg.Refused(c, reason)
	}
}

const discardReads = 32 // of 4 KiB, at most, per refused client

// discard reads what the client has sent. A socket that is closed with unread bytes resets its
// connection, and the client would lose the Close that it has not read yet.
func discard(fd int32) {
	var rest [4096]byte
	for range discardReads {
		n, err := unix.Read(int(fd), rest[:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
	}
}

// send sends a frame of the listener's own. A new socket has room for it; if not, it is broken.
func (s *Server) send(fd int32, frame []byte) bool {
	if s.mute.Load() {
		return false
	}
	for {
		n, err := unix.SendmsgN(int(fd), frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == len(frame)
	}
}
