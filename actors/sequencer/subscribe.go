package sequencer

import (
	"sluice/actors"
	"sluice/encode"
	"sluice/transport/wire"
)

// extras is what an application implements beyond Application; nil what it does not.
type extras[R, Q any] struct {
	checker   Checker
	admitter  Admitter
	publisher Publisher[R, Q]
}

func extrasOf[R, Q any](app Application[R, Q]) (e extras[R, Q]) {
	e.checker, _ = app.(Checker)
	e.admitter, _ = app.(Admitter)
	e.publisher, _ = app.(Publisher[R, Q])
	return e
}

// judge validates a request. query is that of its type.
func (s *Sequencer[R, Q]) judge(ev *Event) (query bool, why encode.Refusal) {
	if ev.Client != nil && uint8(ev.Client.Role) < ev.Identity.Role {
		return false, encode.RefusedRole // the key was revoked, or its role lowered
	}
	if ev.Tag == wire.TagExtended && s.also.publisher != nil && len(s.out.topics.Feedback) > 0 {
		why = judgeSubscription(ev)
	} else {
		query, why = s.table.judge(ev)
	}
	switch {
	case why != 0:
	case s.poisoned(ev): // before anything else of the application sees it
		why = encode.RefusedMalformed
	case ev.Tag == wire.TagExtended: // Describe judges the rest
	case s.also.checker != nil && s.also.checker.Check(ev) != nil:
		why = encode.RefusedMalformed
	case !query && s.also.admitter != nil && s.also.admitter.Admit(ev) != nil:
		why = encode.RefusedQuota
	}
	return query, why
}

// poisoned reports whether the application has panicked on such a request before.
func (s *Sequencer[R, Q]) poisoned(ev *Event) bool {
	if len(s.cfg.Poisoned) == 0 {
		return false
	}
	_, found := s.cfg.Poisoned[hashOf(ev)]
	return found
}

// judgeSubscription validates a Subscribe or Unsubscribe.
func judgeSubscription(ev *Event) encode.Refusal {
	if len(ev.Body) == 0 || ev.Body[0] != wire.SubSubscribe && ev.Body[0] != wire.SubUnsubscribe {
		return encode.RefusedTag
	}
	sub, subscribes := wire.DecodeSubscribe(ev.Body)
	_, unsubscribes := wire.DecodeUnsubscribe(ev.Body)
	switch {
	case !subscribes && !unsubscribes:
		return encode.RefusedSize
	case ev.Identity.Role < RoleReadonly || ev.Identity.Role > RoleOperator:
		return encode.RefusedRole
	case subscribes && actors.Mode(sub.Mode) > actors.ModeLatest:
		return encode.RefusedMalformed
	case subscribes && !ev.Client.MayFollow(sub.Topic):
		return encode.RefusedTopic
	}
	return 0
}

// subscription carries out a Subscribe or Unsubscribe, between two events; false if the list of
// barriers has no room for it.
func (s *Sequencer[R, Q]) subscription(ev *Event) bool {
	t := s.out.topics
	if id, leaves := wire.DecodeUnsubscribe(ev.Body); leaves {
		t.leave(ev.Conn, id)
		s.out.subscription(actors.KindLeave, ev.Conn, id, 0, 0, 0)
		s.counts.Subscribes++
		return true
	}
	req, _ := wire.DecodeSubscribe(ev.Body)
	has, mode := t.find(ev.Conn, req.Topic), actors.Mode(req.Mode)
	if has == nil && t.full(ev.Conn, req.Topic) {
		s.counts.Refused++
		s.out.refuse(encode.RefusedLimit)
		return true
	}
	if !s.proofs.begin(s.out.position()) {
		return false
	}
	if !s.describe(ev, req.Topic, mode) {
		s.counts.Refused++
		s.out.withdraw()
		s.out.next(ev.Conn, actors.KindEngineError).Refusal = encode.RefusedTopic
		return true
	}
	s.counts.Subscribes++
	if has != nil {
		has.mode = mode
		return true
	}
	if req.Epoch != 0 && t.resumes(ev.Conn, req.Topic, req.Epoch, req.After) {
		s.out.withdraw()
		s.out.subscription(actors.KindResume, ev.Conn, req.Topic, req.After, req.Epoch, mode)
	}
	t.join(ev, req.Topic, mode)
	return true
}

// describe emits the snapshot of a topic and the join that follows it; false if the application
// refuses. The last event of the state that it describes is the last one before the join.
//
//	slot ring:  event 8 | SnapshotBegin | what Describe emits | SnapshotEnd | event 9
//	topic_seq:       40 |          n=40                            n=40    | 41
func (s *Sequencer[R, Q]) describe(ev *Event, id uint64, mode actors.Mode) bool {
	epoch, seq := s.out.topics.describe(id)
	s.out.subscription(actors.KindSnapshotBegin, ev.Conn, id, seq, epoch, mode)
	ev.Seq, ev.Time = uint64(s.state.last), s.clock.last
	ok := s.also.publisher.Describe(ev, id, &s.out)
	s.out.only(ev.Conn)
	s.out.subscription(actors.KindSnapshotEnd, ev.Conn, id, seq, epoch, mode)
	return ok
}

// heed takes notice of what a shard reports; false if there is no room for a snapshot.
func (s *Sequencer[R, Q]) heed(f *actors.Feedback) bool {
	t := s.out.topics
	switch f.Kind {
	case actors.FeedbackGone:
		t.gone(f.Conn)
	case actors.FeedbackResync:
		if sub := t.find(f.Conn, f.Topic); sub != nil && !s.resync(f.Conn, sub) {
			return false
		}
	}
	t.taken()
	return true
}

// resync emits a snapshot for a subscriber that has missed frames; false if the list of barriers has no
// room for it. If the application does not describe the topic to it any more, its subscription ends.
func (s *Sequencer[R, Q]) resync(conn uint64, sub *sub) bool {
	if !s.proofs.begin(s.out.position()) {
		return false
	}
	s.ev = Event{Kind: KindRequest, Tag: wire.TagExtended, Conn: conn, Identity: s.out.topics.conns[conn].id}
	s.identify(&s.ev)
	s.out.begin(&s.ev, s.cfg.Now(), nil)
	s.out.conn = 0 // of no request
	topic := sub.topic.id
	if !s.describe(&s.ev, topic, sub.mode) {
		s.out.withdraw()
		s.out.topics.leave(conn, topic)
		s.out.subscription(actors.KindLeave, conn, topic, 0, 0, 0)
	}
	s.counts.Resyncs++
	s.out.end()
	return true
}
