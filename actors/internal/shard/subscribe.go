package shard

import (
	"slices"

	"sluice/telemetry"
	"sluice/transport"
)

// subscribe delivers a record that begins or ends a subscription: its frames, then the change.
func (e *Shard) subscribe(r *Record, b []byte, now int64) {
	id, seq, mode := subscriptionIn(b)
	kind := r.Flags >> RecordKind
	r.Flags = r.Flags&(1<<RecordKind-1) | KindSnapshotBegin<<RecordKind // its frames are delivered as a response
	b = b[:len(b)-SubscriptionBytes]
	if kind == KindSnapshotEnd {
		e.follow(id, seq) // even if the connection is gone: another one may resume
	}
	entry, known := e.table.index.Get(r.Hash, r.Conn)
	if !known {
		e.deliver(b, now)
		e.tell(Feedback{Kind: FeedbackGone, Conn: r.Conn})
		return
	}
	c := &e.table.conns[entry]
	c.Pin()
	defer e.unpin(entry, now)
	const ending = transport.StateClosing | transport.StateFarewell | transport.StateHalfClosed
	before := len(e.ledger.samples)
	e.deliver(b, now)
	if !e.responded(before) || c.State&ending != 0 || !e.mix(entry, now) {
		if r.Position >= c.Since { // else it is an earlier owner of the id that is gone
			e.tell(Feedback{Kind: FeedbackGone, Conn: r.Conn})
		}
		return
	}
	e.found(entry, id)
	switch kind {
	case KindLeave:
		e.removeTopic(entry, id, now)
		e.rec.B.C[telemetry.TopicLeaves]++
	case KindResume:
		e.resume(entry, id, seq, mode, now)
	default:
		e.addTopic(entry, e.topic(id, seq), mode, now)
		e.rec.B.C[telemetry.TopicJoins]++
	}
}

// responded reports that a response was appended since there were that many samples.
func (e *Shard) responded(before int) bool {
	for i := before; i < len(e.ledger.samples); i++ {
		if e.ledger.samples[i].bytes&sampleSlot != 0 {
			return true
		}
	}
	return false
}

// resume sends a subscriber the frames behind the one it has, if the history has them all, and else
// a Gap, so that it does not believe that it has missed nothing until the snapshot comes.
func (e *Shard) resume(entry uint32, id, after uint64, mode Mode, now int64) {
	c := &e.table.conns[entry]
	t := e.topics.byID[id]
	if t == nil || after > t.seq || t.seq-after > t.history.Next()-t.history.First() {
		e.loseTopic(entry, missing{topic: id, mode: mode}, after, now)
		return
	}
	h := &t.history
	first := h.Next() - (t.seq - after)
	at := h.Head()
	if first < h.Next() {
		at = h.Tail()
		if first > h.First() {
			at = h.End(first - 1)
		}
	}
	for ; first < h.Next(); first++ {
		end := h.End(first)
		e.rec.B.C[telemetry.TopicPublished]++
		frame := h.Run(e.slab, at, int(end-at))
		if !e.append(c, entry, frame, now) {
			e.rec.B.C[telemetry.TopicSkippedClosed]++
			e.tell(Feedback{Kind: FeedbackGone, Conn: c.ID}) // it was ended, perhaps without a subscription
			return
		}
		e.sampleTopic(c, entry, len(frame))
		at = end
	}
	e.addTopic(entry, t, mode, now)
	e.rec.B.C[telemetry.TopicResumes]++
}

// addTopic makes a connection a subscriber of a topic, from its next frame on. The connection is not
// behind.
func (e *Shard) addTopic(entry uint32, t *topic, mode Mode, now int64) {
	var subs []subscription
	if f := e.feedOf(entry); f != nil {
		i, found := f.find(t.id)
		if found && f.subs[i].mode == mode {
			return
		}
		subs = f.others()
		if found {
			subs[i].mode = mode
		} else {
			subs = slices.Insert(subs, i, subscription{topic: t, mode: mode})
		}
	} else {
		subs = []subscription{{topic: t, mode: mode}}
	}
	e.move(entry, subs, now)
}

// removeTopic ends a subscription, if there is one. The connection is not behind.
func (e *Shard) removeTopic(entry uint32, id uint64, now int64) {
	f := e.feedOf(entry)
	if f == nil {
		return
	}
	if i, found := f.find(id); found {
		e.move(entry, slices.Delete(f.others(), i, i+1), now)
	}
}

// feedOf is the feed of a connection, nil if it has no subscriptions.
func (e *Shard) feedOf(entry uint32) *feed {
	if !e.table.conns[entry].Has(transport.StateSubscribed) {
		return nil
	}
	return e.topics.subs[entry].feed
}

// subscribes reports that a connection has a subscription to a topic.
func (e *Shard) subscribes(entry uint32, id uint64) bool {
	f := e.feedOf(entry)
	if f == nil {
		return false
	}
	_, found := f.find(id)
	return found
}

// move makes a connection that is not behind a member of the feed with other subscriptions.
func (e *Shard) move(entry uint32, subs []subscription, now int64) {
	if len(subs) > 0 {
		f := e.feedFor(subs) // before its topics can lose their last feed
		if e.feedOf(entry) != nil {
			e.quit(entry, now)
		}
		e.join(entry, f)
		return
	}
	e.quit(entry, now)
}

// unsubscribe ends all subscriptions of a connection that receives no more topic frames. Those that it
// was not sent are skipped, except for those of a send in flight, which completeShare accounts for.
func (e *Shard) unsubscribe(entry uint32, now int64) {
	c := &e.table.conns[entry]
	if c.State&(transport.StateSubscribed|transport.StateLost) == 0 {
		return
	}
	if e.feedOf(entry) != nil {
		s := &e.topics.subs[entry]
		if s.flight != nil && !s.mixed {
			s.limit = s.feed.tape.Next()
		} else {
			e.rec.B.C[telemetry.TopicSkippedClosed] += s.feed.tape.Next() - s.next
		}
		e.quit(entry, now)
	}
	delete(e.topics.lost, entry)
	c.Clear(transport.StateLost)
	e.tell(Feedback{Kind: FeedbackGone, Conn: c.ID})
}

// abandon accounts for a connection whose shard has ended, with its ring.
func (e *Shard) abandon(entry uint32, now int64) {
	e.unsubscribe(entry, now)
	if int(entry) >= len(e.topics.subs) {
		return
	}
	s := &e.topics.subs[entry]
	if s.flight == nil {
		return
	}
	if !s.mixed {
		e.rec.B.C[telemetry.TopicSkippedClosed] += s.limit - s.next
	}
	e.freeTape(e.land(s))
}

// finishSubscriptions ends the subscriptions of a client that sends nothing more: it receives what was
// published until now.
func (e *Shard) finishSubscriptions(entry uint32, now int64) {
	if e.table.conns[entry].State&(transport.StateSubscribed|transport.StateLost) == 0 {
		return
	}
	e.table.conns[entry].Pin()
	if e.mix(entry, now) {
		e.unsubscribe(entry, now)
	}
	e.unpin(entry, now)
}

// tracedTopic is a topic frame that was selected for a trace.
type tracedTopic struct {
	record   Record
	bytes    int
	appended int64 // monotonic ns
}

// traceTopics puts the traced topic frames of the last flush into the box: their last send has ended, unless
// a socket took only a part.
func (e *Shard) traceTopics(now int64) {
	for i := range e.topics.traced {
		t := &e.topics.traced[i]
		e.putRecord(&traced{record: t.record, appended: t.appended}, uint32(t.bytes),
			telemetry.TraceReason(t.record.Flags>>RecordReason), e.topics.sends, now)
	}
	e.topics.traced, e.topics.sends = e.topics.traced[:0], 0
}
