//go:build linux

package listen

import (
	"crypto/ed25519"
	"crypto/rand"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

// The handshake of one connection:
//
//	accepted --(key required)--> Challenge sent --ChallengeResponse--> known key, good signature --+
//	    |                             |                                     |                      |
//	    |                          timeout                              otherwise         Reserve, ServerReady,
//	    |                             +--------> AuthFailed, close <--------+                   Connect
//	    +--(open endpoint)------------------------------------------------------------------------>+
//	                                                                                          established
//
// The deadline is fixed when the connection is accepted. Bytes from the client do not extend it.

// timeoutDivisor shortens the deadline of handshakes while all places are taken, to
// 1/timeoutDivisor. A client that sends single bytes to hold a place loses it early. An honest
// client needs two round trips.
const timeoutDivisor = 4

// handshakeTime is the current time limit of a handshake, in ns.
func (r *reader) handshakeTime() int64 {
	if r.server.handshakesFull() {
		return int64(r.server.cfg.HandshakeTimeout) / timeoutDivisor
	}
	return int64(r.server.cfg.HandshakeTimeout)
}

// takeInbox starts the handshakes of the sockets that acceptors handed over.
func (r *reader) takeInbox(now int64) {
	r.mu.Lock()
	arrivals := r.inbox
	r.inbox = nil
	r.mu.Unlock()
	for _, a := range arrivals {
		r.begin(a, now)
	}
}

// begin starts a connection's handshake.
func (r *reader) begin(a arrival, now int64) {
	endpoint := &r.server.cfg.Endpoints[a.endpoint]
	slot := r.table.add()
	rec := r.table.at(slot)
	rec.fd, rec.uid, rec.addr, rec.port, rec.endpoint = a.fd, a.uid, a.addr, a.port, a.endpoint
	rec.role = endpoint.OpenRole
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: slot, Pad: int32(rec.gen)}
	if err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_ADD, int(a.fd), &event); err != nil {
		r.table.remove(slot)
		r.server.refuseArrival(a, transport.ReasonSetupFailed)
		return
	}
	rec.state, rec.since = handshaking, now
	r.handshakes.push(&r.table, slot)
	if endpoint.Open {
		if reason := r.establish(slot, rec, now); reason != 0 {
			r.end(slot, reason)
		}
		return
	}
	var nonce [wire.NonceSize]byte
	_, _ = rand.Read(nonce[:]) // crypto/rand never fails
	r.nonces[slot] = nonce
	var frame [wire.ChallengeFrameSize]byte
	if !sendAll(a.fd, wire.AppendNonce(frame[:0], &nonce)) {
		r.end(slot, transport.ReasonHandshakeLost)
	}
}

// handshake looks for the ChallengeResponse in data. If it is good, the connection is established,
// and the bytes behind it, which are requests sent early, are returned. A reason other than 0 ends
// the connection.
func (r *reader) handshake(
	slot int32, rec *record, data []byte, now int64,
) ([]byte, transport.Reason) {
	req, size, err := wire.NextRequest(data, wire.MaxHandshake-wire.PrefixSize)
	if err == nil && size == 0 {
		return data, 0
	}
	reason := transport.ReasonHandshakeMalformed
	if err == nil && req.Tag == wire.TagChallengeResponse {
		reason = r.verify(slot, rec, req.Body)
	}
	if reason == 0 {
		return data[size:], r.establish(slot, rec, now)
	}
	sendAll(rec.fd, []byte(wire.AuthFailed)) // optional: the connection is closed next
	return nil, reason
}

// verify checks the body of a ChallengeResponse; 0 means success.
func (r *reader) verify(slot int32, rec *record, body []byte) transport.Reason {
	signature, public, ok := wire.ChallengeResponse(body)
	if !ok {
		return transport.ReasonHandshakeMalformed
	}
	known, ok := r.server.keys.Load().lookup(public)
	if !ok {
		return transport.ReasonUnknownKey
	}
	nonce := r.nonces[slot]
	r.round.signatures = max(0, r.round.signatures-1)
	if !ed25519.Verify(public, nonce[:], signature) {
		return transport.ReasonBadSignature
	}
	rec.role, rec.key = known.role, known.key
	return 0
}

// establish hands the connection to the handler. If it returns a reason, the connection still
// belongs to the listener and must be ended.
func (r *reader) establish(slot int32, rec *record, now int64) transport.Reason {
	s := r.server
	if s.cfg.Reserve != nil && !s.cfg.Reserve() {
		return transport.ReasonConnectionLimit
	}
	// ServerReady is sent before the shard owns the socket, so only one goroutine writes at any
	// time.
	reason := transport.ReasonHandshakeLost
	if sendAll(rec.fd, []byte(wire.ReadyFrame)) {
		rec.id = s.nextID()
		reason = transport.ReasonConnectFailed
		if s.handler.Connect(r.describe(rec)) == nil {
			reason = 0
		}
	}
	if reason != 0 {
		if s.cfg.Release != nil {
			s.cfg.Release()
		}
		return reason
	}
	r.handshakes.remove(&r.table, slot)
	delete(r.nonces, slot)
	s.handshakeDone()
	rec.state, rec.since = established, now
	r.live.push(&r.table, slot)
	s.counters.opened.Add(1)
	s.counters.live.Add(1)
	return 0
}

// sendAll sends a frame of the handshake. A new socket has room for it; if not, it is broken.
func sendAll(fd int32, frame []byte) bool {
	for {
		n, err := unix.SendmsgN(int(fd), frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == len(frame)
	}
}
