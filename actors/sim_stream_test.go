package actors

import (
	"encoding/binary"
	"slices"

	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// simStream is what a client knows of its subscriptions, and what it must receive because of them:
// every frame behind the snapshot, in slot order with its own responses, unless the server says that
// frames were lost.
type simStream struct {
	at     uint64 // position of the slot whose frame was received last
	frames uint64 // topic frames received
	subs   [simTopicMost]simSub
}

// simSub is a subscription as its client sees it.
type simSub struct {
	life  *simLife // nil: none
	mode  Mode
	next  uint64 // number of the next frame
	until uint64 // frames up to here may come from the history
	lost  bool   // the next is a snapshot
	ends  bool   // frames are missing: a Gap is next, or none if the client has shut its sending down
	maybe bool   // it was resumed, and no frame has come: a Gap is next if the shard does not have them all

	owed [simKeyMost]uint64 // by key: a frame that was left out because a newer one follows
}

// missing returns the position of the next frame, if that was published.
func (s *simSub) missing() (position uint64, ok bool) {
	if s.life == nil || s.lost || s.next > uint64(len(s.life.frames)) {
		return 0, false
	}
	return s.life.frames[s.next-1].s.position, true
}

// isSnapshot reports that a frame is the one that begins or ends a snapshot.
func (p *peer) isSnapshot(s *tickSlot, b []byte) bool {
	le := binary.LittleEndian
	if len(b) < 22 || b[4] != encode.TagExtended || le.Uint64(b[6:]) != uint64(s.sub.topic+1) {
		return false
	}
	if s.kind == KindSnapshotBegin {
		return len(b) == 30 && b[5] == subSnapshotBegin && le.Uint64(b[14:]) == s.sub.life.epoch &&
			le.Uint64(b[22:]) == s.sub.seq
	}
	return len(b) == 22 && b[5] == subSnapshotEnd && le.Uint64(b[14:]) == s.sub.seq
}

// subscribes notes that a subscription has begun or ended.
func (p *peer) subscribes(s *tickSlot) {
	sub := &p.stream.subs[s.sub.topic]
	if sub.life != nil && sub.lost && s.kind == KindSnapshotEnd {
		p.w.stats.Topic.Resyncs++
	}
	*sub = simSub{}
	if s.kind == KindLeave {
		return
	}
	*sub = simSub{life: s.sub.life, mode: s.sub.mode, next: s.sub.seq + 1, until: s.sub.until,
		maybe: s.kind == KindResume}
}

// passed checks that no frame of a topic is missing that belongs before a slot at a position: a
// response of the client's own, or a frame of topic at.
func (p *peer) passed(position uint64, at int) {
	for i := range p.stream.subs {
		s := &p.stream.subs[i]
		if i == at || s.life == nil || s.lost {
			continue
		}
		own := at < 0
		if s.ends && own && !p.sim.HalfClosed() {
			p.w.fail("%v: the slot at %d follows missing frames of topic %d, without a gap; want frame %d",
				p, position, i+1, s.next)
		}
		if before, missing := s.missing(); missing && before < position {
			switch {
			case !own && s.mode == ModeLatest: // newer frames follow
			case !own || p.sim.HalfClosed():
				s.ends = true
			default:
				p.w.fail("%v: the slot at %d came before frame %d of topic %d (%v) at %d", p, position,
					s.next, i+1, s.mode, before)
			}
		}
		for key, seq := range s.owed {
			if own && seq != 0 && !s.lost && !s.ends {
				p.w.fail("%v: frame %d of topic %d was left out, and no newer one of key %d came", p, seq,
					i+1, key)
			}
		}
	}
	p.stream.at = max(p.stream.at, position)
}

// topicFrame takes a frame of a topic, or a Gap; false if it is neither.
func (p *peer) topicFrame(b []byte) bool {
	if b[4] != encode.TagExtended || b[5] != subTopicData && b[5] != subGap {
		return false
	}
	topic, seq := binary.LittleEndian.Uint64(b[6:])-1, binary.LittleEndian.Uint64(b[14:])
	if topic >= uint64(len(p.w.topics.topics)) {
		p.w.fail("%v: a frame of topic %d, which does not exist: % x", p, topic+1, b)
		return true
	}
	s := &p.stream.subs[topic]
	switch {
	case s.life == nil || s.lost:
		p.w.fail("%v: frame %d of topic %d (kind %#x) without a subscription; it had lost frames: %t", p, seq,
			topic+1, b[5], s.lost)
	case seq+1 == s.next && b[5] == subGap && s.maybe: // the shard does not know the topic any more
		p.gap(s, int(topic), seq)
	case seq < s.next || seq > uint64(len(s.life.frames)):
		p.w.fail("%v: frame %d of topic %d (kind %#x, %v), want %d of %d", p, seq, topic+1, b[5], s.mode,
			s.next, len(s.life.frames))
	case b[5] == subGap:
		p.gap(s, int(topic), seq)
	case s.ends:
		p.w.fail("%v: frame %d of topic %d after others were missing", p, seq, topic+1)
	default:
		p.data(s, int(topic), seq, b)
	}
	return true
}

// gap takes a Gap.
func (p *peer) gap(s *simSub, topic int, seq uint64) {
	p.w.stats.Topic.Gaps++
	failed := s.maybe
	count(&p.w.stats.Topic.ResumesRefused, s.maybe)
	for _, f := range s.life.frames[s.next-1 : seq] {
		failed = failed || f.s.bad != faultNone
	}
	if !failed && !p.mayLose() {
		p.w.fail("%v: frames %d to %d of topic %d are lost, although its socket refused nothing", p, s.next,
			seq, topic+1)
	}
	s.lost, s.ends = true, false
}

// mayLose reports that a subscriber may be too slow: its socket refused bytes, or its sends are late, or
// there is no memory for tapes.
func (p *peer) mayLose() bool { return p.w.late || p.w.tight || p.sim.Refusals() > 0 }

// mayEndSlow reports that a client may be closed for topic frames that it did not take.
func (p *peer) mayEndSlow() bool {
	return (p.mayLose() || p.w.topics.badPct > 0) && slices.ContainsFunc(p.slots, func(s tickSlot) bool {
		return s.kind >= KindSnapshotEnd && s.sub.mode == ModeEvery
	})
}

// data takes a topic frame.
func (p *peer) data(s *simSub, topic int, seq uint64, b []byte) {
	f := &s.life.frames[seq-1]
	if seq > s.next {
		if s.mode != ModeLatest || !p.mayLose() {
			p.w.fail("%v: frame %d of topic %d (%v), want %d", p, seq, topic+1, s.mode, s.next)
		}
		for left := s.next; left < seq; left++ {
			g := &s.life.frames[left-1]
			if s.owed[g.key] = left; g.s.bad != faultNone {
				p.w.fail("%v: frame %d of topic %d, which failed, was left out without a gap", p, left, topic+1)
			}
		}
		p.w.stats.Topic.Conflated++
	}
	s.owed[f.key] = 0
	switch {
	case !p.w.oracle.mayPass(&f.s):
		p.w.fail("%v: frame %d of topic %d before seq %d was durable (I1)", p, seq, topic+1, f.s.seq)
	case f.s.position > p.stream.at:
		p.passed(f.s.position, topic)
		p.inTime(&f.s)
	case seq > s.until:
		p.w.fail("%v: frame %d of topic %d at %d came after the slot at %d", p, seq, topic+1, f.s.position,
			p.stream.at)
	case s.maybe:
		p.w.stats.Topic.Resumes++
	}
	if len(b) != f.size+encode.TopicBytes || f.s.bad != faultNone || b[22] != tickTag ||
		binary.LittleEndian.Uint64(b[23:]) != f.s.n {
		p.w.fail("%v: frame %d of topic %d is % x, want payload %d of %d bytes", p, seq, topic+1, b, f.s.n,
			f.size)
		return
	}
	for i := 13; i < f.size; i++ {
		if b[encode.TopicBytes+i] != byte(f.s.n+uint64(i)) {
			p.w.fail("%v: frame %d of topic %d has a wrong byte at %d", p, seq, topic+1, i)
		}
	}
	s.next, s.maybe = seq+1, false
	p.stream.frames++
}

// caughtUp reports that the client has the newest frame of every topic to which it subscribes.
func (p *peer) caughtUp() bool {
	w := p.w
	if len(w.topics.topics) == 0 || w.byID[p.id] != p || p.sim.HalfClosed() {
		return true
	}
	for i := range w.topics.topics {
		t, s := &w.topics.topics[i], &p.stream.subs[i]
		if t.subs[p.id] && (s.life != t.life || s.lost || s.next != uint64(len(t.life.frames))+1) {
			return false
		}
	}
	return true
}

// endedWhole checks what a client has received at its end.
func (p *peer) endedWhole() {
	for i := range p.stream.subs {
		s := &p.stream.subs[i]
		position, missing := s.missing()
		switch {
		case !missing || s.maybe || p.sim.HalfClosed():
		case p.closed == transport.ReasonShutdown && !p.w.cutShort:
			p.w.fail("%v: closed by a drain without frame %d of topic %d (%v)", p, s.next, i+1, s.mode)
		case p.closed == transport.ReasonShutdown && p.w.lastFlush && !p.slow && !p.blocked &&
			!p.sim.Refused() && position < p.w.halted:
			p.w.fail("%v: a stop did not send it frame %d of topic %d, which was released (R31)", p, s.next,
				i+1)
		}
	}
}

// ledger compares the topic frames that were published for subscribers with what became of them.
func (t *simTopics) ledger(sum *telemetry.Totals) {
	w, c := t.w, &sum.C
	var received, unread, skipped uint64
	for _, p := range w.peers {
		received += p.stream.frames
		unread += p.sim.Lost()
	}
	for r := telemetry.TopicSkippedGap; r <= telemetry.TopicSkippedFailed; r++ {
		skipped += c[r]
	}
	published, delivered := c[telemetry.TopicPublished], c[telemetry.TopicDelivered]
	if published != delivered+skipped {
		w.fail("ledger of topics: %d published, %d delivered + %d skipped: gap %d, latest %d, closed %d, failed %d",
			published, delivered,
			skipped, c[telemetry.TopicSkippedGap], c[telemetry.TopicSkippedLatest],
			c[telemetry.TopicSkippedClosed], c[telemetry.TopicSkippedFailed])
	}
	doubt := uint64(0)
	for _, ring := range w.rings {
		doubt += ring.FaultCounts().Doubt
	}
	if doubt == 0 && (received > delivered || unread == 0 && received != delivered) {
		w.fail("ledger of topics: %d frames delivered, clients got %d and did not read %d bytes", delivered,
			received, unread)
	}
	s := &w.stats.Topic
	s.Slots, s.Published, s.Delivered = t.slots, published, delivered
	s.SkippedGap, s.SkippedLatest = c[telemetry.TopicSkippedGap], c[telemetry.TopicSkippedLatest]
	s.SkippedClosed, s.SkippedFailed = c[telemetry.TopicSkippedClosed], c[telemetry.TopicSkippedFailed]
	s.Joins, s.Leaves, s.Mixed = c[telemetry.TopicJoins], c[telemetry.TopicLeaves], c[telemetry.TopicMixed]
	s.SlowFeeds = c[telemetry.CloseSlowFeed.Counter()]
}
