package shard

import (
	"sluice/encode"
	"sluice/transport"
)

// farewellOf is the reason that a client is told; 0 for ends that are not the server's own, and for
// a fence, after which not a byte is sent (R15).
func farewellOf(why transport.Reason) encode.CloseReason {
	switch why {
	case transport.ReasonShutdown:
		return encode.CloseShutdown
	case transport.ReasonKicked:
		return encode.CloseKicked
	case transport.ReasonRevoked:
		return encode.CloseRevoked
	case transport.ReasonSlowHard, transport.ReasonSlowSoft, transport.ReasonStalled,
		transport.ReasonShardBudget, transport.ReasonSlowFeed:
		return encode.CloseSlow
	case transport.ReasonProtocolError:
		return encode.CloseProtocol
	case transport.ReasonSilent:
		return encode.CloseSilent
	case transport.ReasonEncodeError, transport.ReasonOther:
		return encode.CloseInternal
	}
	return 0
}

// farewell appends the last frame of a connection, which tells the client why it is closed. Over TLS it is a
// heartbeat if there is nothing to tell. From
// then on responses to it are dropped for that reason. It returns false if there is nothing to send.
// The caller has pinned the entry. The ledger does not count the frame, and needs no sample of it,
// because nothing follows whose bytes would have to be told apart.
func (e *Shard) farewell(entry uint32, why transport.Reason, now int64) bool {
	c := &e.table.conns[entry]
	if c.State&(transport.StateClosing|transport.StateFarewell) != 0 {
		return false
	}
	var room [encode.MaxControl]byte
	frame := room[:0]
	if told := farewellOf(why); told != 0 {
		last := encode.Control{Kind: encode.ControlClose, Reason: told, RetryAfter: told.RetryAfter()}
		if set := e.ending.farewell.Load(); set != nil && why == transport.ReasonShutdown {
			last = *set
		}
		last.Answered = e.answeredAll(c, why, now)
		frame = e.cfg.Framing.AppendControl(frame, last)
	} else if c.Has(transport.StateSecure) { // the end of the stream is a record behind it
		frame = e.cfg.Framing.AppendControl(frame, encode.Control{Kind: encode.ControlHeartbeat})
	}
	c.Reason = why
	c.Set(transport.StateFarewell)
	return len(frame) > 0 && e.append(c, entry, frame, now)
}

// answeredAll reports that a drain closes a connection whose reader has released it and whose client
// has been sent the responses to all requests that the reader passed on. It passes on no others, so
// none is carried out later. A connection without a reader does not count its requests.
func (e *Shard) answeredAll(c *transport.Conn, why transport.Reason, now int64) bool {
	return why == transport.ReasonShutdown && !e.phase.Over() && !e.phase.Expired(now) &&
		c.Has(transport.StateReaderGone) && c.Ended == c.Owed
}

// dismiss ends a connection for a reason of the server's own. What it holds is sent first, and then
// its farewell, as far as the socket takes them now.
func (e *Shard) dismiss(entry uint32, why transport.Reason, now int64) {
	c := &e.table.conns[entry]
	c.Pin()
	e.sendPending(entry, now)
	if c.Unsent() == 0 && c.Sending() == 0 && !e.behind(c, entry) && e.err == nil &&
		e.farewell(entry, why, now) {
		e.sendPending(entry, now)
	}
	e.close(entry, why, now)
	e.unpin(entry, now)
}

// part appends the farewells of half-closed connections that are closed for a reason of the
// server's own.
func (e *Shard) part(now int64) int {
	n := len(e.outbox.parting)
	for _, entry := range e.outbox.parting {
		c := &e.table.conns[entry]
		if !c.Has(transport.StateOpen|transport.StateHalfClosed) ||
			c.State&(transport.StateClosing|transport.StateFarewell) != 0 { // with a farewell it is closed once that is sent
			continue
		}
		c.Pin()
		if !e.farewell(entry, c.Final, now) {
			e.close(entry, c.Final, now)
		}
		e.unpin(entry, now)
	}
	e.outbox.parting = e.outbox.parting[:0]
	return n
}
