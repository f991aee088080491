//go:build linux

package listen

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

// service reads a connection once and handles every complete frame. events is from epoll; 0 if
// epoll reported nothing.
func (r *reader) service(slot int32, rec *record, events uint32, now int64) {
	if rec.tls {
		r.serviceTLS(slot, rec, events, now)
		return
	}
	if rec.state == handshaking && r.round.signatures == 0 {
		return // level-triggered: epoll reports it again in the next round
	}
	if events&unix.EPOLLHUP != 0 && rec.uid == NoUID {
		r.end(slot, r.lostReason(rec, hangUpReason(rec)))
		return
	}
	if rec.paused {
		return // what was sent before is read once it is resumed
	}
	kept := copy(r.buf, r.leftovers.get(rec.leftover))
	n, err := unix.Read(int(rec.fd), r.space(kept))
	if !r.received(slot, rec, n, err, kept > 0) {
		return
	}
	r.leftovers.drop(rec.leftover)
	rec.leftover = none
	r.process(slot, rec, r.buf[:kept+n], now)
}

// received judges the result of a read(2): n bytes, or an end of the connection, in the middle of a frame
// if some of one are kept. It reports whether there is something to process.
func (r *reader) received(slot int32, rec *record, n int, err error, kept bool) bool {
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return false
	case err != nil:
		r.end(slot, r.lostReason(rec, transport.ReasonPeerReset))
		return false
	case n == 0:
		if kept {
			r.server.counters.truncated.Add(1)
		}
		r.end(slot, r.lostReason(rec, transport.ReasonPeerClosed))
		return false
	}
	r.server.counters.bytes.Add(uint64(n))
	return true
}

// hangUpReason returns the reason for an EPOLLHUP on TCP, which means that both directions are
// shut. Without an error on the socket, this process shut it, and what the client had sent before
// must not be executed. A unix-domain socket also reports EPOLLHUP when the peer closed it, so
// there the bytes are read to the end.
func hangUpReason(rec *record) transport.Reason {
	if code, err := unix.GetsockoptInt(int(rec.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil ||
		code != 0 {
		return transport.ReasonPeerReset
	}
	return transport.ReasonLocalShutdown
}

// lostReason returns the reason for a connection that is gone: ReasonHandshakeLost if its handshake
// was not done.
func (r *reader) lostReason(rec *record, reason transport.Reason) transport.Reason {
	if rec.state == handshaking {
		return transport.ReasonHandshakeLost
	}
	return reason
}

// process handles the frames in data, which starts at a frame boundary, and stores an incomplete
// frame at its end.
func (r *reader) process(slot int32, rec *record, data []byte, now int64) {
	var reason transport.Reason
	if rec.state == handshaking {
		if data, reason = r.handshake(slot, rec, data, now); reason != 0 {
			r.end(slot, reason)
			return
		}
	} else {
		r.touch(slot, rec, now)
	}
	busy := false
	if rec.state == established {
		if data, busy, reason = r.requests(rec, data, now); reason != 0 {
			r.end(slot, reason)
			return
		}
	}
	if len(data) > 0 {
		rec.leftover = r.leftovers.keep(data)
	}
	if busy {
		r.pause(slot, rec)
	}
}

// touch records that the client is alive.
func (r *reader) touch(slot int32, rec *record, now int64) {
	rec.since = now
	if r.live.tail != slot {
		r.live.remove(&r.table, slot)
		r.live.push(&r.table, slot)
	}
}

// requests delivers the complete requests in data and returns the rest, which is busy if the handler
// has no room for its first request. A reason other than 0 ends the connection.
func (r *reader) requests(rec *record, data []byte, now int64) (rest []byte, busy bool, reason transport.Reason) {
	c, rate, who := r.describe(rec), r.server.requestRate.Load(), r.server.shares.at(rec.share)
	var taken, beats uint64
	shed := 0 // numbers in r.shed
	report := func() {
		if shed > 0 {
			r.server.counters.shed.Add(uint64(shed))
			r.server.handler.Shed(c, r.shed[:shed])
			shed = 0
		}
	}
	defer func() {
		report()
		rec.requests += taken
		r.server.counters.requests.Add(taken)
		if beats != 0 {
			r.server.counters.heartbeats.Add(beats)
		}
	}()
	for {
		req, size, err := wire.NextRequest(data, r.server.cfg.MaxRequest)
		if err != nil {
			return nil, false, frameReason(err)
		}
		if size == 0 {
			return data, false, 0
		}
		allowance := rec.allowance
		switch {
		case req.Tag == wire.TagHeartbeat && len(req.Body) == 0:
			beats++
			if !rec.beat(rate.bucket, who, now) {
				return nil, false, transport.ReasonTooManyHeartbeats
			}
		case req.Tag < wire.RequestFirst && !fromClient(req.Tag):
			return nil, false, transport.ReasonFrameMalformed
		case rate.interval != 0 && !rate.take(&rec.allowance, now), !who.take(now):
			if shed == len(r.shed) {
				report()
			}
			r.shed[shed] = req.Seq
			shed++
		default:
			report()
			err := r.server.handler.Request(c, req)
			if err == ErrBusy {
				rec.allowance = allowance // it is taken when the request is tried again
				who.give()
				return data, true, 0
			}
			if err != nil {
				return nil, false, transport.ReasonRequestFailed // the error is known to the handler
			}
			taken++
		}
		data = data[size:]
	}
}

// fromClient reports whether a client may send a tag below those of the application after its Hello.
// The answer for 0 and for a reserved tag is left to the application, which knows none of them. A
// Heartbeat that gets here has a body.
func fromClient(tag uint8) bool {
	switch tag {
	case 0, wire.TagAdminCommand, wire.TagTraced, wire.TagExtended:
		return true
	}
	return false
}

func frameReason(err error) transport.Reason {
	var frame *wire.FrameError
	if errors.As(err, &frame) && frame.TooLong() {
		return transport.ReasonFrameTooLong
	}
	return transport.ReasonFrameMalformed
}

// describe returns the connection as the handler sees it.
func (r *reader) describe(rec *record) Conn {
	return Conn{
		ID: rec.id, FD: rec.fd, UID: rec.uid, Role: rec.role, Key: r.server.shares.at(rec.share).fingerprint(),
		Remote:    rec.remote(),
		Listener:  r.server.cfg.Endpoints[rec.endpoint].Name,
		Heartbeat: time.Duration(rec.heartbeat) * time.Millisecond,
	}
}

// end removes a connection from epoll and the table, and notifies the handler or the observer of
// refusals. It is the only way out of the table.
func (r *reader) end(slot int32, reason transport.Reason) {
	rec := r.table.at(slot)
	c, requests, was, addr := r.describe(rec), rec.requests, rec.state, rec.addr
	t := r.secured(slot)
	if t != nil {
		t.end()
		r.leftovers.drop(t.leftover)
		r.tls.conns[slot] = nil
	}
	err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_DEL, int(rec.fd), nil)
	r.leftovers.drop(rec.leftover)
	if was == handshaking {
		r.handshakes.remove(&r.table, slot)
		delete(r.nonces, slot)
	} else if rec.paused {
		r.paused.remove(&r.table, slot)
		r.server.counters.paused.Add(-1)
	} else {
		r.live.remove(&r.table, slot)
	}
	r.table.remove(slot)
	if err != nil {
		panic(fmt.Sprintf("listen: fd %d of connection %d left epoll with %q: it was closed "+
			"before Disconnect",
			c.FD, c.ID, err))
	}
	if was == handshaking {
		r.server.handshakeDone(addr, c.UID)
		r.server.refuse(c, t, reason)
		return
	}
	r.server.counters.live.Add(-1)
	r.server.counters.ended[reason].Add(1)
	r.server.handler.Disconnect(c, requests, reason)
}
