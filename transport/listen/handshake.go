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
//	accepted --(endpoint asks for a key)--> Challenge sent --ChallengeResponse--> key known, signature good --+
//	    |                                        |                                        |                    |
//	    |                                   silent too long                            otherwise          ServerReady,
//	    |                                        +-----------> AuthFailed, close <--------+              Reserve, Connect
//	    +--(open endpoint)------------------------------------------------------------------------------------>+
//	                                                                                                       established
//
// The deadline is fixed when the connection is accepted; bytes that come do not move it.

// timeoutDivisor is the part of its time a handshake may take, 1/timeoutDivisor, while others wait for its place. A client that
// drips bytes to hold a place loses it early, an honest one needs two round trips.
const timeoutDivisor = 4

// handshakeTime is how long a handshake may take now, in ns.
func (r *reader) handshakeTime() int64 {
	if r.server.handshakesFull() {
		return int64(r.server.cfg.HandshakeTimeout) / timeoutDivisor
	}
	return int64(r.server.cfg.HandshakeTimeout)
}

// takeInbox takes the sockets that acceptors gave.
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
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand
	r.nonces[slot] = nonce
	var frame [wire.ChallengeFrameSize]byte
	if !sendAll(a.fd, wire.AppendChallenge(frame[:0], &nonce)) {
		r.end(slot, transport.ReasonHandshakeLost)
	}
}

// handshake looks for the client's answer in data. On success the connection is established and the bytes behind the answer,
// which are requests sent ahead, are returned; a reason other than 0 ends the connection.
func (r *reader) handshake(slot int32, rec *record, data []byte, now int64) ([]byte, transport.Reason) {
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
	sendAll(rec.fd, []byte(wire.AuthFailed)) // a courtesy: the close that follows says as much
	return nil, reason
}

// verify checks the answer to the challenge; 0 is success.
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

// establish gives the connection to the handler. Any reason it returns must end the connection, which is still the listener's.
func (r *reader) establish(slot int32, rec *record, now int64) transport.Reason {
	s := r.server
	if s.cfg.Reserve != nil && !s.cfg.Reserve() {
		return transport.ReasonConnectionLimit
	}
	// ServerReady goes out before the shard owns the socket, so that one goroutine writes at any time.
	reason := transport.ReasonHandshakeLost
	if sendAll(rec.fd, []byte(wire.ServerReady)) {
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

// sendAll sends a frame of the handshake. A fresh socket has room for it, so one that has not is broken.
func sendAll(fd int32, frame []byte) bool {
	for {
		n, err := unix.SendmsgN(int(fd), frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == len(frame)
	}
}
