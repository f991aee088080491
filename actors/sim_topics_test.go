package actors

import (
	"time"

	"sluice/mailbox"
	"sluice/transport"
)

// simTopics is the producer of topics in a world that has them, as a sequencer is one: it knows the
// subscribers, numbers the frames, and makes snapshots when shards ask for them. Two worlds in three
// have topics.
type simTopics struct {
	w        *world
	topics   []simTopic
	feedback []*mailbox.Reader[Feedback]
	queue    []simSlot // what is to be published next, with nothing in between
	modes    []Mode    // that clients ask for
	keys     int
	pct      int   // of what is published
	badPct   int   // of topic frames
	large    int   // bytes of the largest frame
	linger   int64 // ns for which frames of a topic go to a shard that lost its last subscriber
	slots    uint64
	epoch    uint64
	paths    simPaths
}

// simTopic is a topic. It is live while a shard gets its frames.
type simTopic struct {
	id     uint64
	life   *simLife // nil if it is not live
	subs   [32]bool // by connection
	places [4]simPlace
}

// simPlace is a topic at a shard.
type simPlace struct {
	on    bool   // it gets the frames
	subs  int    // subscribers
	since uint64 // last frame that it did not get
	until int64  // when it gets no more, if it has no subscribers
}

// simLife is the frames of a topic from its first subscriber on until the last one is forgotten.
type simLife struct {
	epoch  uint64
	frames []simFrame
}

// simFrame is what one topic frame must look like on the wire.
type simFrame struct {
	s    tickSlot
	key  uint64
	size int
}

// simSlot is a slot that is to be published: one of a topic, or of a subscription.
type simSlot struct {
	tickSlot
	key, shards uint64
	size        int
}

// simSubscription is what a slot says about a subscription.
type simSubscription struct {
	topic int
	life  *simLife
	seq   uint64 // the last frame that the client has then
	until uint64 // the last frame of the topic
	mode  Mode
}

const (
	simTopicMost = 5
	simKeyMost   = 20
)

// begin draws the topics of a world, and sets the shards' end of the feedback.
func (t *simTopics) begin(w *world, seed uint64, cfg *Config) {
	if t.w = w; seed%3 == 0 {
		return
	}
	r := w.r
	t.topics = make([]simTopic, pick(r, 1, 2, simTopicMost))
	for i := range t.topics {
		t.topics[i].id = uint64(1 + i) // also the id of a connection
	}
	t.modes = pick(r, []Mode{ModeRecover}, []Mode{ModeEvery}, []Mode{ModeLatest},
		[]Mode{ModeRecover, ModeEvery, ModeLatest})
	t.keys, t.pct, t.large = pick(r, 1, 3, simKeyMost), pick(r, 10, 50, 90), pick(r, 20, 60, 230)
	t.badPct = pick(r, 0, 0, 1)
	t.linger = int64(pick(r, 300, 3000, 20000))
	cfg.Topics = TopicConfig{TapeBytes: pick(r, 4<<10, 4<<10, 16<<10), HistoryBytes: pick(r, 4<<10, 16<<10)}
	cfg.Topics.Linger = time.Duration(t.linger)
	room := pick(r, 1, 4, feedbackEntries)
	for range cfg.Shards {
		in, out := mailbox.NewSPSC[Feedback](room)
		cfg.Feedback, t.feedback = append(cfg.Feedback, in), append(t.feedback, out)
	}
}

// fill writes the next slot that has to do with topics. It returns false if the next one has not.
func (t *simTopics) fill(slot *Slot[tick, struct{}], position, ticket uint64) bool {
	w := t.w
	if len(t.queue) == 0 {
		t.expire()
		if !w.r.pct(t.pct) {
			return false
		}
		if t.draw(); len(t.queue) == 0 {
			return false
		}
	}
	s := t.queue[0]
	t.queue = t.queue[:copy(t.queue, t.queue[1:])]
	w.next++
	w.oracle.seq = max(w.oracle.seq, 1)
	s.seq, s.n, s.position, s.ticket = w.oracle.seq, w.next, position, ticket
	slot.Seq, slot.Received, slot.Matched = s.seq, w.now, w.now
	slot.Conn, slot.Kind, slot.Last, slot.Bypass, slot.Request = s.conn, s.kind, s.last, false, s.n
	slot.Report = tick{n: s.n, size: s.size, bad: s.bad}
	sub := &s.sub
	switch s.kind {
	case KindTopic:
		life := sub.life
		life.frames = append(life.frames, simFrame{s: s.tickSlot, key: s.key, size: max(s.size, 13)})
		slot.SetTopic(t.topics[sub.topic].id, uint64(len(life.frames)), s.key, s.shards)
		t.slots++
		w.oracle.publish(&s.tickSlot)
		return true
	case KindReport:
	default:
		slot.SetSubscription(s.kind, t.topics[sub.topic].id, sub.seq, sub.life.epoch, sub.mode)
	}
	w.expect(&s.tickSlot)
	return true
}

// draw puts what the producer does next into the queue.
func (t *simTopics) draw() {
	r := t.w.r
	at := r.n(len(t.topics))
	if topic := &t.topics[at]; topic.life != nil && !r.oneIn(5) {
		for n := pick(r, 1, 1, 1, 1, 1+r.n(80)); n > 0; n-- {
			t.publish(at)
		}
		return
	}
	conn := t.w.recipient()
	if p := t.w.byID[conn]; p != nil && p.owned && !p.joinable {
		return
	}
	mode := t.modes[int(conn)%len(t.modes)]
	if r.oneIn(8) {
		mode = t.modes[r.n(len(t.modes))]
	}
	switch topic := &t.topics[at]; {
	case r.oneIn(4):
		t.leave(at, conn)
	case !topic.subs[conn] && r.oneIn(2) && t.resume(at, conn, mode):
	default:
		t.snapshot(at, conn, mode, true)
	}
}

// publish puts a frame of a topic into the queue.
func (t *simTopics) publish(at int) {
	r, topic := t.w.r, &t.topics[at]
	s := simSlot{key: uint64(r.n(t.keys)), size: 13 + r.n(t.large)}
	s.kind, s.conn, s.sub = KindTopic, 0, simSubscription{topic: at, life: topic.life}
	for i := range topic.places {
		if topic.places[i].on {
			s.shards |= 1 << i
		}
	}
	if r.pct(t.badPct) {
		s.bad = pick(r, faultError, faultPanic, faultLarge)
	}
	t.queue = append(t.queue, s)
}

// snapshot puts a snapshot of a topic and the join that follows it into the queue, for a request or
// for a shard.
func (t *simTopics) snapshot(at int, conn uint64, mode Mode, asked bool) {
	t.join(at, conn)
	topic := &t.topics[at]
	s := simSlot{}
	s.conn, s.kind = conn, KindSnapshotBegin
	seq := uint64(len(topic.life.frames))
	s.sub = simSubscription{topic: at, life: topic.life, seq: seq, until: seq, mode: mode}
	t.queue = append(t.queue, s)
	s.kind = KindReport
	for range t.w.r.n(4) {
		s.size = 13 + t.w.r.n(60)
		t.queue = append(t.queue, s)
	}
	s.kind, s.last = KindSnapshotEnd, asked
	t.queue = append(t.queue, s)
}

// resume puts the resumption of a subscription into the queue, if the shard may have the frames.
func (t *simTopics) resume(at int, conn uint64, mode Mode) bool {
	topic := &t.topics[at]
	place := &topic.places[t.shardOf(conn)]
	if topic.life == nil || !place.on {
		return false
	}
	seq := uint64(len(topic.life.frames))
	after := seq - uint64(t.w.r.n(int(min(seq-place.since, 100))+1))
	t.join(at, conn)
	s := simSlot{}
	s.conn, s.kind, s.last = conn, KindResume, true
	s.sub = simSubscription{topic: at, life: topic.life, seq: after, until: seq, mode: mode}
	t.queue = append(t.queue, s)
	return true
}

// leave puts the end of a subscription into the queue.
func (t *simTopics) leave(at int, conn uint64) {
	topic := &t.topics[at]
	if topic.life == nil {
		return
	}
	s := simSlot{}
	s.conn, s.kind, s.last, s.sub = conn, KindLeave, true, simSubscription{topic: at, life: topic.life}
	t.queue = append(t.queue, s)
	t.lost(at, conn)
}

// join notes a subscriber.
func (t *simTopics) join(at int, conn uint64) {
	topic := &t.topics[at]
	if topic.life == nil {
		t.epoch++
		topic.life = &simLife{epoch: t.epoch}
	}
	if topic.subs[conn] {
		return
	}
	topic.subs[conn] = true
	place := &topic.places[t.shardOf(conn)]
	if place.subs++; !place.on {
		place.on, place.since = true, uint64(len(topic.life.frames))
	}
}

// lost notes that a connection is no subscriber of a topic any more.
func (t *simTopics) lost(at int, conn uint64) {
	topic := &t.topics[at]
	if !topic.subs[conn] {
		return
	}
	topic.subs[conn] = false
	place := &topic.places[t.shardOf(conn)]
	if place.subs--; place.subs == 0 {
		place.until = t.w.now + t.linger
	}
}

// expire ends what shards get no more.
func (t *simTopics) expire() {
	for i := range t.topics {
		topic, live := &t.topics[i], false
		for j := range topic.places {
			place := &topic.places[j]
			place.on = place.on && (place.subs > 0 || t.w.now < place.until)
			live = live || place.on
		}
		if !live {
			topic.life = nil
		}
	}
}

// forget ends all subscriptions of a connection.
func (t *simTopics) forget(conn uint64) {
	for at := range t.topics {
		t.lost(at, conn)
	}
}

// listen takes notice of what the shards report, or of some of it.
func (t *simTopics) listen() {
	for i, list := range t.feedback {
		for n := 1 + t.w.r.n(64); n > 0 && len(t.queue) == 0; n-- {
			b := list.Batch(1)
			if len(b) == 0 {
				break
			}
			fb := b[0]
			if t.w.connecting[fb.Conn] {
				break // no slot may be published for it now
			}
			list.Release(1)
			t.w.stats.Topic.Feedback++
			if fb.Kind == FeedbackGone {
				t.forget(fb.Conn)
			} else if at := int(fb.Topic) - 1; t.topics[at].subs[fb.Conn] {
				t.snapshot(at, fb.Conn, fb.Mode, false)
			}
		}
		if list.Len() > 0 || t.w.p.shards[i].Untold() > 0 {
			continue
		}
		for _, p := range t.w.byID { // what was reported about earlier owners of their ids is known
			if p != nil && p.owned && t.shardOf(p.id) == i {
				p.joinable = true
			}
		}
	}
}

// queued reports that a slot for a connection is about to be published.
func (t *simTopics) queued(conn uint64) bool {
	for i := range t.queue {
		if t.queue[i].conn == conn {
			return true
		}
	}
	return false
}

// stale reports that the producer thinks a connection that has ended is a subscriber.
func (t *simTopics) stale() bool {
	for conn, p := range t.w.byID {
		if (p == nil || p.closed != transport.ReasonNone) && t.subscribed(uint64(conn)) != 0 {
			return true
		}
	}
	return false
}

func (t *simTopics) shardOf(conn uint64) int { return ShardOf(conn, len(t.feedback)) }

// subscribed is the topics to which the producer thinks a connection subscribes, a bit for each.
func (t *simTopics) subscribed(conn uint64) (set uint64) {
	for i := range t.topics {
		if t.topics[i].subs[conn] {
			set |= 1 << i
		}
	}
	return set
}

// finish publishes what is left to say once the faults have ended: the rest of the queue, and the
// snapshots that shards ask for.
func (t *simTopics) finish() {
	w := t.w
	if len(t.topics) == 0 || w.faults || w.p.phase.Ending() || w.ending {
		return
	}
	if t.listen(); len(t.queue) == 0 {
		return
	}
	room := w.p.slots.Claim(min(len(t.queue), 8))
	for i := range room {
		t.fill(&room[i], w.p.slots.Position()+uint64(i), w.proofs.drawn)
	}
	if len(room) > 0 {
		w.p.slots.Commit(len(room))
		w.p.slots.Publish()
	}
}
