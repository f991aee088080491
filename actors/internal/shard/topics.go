package shard

import (
	"encoding/binary"
	"time"

	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// TopicConfig bounds what a shard keeps for topics; the fields are those of actors.TopicConfig.
type TopicConfig struct {
	TapeBytes    int
	HistoryBytes int
	Linger       time.Duration
}

// topics is the part of the shard that sends topic frames to subscribers.
//
//	topic 7 ---> feed {7}     [ tape ]   <-- cursors of its members: connections subscribed to 7
//	        \
//	topic 8 +--> feed {7, 8}  [ tape ]   <-- cursors of connections subscribed to 7 and 8
//
// Connections with the same subscriptions are members of one feed, and are sent from its tape. A
// connection's own bytes always precede its cursor. The groups of fields below are topics and feeds,
// subscribers, reports to the producer, the frame that is being taken, and counts.
type topics struct {
	byID  map[uint64]*topic
	list  []*topic // the same, for sweeps
	feeds map[string]*feed
	all   []*feed // the same, for sweeps
	dirty []*feed // with frames that were not offered to its members

	offered []*feed // the other dirty list: one fills while a flush works off this one

	subs  []subscriber         // by table entry; only those of connections with StateSubscribed or a send count
	lost  map[uint32][]missing // by table entry: what connections with StateLost wait for
	again []uint32             // entries whose lost topics are to be asked for at the next tick

	feedback *mailbox.Writer[Feedback] // nil without a producer of topics
	late     []Feedback                // had no room

	taking  []place // feeds of the topic frame that is being taken
	writing bool    // a topic frame is being taken: no member changes its feed

	more   bool // a connection has something to send since the last flush began
	taken  int  // topic frames of this drain
	held   int  // bytes of tapes and histories
	latest int  // bytes of newest frames that feeds keep, about
	sends  int  // begun from tapes since the last flush was settled
	traced []tracedTopic
	lists  uint32 // lists of topics begun

	sweptTopic, sweptFeed int // indices in list and in all of what was looked at last
}

// topic is what a shard keeps of a topic with subscribers, or that had some a short while ago.
type topic struct {
	id       uint64
	seq      uint64 // number of the last frame
	feeds    []place
	place    int // index in topics.list
	members  int // subscribers
	history  transport.Tape
	pace     pace
	gaps     uint64
	found    found // by a list
	deserted int64 // when it lost its last subscriber, monotonic ns; 0 while it has any
}

// place is where a topic stands in a feed.
type place struct {
	feed *feed
	at   int // index in feed.subs
}

// missing is a topic of which a connection has lost frames.
type missing struct {
	topic uint64
	mode  Mode
	asked bool // the producer was asked for a snapshot
}

// publish takes a topic frame: it is appended to the tape of each feed with its topic.
func (e *Shard) publish(r *Record, b []byte, now int64) {
	e.topics.taken++
	e.topics.writing = true
	defer func() { e.topics.writing = false }()
	t := e.topics.byID[r.Conn]
	if t == nil {
		return // its last subscriber left, and the producer does not know yet
	}
	frame := b[RecordBytes : len(b)-TopicBytes]
	seq := binary.LittleEndian.Uint64(b[len(b)-TopicBytes:])
	failed := r.Flags&RecordFailed != 0
	if failed || seq != t.seq+1 {
		e.clearTape(&t.history)
	}
	t.seq = seq
	t.pace.frame(now)
	if !failed {
		e.keep(&t.history, frame)
		if len(frame) == 0 { // of a raw framing
			return
		}
	}
	e.topics.taking = append(e.topics.taking[:0], t.feeds...) // members can end meanwhile, and so can feeds
	for _, in := range e.topics.taking {
		f, ok := in.feed, !failed
		if ok && len(f.members) > 0 {
			ok = e.write(f, frame, now)
		}
		e.rec.B.C[telemetry.TopicPublished] += uint64(len(f.members))
		switch {
		case !ok && e.err != nil: // it is sent to none, and none is ended for that
			e.rec.B.C[telemetry.TopicSkippedClosed] += uint64(len(f.members))
			continue
		case !ok:
			e.failFeed(f, t, now)
			continue
		}
		sub := &f.subs[in.at]
		if sub.end = f.tape.Next(); sub.mode == ModeLatest {
			e.keepLatest(f, t.id, r.Hash, frame)
		}
	}
	if r.Flags&RecordTraced != 0 {
		e.topics.traced = append(e.topics.traced, tracedTopic{record: *r, bytes: len(frame), appended: now})
	}
}

// failFeed makes up for a frame of a topic that the members of a feed are not sent.
func (e *Shard) failFeed(f *feed, t *topic, now int64) {
	e.rec.B.C[telemetry.TopicSkippedFailed] += uint64(len(f.members))
	for i := len(f.members) - 1; i >= 0; i-- {
		if i >= len(f.members) {
			continue
		}
		entry := f.members[i]
		mode, _ := f.mode(t.id)
		c := &e.table.conns[entry]
		if c.Pin(); mode == ModeEvery {
			e.dismiss(entry, transport.ReasonSlowFeed, now)
		} else if e.mix(entry, now) && e.subscribes(entry, t.id) { // else it has lost this frame with others
			e.lose(entry, []missing{{topic: t.id, mode: mode}}, now)
		}
		e.unpin(entry, now)
	}
}

// keep appends a frame to the history of a topic, which then holds the newest ones.
func (e *Shard) keep(h *transport.Tape, frame []byte) {
	for n := len(frame); !h.Fits(n) || h.Needs(n) > h.First(); {
		size := max(2*h.Size(), historyLeast)
		if size > e.cfg.Topics.HistoryBytes || !e.growTape(h, size) {
			if !h.Fits(n) {
				e.clearTape(h)
				return
			}
			break
		}
	}
	h.Drop(e.slab, h.Needs(len(frame)))
	h.Append(e.slab, frame)
}

const (
	historyLeast = 1 << 10 // bytes that a history begins with
	tapeLeast    = 4 << 10 // bytes that a tape begins with
)

// growTape gives a tape a larger block, unless tapes have half of the shard's memory already.
func (e *Shard) growTape(t *transport.Tape, size int) bool {
	if int64(e.topics.held+size-t.Size()) > e.slab.Budget()/2 {
		return false
	}
	before := t.Size()
	if !t.Grow(e.slab, size) {
		return false
	}
	e.topics.held += t.Size() - before
	return true
}

// clearTape drops what a tape holds, and its memory.
func (e *Shard) clearTape(t *transport.Tape) {
	e.topics.held -= t.Size()
	t.Clear(e.slab)
}

// topic returns what the shard keeps of a topic, of which the last frame has the given number.
func (e *Shard) topic(id, seq uint64) *topic {
	t := e.topics.byID[id]
	if t == nil {
		t = &topic{id: id, seq: seq, place: len(e.topics.list)}
		if e.topics.byID == nil {
			e.topics.byID = map[uint64]*topic{}
		}
		e.topics.byID[id] = t
		e.topics.list = append(e.topics.list, t)
	}
	return t
}

// follow takes notice of the last frame of a topic. If the shard knows another one, the topic had no
// subscribers here for a while, and its numbers may have begun again.
func (e *Shard) follow(id, seq uint64) {
	if t := e.topics.byID[id]; t != nil && t.seq != seq {
		e.clearTape(&t.history)
		t.seq = seq
	}
}

// tell reports to the producer. What has no room is offered again in the next step.
func (e *Shard) tell(fb Feedback) {
	if e.topics.feedback == nil {
		return
	}
	if e.tellLate(); len(e.topics.late) > 0 || !e.topics.offer(fb) {
		e.topics.late = append(e.topics.late, fb)
	}
	e.topics.feedback.Publish()
}

func (t *topics) offer(fb Feedback) bool {
	room := t.feedback.Claim(1)
	if room == nil {
		return false
	}
	room[0] = fb
	t.feedback.Commit(1)
	return true
}

// tellLate reports what had no room.
func (e *Shard) tellLate() (work int) {
	late := e.topics.late
	if len(late) == 0 {
		return 0
	}
	for work < len(late) && e.topics.offer(late[work]) {
		work++
	}
	e.topics.feedback.Publish()
	if e.topics.late = late[:copy(late, late[work:])]; len(e.topics.late) == 0 {
		e.topics.late = nil
	}
	return work
}

// sweepTopics looks at some topics and feeds, so that all are looked at again and again: topics that
// have had no subscriber for the linger time are forgotten, and feeds that are idle give up their
// memory. With too many topics, it looks at more, and those without a subscriber are forgotten at once.
func (e *Shard) sweepTopics(now int64) {
	n, linger := sweepBatch, int64(e.cfg.Topics.Linger)
	if len(e.topics.list) > lingerMost {
		n, linger = sweepMany, 0
	}
	for n = min(len(e.topics.list), n); n > 0 && len(e.topics.list) > 0; n-- {
		e.topics.sweptTopic = (e.topics.sweptTopic + 1) % len(e.topics.list)
		t := e.topics.list[e.topics.sweptTopic]
		if t.deserted != 0 && now-t.deserted >= linger {
			e.forgetTopic(t)
		}
	}
	for n := min(len(e.topics.all), sweepBatch); n > 0; n-- {
		e.topics.sweptFeed = (e.topics.sweptFeed + 1) % len(e.topics.all)
		f := e.topics.all[e.topics.sweptFeed]
		if f.flights == 0 && f.seen == f.tape.Next() && f.tape.Size() > 0 && e.lowest(f) == f.tape.Next() {
			e.clearTape(&f.tape)
		}
		f.seen = f.tape.Next()
	}
	e.recoverAll()
	e.Gauges.Topics.Store(int64(len(e.topics.list)))
	e.Gauges.Feeds.Store(int64(len(e.topics.all)))
	e.Gauges.Tapes.Store(int64(e.topics.held))
}

const (
	sweepBatch = 64      // topics, and feeds, that a tick looks at
	lingerMost = 1 << 16 // topics of which those without a subscriber are kept
	sweepMany  = 1 << 13 // topics that a tick looks at if there are more
)

func (e *Shard) forgetTopic(t *topic) {
	e.clearTape(&t.history)
	last := e.topics.list[len(e.topics.list)-1]
	e.topics.list[t.place], last.place = last, t.place
	e.topics.list = e.topics.list[:len(e.topics.list)-1]
	delete(e.topics.byID, t.id)
}
