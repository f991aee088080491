package shard

import (
	"sluice/telemetry"
	"sluice/transport"
)

// sendTape queues one send from the tape of a connection's feed, if it is behind and has no bytes of
// its own.
func (e *Shard) sendTape(entry uint32, now int64) {
	c := &e.table.conns[entry]
	if !c.CanShare() || !e.behind(c, entry) || e.topics.subs[entry].copying {
		return
	}
	s := &e.topics.subs[entry]
	if s.next < s.feed.tape.First() {
		if e.topics.writing {
			e.markDirty(entry) // the frame that is being taken comes first
			e.topics.more = true
		} else {
			e.fallBehind(entry, true, now)
		}
		return
	}
	if !e.ensureQueueRoom(now) {
		e.markDirty(entry)
		return
	}
	if !c.CanShare() || !e.behind(c, entry) {
		return // changed while room was made
	}
	f := s.feed
	most := sendMost
	if c.Has(transport.StateSecure) { // what its socket does not take is copied into its buffer
		most = min(sealMost, e.class[c.Class].HardBytes)
	}
	if f.tape.Head()-s.cursor > uint64(most) { // whole frames: the rest of one would be copied
		if _, start := f.tape.Find(s.cursor + uint64(most)); start > s.cursor {
			most = int(start - s.cursor)
		}
	}
	run := f.tape.Run(e.slab, s.cursor, most)
	n := len(run)
	e.rec.B.Mark(telemetry.MarkBuffered, f.tape.Head()-s.cursor)
	if c.Has(transport.StateSecure) {
		if run = e.sealTape(c, entry, run, now); run == nil {
			return
		}
	}
	c.BeginShare(n)
	s.flight, s.memory, s.mixed = f, f.tape.Hold(), false
	if f.flights++; f.flights == 1 || s.next < f.pin {
		f.pin = s.next
	}
	e.topics.sends++
	if !e.ring.Send(c.FD, run, userData(opSend, c.Gen, entry)) {
		panic("actors: the ring rejected a send although it has room")
	}
}

// sendMost is the largest send from a tape in bytes: larger ones fill sockets, whose next bytes then
// wait for a poll.
const sendMost = 64 << 10

// completeShare records the result of a send from a tape and reports whether the connection has more
// to send.
func (e *Shard) completeShare(c *transport.Conn, entry uint32, sent int, now int64) (remain bool) {
	s := &e.topics.subs[entry]
	f := e.land(s)
	c.Clear(transport.StateSharing)
	if s.mixed {
		s.mixed = false
		e.freeTape(f) // the connection may have left the feed meanwhile
		return c.CompleteSend(e.slab, &e.class[c.Class], sent, now) || e.behind(c, entry)
	}
	c.CompleteShare(sent, now)
	cursor := s.cursor + uint64(sent)
	frame, start := f.tape.Find(cursor)
	e.rec.B.C[telemetry.TopicDelivered] += frame - s.next
	if c.Has(transport.StateClosing) {
		e.rec.B.C[telemetry.TopicSkippedClosed] += s.limit - frame
		e.topics.subs[entry] = subscriber{}
		e.freeTape(f)
		return false
	}
	s.cursor, s.next = start, frame
	rest := start
	if n := e.inRecords(entry); n > 0 { // the plain bytes of records must survive the tape
		if frame, rest = f.tape.Find(cursor + n); rest < cursor+n {
			rest = f.tape.End(frame)
		}
	} else if cursor > start { // the rest of a frame must survive the tape
		rest = f.tape.End(frame)
	}
	if rest > start {
		s.cursor = cursor
		for !c.Reserve(e.slab, int(rest-cursor)) { // completions are processed, so nothing is flushed
			if !e.endLargestBlocked(now) {
				e.close(entry, transport.ReasonShardBudget, now)
			}
			if c.Has(transport.StateClosing) {
				return false
			}
		}
		e.copyTape(entry, rest, now)
	}
	return e.behind(c, entry)
}
