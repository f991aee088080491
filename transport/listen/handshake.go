//go:build linux

package listen

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

// The handshake of one connection:
//
//	accepted --> Challenge sent --Hello--> open endpoint, or known key and good signature --> Reserve
//	                  |                             |                                            |
//	               timeout                      otherwise                               ServerReady, Connect
//	                  +---------> Close <-----------+                                            |
//	                                                                                        established
//
// If Config.Direct sends the client elsewhere, ServerReady and Close follow instead of Reserve.
//
// The deadline is fixed when the connection is accepted. Bytes from the client do not extend it.

// timeoutDivisor shortens the deadline of handshakes while all places or descriptors are taken, to
// 1/timeoutDivisor. A client that sends single bytes to hold its place loses it early. An honest
// client needs one round trip.
const timeoutDivisor = 4

// handshakeTime is the current time limit of a handshake, in ns.
func (r *reader) handshakeTime() int64 {
	if r.server.crowded() {
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
	r.takeShaken()
}

// begin starts a connection's handshake.
func (r *reader) begin(a arrival, now int64) {
	endpoint := &r.server.cfg.Endpoints[a.endpoint]
	slot := r.table.add()
	rec := r.table.at(slot)
	rec.fd, rec.uid, rec.addr, rec.port, rec.endpoint = a.fd, a.uid, a.addr, a.port, a.endpoint
	rec.role = endpoint.OpenRole
	event := unix.EpollEvent{Events: served, Fd: slot, Pad: int32(rec.gen)}
	if endpoint.TLS {
		event.Events = once
	}
	if err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_ADD, int(a.fd), &event); err != nil {
		r.table.remove(slot)
		r.server.refuseArrival(a, transport.ReasonSetupFailed)
		return
	}
	rec.state, rec.since = handshaking, now
	r.handshakes.push(&r.table, slot)
	if endpoint.TLS {
		r.beginTLS(slot, rec)
		return
	}
	r.challenge(slot, rec)
}

// challenge sends the Challenge of a connection.
func (r *reader) challenge(slot int32, rec *record) {
	challenge := wire.Challenge{Sign: !r.server.cfg.Endpoints[rec.endpoint].Open}
	_, _ = rand.Read(challenge.Nonce[:]) // crypto/rand never fails
	if challenge.Sign {
		r.nonces[slot] = challenge.Nonce
	}
	var frame [wire.ChallengeFrameSize]byte
	if !r.sendTo(slot, rec, wire.AppendChallenge(frame[:0], &challenge)) {
		r.end(slot, transport.ReasonHandshakeLost)
	}
}

// handshake looks for the Hello in data. If it is good, the connection is established, and the bytes
// behind it, which are requests sent early, are returned. A reason other than 0 ends the connection.
func (r *reader) handshake(
	slot int32, rec *record, data []byte, now int64,
) ([]byte, transport.Reason) {
	req, size, err := wire.NextRequest(data, wire.MaxHandshake-wire.PrefixSize)
	if err == nil && size == 0 {
		return data, 0
	}
	if bytes.HasPrefix(data, clientHello) && !rec.tls {
		return nil, transport.ReasonTLSMismatch
	}
	if err != nil || req.Tag != wire.TagHello {
		return nil, transport.ReasonHandshakeMalformed
	}
	hello, ok := wire.DecodeHello(req.Body)
	if !ok {
		return nil, transport.ReasonHandshakeMalformed
	}
	if reason := r.authorize(slot, rec, &hello, now); reason != 0 {
		return nil, reason
	}
	if hello.Heartbeat != 0 {
		rec.heartbeat = uint16(min(max(hello.Heartbeat, MinHeartbeat), MaxHeartbeat) / time.Millisecond)
	}
	return data[size:], r.establish(slot, rec, now)
}

// clientHello is how a TLS client begins: a record of a handshake, of any version. As a length it is too long.
var clientHello = []byte{22, 3}

// authorize checks key and signature if the endpoint needs them; 0 means success. An open endpoint
// ignores them, as the flag of its Challenge says.
func (r *reader) authorize(slot int32, rec *record, hello *wire.Hello, now int64) transport.Reason {
	if r.server.cfg.Endpoints[rec.endpoint].Open {
		return 0
	}
	id, reason := r.proved(slot, hello)
	if reason != 0 {
		return reason
	}
	rec.role, rec.share = id.Role, r.server.shares.of(id.Key)
	if id.Expired(time.Now()) {
		return transport.ReasonKeyExpired
	}
	// Behind the signature, so others cannot take its tokens.
	if !r.server.shares.at(rec.share).connects.take(now) {
		return transport.ReasonKeyConnectRate
	}
	return 0
}

// proved returns the identity that a client has proved: with its signature, or, if it sends none, with the
// certificate of its TLS connection.
func (r *reader) proved(slot int32, hello *wire.Hello) (*Identity, transport.Reason) {
	ring := r.server.shares.ring.Load()
	if hello.Signature == nil {
		if t := r.secured(slot); t != nil {
			if id := ring.Certified(t.session.Peer(), time.Now()); id != nil {
				return id, 0
			}
		}
		return nil, transport.ReasonNoSignature
	}
	id := ring.lookup(hello.Key)
	if id == nil {
		return nil, transport.ReasonUnknownKey
	}
	nonce := r.nonces[slot]
	message := wire.Signed(&nonce, r.binding(slot))
	r.round.signatures = max(0, r.round.signatures-1)
	if !ed25519.Verify(hello.Key, message, hello.Signature) {
		return nil, transport.ReasonBadSignature
	}
	return id, 0
}

// establish hands the connection to the handler. If it returns a reason, the connection still
// belongs to the listener and must be ended.
func (r *reader) establish(slot int32, rec *record, now int64) transport.Reason {
	s := r.server
	rec.id = s.nextID()
	c := r.describe(rec)
	if t := r.secured(slot); t != nil {
		c.Secure = t.session
	}
	if end, direct := s.directed(); direct {
		r.ready = wire.AppendClose(s.appendReady(r.ready[:0], &c, false), end)
		if !r.sendTo(slot, rec, r.ready) {
			return transport.ReasonHandshakeLost
		}
		return transport.ReasonNotLeader
	}
	if s.cfg.Reserve != nil {
		if reason := s.cfg.Reserve(c); reason != 0 {
			return reason
		}
	}
	// ServerReady is sent before the shard owns the socket, so only one goroutine writes at any
	// time.
	reason := transport.ReasonHandshakeLost
	r.ready = s.appendReady(r.ready[:0], &c, true)
	if r.sendTo(slot, rec, r.ready) {
		reason = transport.ReasonConnectFailed
		if s.handler.Connect(c) == nil {
			reason = 0
		}
	}
	if reason != 0 {
		if s.cfg.Release != nil {
			s.cfg.Release(c)
		}
		return reason
	}
	r.handshakes.remove(&r.table, slot)
	delete(r.nonces, slot)
	s.handshakeDone(rec.addr, rec.uid)
	rec.state, rec.since = established, now
	r.live.push(&r.table, slot)
	s.counters.opened.Add(1)
	s.counters.live.Add(1)
	return 0
}

// appendReady appends the ServerReady for a connection.
func (s *Server) appendReady(dst []byte, c *Conn, leads bool) []byte {
	announce, rate := &s.cfg.Announce, s.announced(c.Key)
	ready := wire.ServerReady{
		Version: wire.Version, Leads: leads, Conn: c.ID,
		MaxRequest: uint32(s.cfg.MaxRequest), MaxResponse: uint32(announce.MaxResponse),
		Window: uint32(announce.Window), Rate: uint32(math.Ceil(rate.PerSecond)), Burst: uint32(rate.Burst),
		Heartbeat: announce.Heartbeat, Silence: s.cfg.IdleTimeout, Name: announce.Name,
	}
	if c.Heartbeat != 0 {
		ready.Heartbeat = c.Heartbeat
	}
	return wire.AppendServerReady(dst, &ready)
}

// announced is the rate that a new connection of a key is told: of the one of each connection and the one of all
// connections of the key together, the slower rate and the smaller burst.
func (s *Server) announced(key Fingerprint) Rate {
	rate, of := s.requestRate.Load().rate, Rate{}
	if id := s.shares.ring.Load().Find(key); id != nil {
		of = id.Rate
	}
	if rate == (Rate{}) || of == (Rate{}) {
		return Rate{rate.PerSecond + of.PerSecond, rate.Burst + of.Burst} // one of them is zero
	}
	return Rate{min(rate.PerSecond, of.PerSecond), min(rate.Burst, of.Burst)}
}
