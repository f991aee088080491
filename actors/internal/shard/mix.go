package shard

import (
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// mix copies the topic frames that a connection is behind into its own buffer, in front of bytes that
// are about to be appended there. A connection that is too far behind for that loses them, as its mode
// says. It returns false if the connection was ended. The caller has pinned the entry.
func (e *Shard) mix(entry uint32, now int64) bool {
	c := &e.table.conns[entry]
	if !e.behind(c, entry) || e.mixLast(c, entry) {
		return true
	}
	for !e.mixable(c, entry) {
		before := c.Sent
		e.sendPending(entry, now) // its socket may take some of them now
		switch {
		case c.Has(transport.StateClosing) || e.err != nil:
			return false
		case !e.behind(c, entry):
			return true
		case c.Sent == before:
			return e.fallBehind(entry, false, now)
		}
	}
	s := &e.topics.subs[entry]
	return e.copyTape(entry, s.feed.tape.Head(), now)
}

// mixLast is mix for a connection that is one frame behind and has room in its buffer, the usual case.
// It returns false if it is not that case, and has changed nothing then.
func (e *Shard) mixLast(c *transport.Conn, entry uint32) bool {
	s := &e.topics.subs[entry]
	t := &s.feed.tape
	if s.next+1 != t.Next() || s.next < t.First() || s.flight != nil {
		return false
	}
	rest := t.Last(e.slab, s.cursor)
	if !c.AppendInPlace(e.slab, &e.class[c.Class], rest) {
		return false
	}
	e.sampleTopic(c, entry, len(rest))
	s.cursor, s.next = t.Head(), t.Next()
	e.markDirty(entry)
	return true
}

// mixable reports that the frames which a connection is behind are still on the tape, and that its own
// buffer may hold them.
func (e *Shard) mixable(c *transport.Conn, entry uint32) bool {
	s := &e.topics.subs[entry]
	t := &s.feed.tape
	return s.next >= t.First() && c.Unsent()+int(t.Head()-s.cursor) <= e.class[c.Class].SoftBytes
}

// copyTape copies frames from a connection's cursor up to an offset into its own buffer: all of them,
// or none if the connection is ended for lack of memory. It then returns false.
func (e *Shard) copyTape(entry uint32, to uint64, now int64) bool {
	c, s := &e.table.conns[entry], &e.topics.subs[entry]
	f := s.feed
	for s.cursor < to && !c.Reserve(e.slab, int(to-s.cursor)) {
		s.copying = true // a flush may complete a send in flight, but begins none
		freed := e.freeMemory(now)
		if s.copying = false; c.Has(transport.StateClosing) || e.err != nil {
			return false
		}
		if !freed {
			e.close(entry, transport.ReasonShardBudget, now)
			return false
		}
	}
	for s.cursor < to {
		run := f.tape.Run(e.slab, s.cursor, int(to-s.cursor))
		c.Append(e.slab, &e.class[c.Class], run, now)
		for end := s.cursor + uint64(len(run)); s.cursor < end; s.next++ {
			next := f.tape.End(s.next)
			e.sampleTopic(c, entry, int(next-s.cursor))
			s.cursor = next
		}
	}
	s.mixed = s.mixed || s.flight != nil
	e.markDirty(entry)
	return true
}

// sampleTopic notes n bytes of a topic frame that were appended to a connection's own buffer.
func (e *Shard) sampleTopic(c *transport.Conn, entry uint32, n int) {
	c.Pin()
	e.rec.B.C[telemetry.TopicMixed]++
	e.ledger.samples = append(e.ledger.samples, sample{entry: entry, bytes: uint32(n) | sampleTopic})
}

// fallBehind is what happens to a connection whose frames are overwritten, or are too many for its own
// buffer. Its socket takes bytes if writable is set. It returns false if the connection was ended.
func (e *Shard) fallBehind(entry uint32, writable bool, now int64) bool {
	c, s := &e.table.conns[entry], &e.topics.subs[entry]
	c.Pin()
	defer e.unpin(entry, now)
	if s.flight != nil && !s.mixed { // what is in flight is part of the stream
		t := &s.feed.tape
		if frame, _ := t.Find(s.cursor + uint64(c.Sending()) - 1); !e.copyTape(entry, t.End(frame), now) {
			return false
		}
	}
	f, from := s.feed, s.next
	for _, sub := range f.subs {
		if sub.mode == ModeEvery && sub.end > from {
			e.dismissFeed(entry, now)
			return false
		}
	}
	s.cursor, s.next = f.tape.Head(), f.tape.Next()
	skipped := s.next - from
	var newest []*latestFrame
	latest := false
	if f.latest != nil && writable {
		newest, latest = f.newest(from, e.class[c.Class].SoftBytes)
	}
	var lost []missing
	for _, sub := range f.subs {
		if sub.end <= from || sub.mode == ModeLatest && latest {
			continue // none of its frames is lost, or the newest ones of all keys are sent
		}
		lost = append(lost, missing{topic: sub.topic.id, mode: sub.mode})
	}
	if latest {
		skipped -= uint64(len(newest))
		e.rec.B.C[telemetry.TopicSkippedLatest] += skipped
	} else {
		e.rec.B.C[telemetry.TopicSkippedGap] += skipped
	}
	for i, l := range newest {
		if !e.append(c, entry, l.bytes, now) { // it was ended
			e.rec.B.C[telemetry.TopicSkippedClosed] += uint64(len(newest) - i)
			return false
		}
		e.sampleTopic(c, entry, len(l.bytes))
	}
	return !c.Has(transport.StateClosing) && e.lose(entry, lost, now)
}

// dismissFeed ends a connection that has lost a frame of a topic of which it wants every one.
func (e *Shard) dismissFeed(entry uint32, now int64) {
	e.unsubscribe(entry, now)
	e.dismiss(entry, transport.ReasonSlowFeed, now)
}

// lose sends a Gap for each topic of which a connection has lost frames, and ends its subscription
// until the producer has made a snapshot, which is asked for once the Gap has left. It returns false if
// the connection was ended. The caller has pinned the entry.
func (e *Shard) lose(entry uint32, lost []missing, now int64) bool {
	for _, m := range lost {
		if !e.loseTopic(entry, m, 0, now) {
			return false
		}
	}
	return true
}

// loseTopic does so for a topic of which the client has the frames up to after, or more.
func (e *Shard) loseTopic(entry uint32, m missing, after uint64, now int64) bool {
	if t := e.topics.byID[m.topic]; t != nil {
		t.gaps++
		after = max(after, t.seq)
	}
	e.rec.B.C[telemetry.TopicGaps]++
	var room [encode.MaxControl]byte
	gap := e.cfg.Framing.AppendControl(room[:0], encode.Control{Kind: encode.ControlGap,
		Topic: m.topic, TopicSeq: after})
	e.removeTopic(entry, m.topic, now)
	e.await(entry, m)
	return e.appendControl(entry, gap, now) && !e.table.conns[entry].Has(transport.StateClosing)
}

// await notes that a connection needs a snapshot of a topic.
func (e *Shard) await(entry uint32, m missing) {
	if e.topics.lost == nil {
		e.topics.lost = map[uint32][]missing{}
	}
	e.topics.lost[entry] = append(e.topics.lost[entry], m)
	e.table.conns[entry].Set(transport.StateLost)
	e.topics.more = true // the Gap is to be sent
	e.topics.again = append(e.topics.again, entry)
}

// recoverLost asks the producer for the snapshots that a connection waits for, once everything it was
// sent has left.
func (e *Shard) recoverLost(entry uint32) {
	c := &e.table.conns[entry]
	if !c.Has(transport.StateLost) || c.Unsent() > 0 || c.Sending() > 0 || c.Has(transport.StateClosing) {
		return
	}
	lost := e.topics.lost[entry]
	for i := range lost {
		if !lost[i].asked {
			lost[i].asked = true
			e.rec.B.C[telemetry.TopicResyncs]++
			e.tell(Feedback{Kind: FeedbackResync, Conn: c.ID, Topic: lost[i].topic, Mode: lost[i].mode})
		}
	}
}

// recoverAll does so for connections that lost frames since the last tick and had nothing to send.
func (e *Shard) recoverAll() {
	again := e.topics.again
	e.topics.again = nil
	for _, entry := range again {
		e.recoverLost(entry)
		if e.table.conns[entry].Has(transport.StateLost) && !e.asked(entry) {
			e.topics.again = append(e.topics.again, entry)
		}
	}
}

func (e *Shard) asked(entry uint32) bool {
	for _, m := range e.topics.lost[entry] {
		if !m.asked {
			return false
		}
	}
	return true
}

// found removes a topic from those that a connection waits for.
func (e *Shard) found(entry uint32, topic uint64) {
	c := &e.table.conns[entry]
	if !c.Has(transport.StateLost) {
		return
	}
	lost := e.topics.lost[entry]
	for i := range lost {
		if lost[i].topic == topic {
			lost = append(lost[:i], lost[i+1:]...)
			break
		}
	}
	if e.topics.lost[entry] = lost; len(lost) == 0 {
		delete(e.topics.lost, entry)
		c.Clear(transport.StateLost)
	}
}
