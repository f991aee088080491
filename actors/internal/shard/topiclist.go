package shard

import (
	"time"

	"sluice/transport"
)

// TopicFigures is the state of a topic on one shard.
type TopicFigures struct {
	Topic       uint64
	Seq         uint64  // number of its last frame
	Subscribers int     // connections that are sent its frames
	Waiting     int     // connections that have lost frames of it and have no snapshot since
	Feeds       int     // sets of subscriptions with the topic
	Rate        float64 // frames a second, in the last second or two
	Gaps        uint64  // times that a subscriber lost frames, since the topic is known to the shard
	// LagBytes and LagFrames are what the subscriber that is furthest behind was not sent, of all its
	// topics, and with what a full tape has overwritten already.
	LagBytes  uint64
	LagFrames uint64
	Memory    int // bytes of its history, and of its part of tapes
}

// TopicListing is what a Listing of topics has besides. The shard looks at connections first, then at
// feeds, then at topics.
type TopicListing struct {
	Topics Ranked[TopicFigures]
	Known  int // topics seen

	phase  int
	number uint32
}

// found is what the list with a number has found out about a topic or a feed. Of another list it is
// nothing.
type found struct {
	bytes, frames uint64 // of the member that is furthest behind
	memory        int
	waiting       int32
	list          uint32
}

// in is the part of a list.
func (f *found) in(list uint32) *found {
	if f.list != list {
		*f = found{list: list}
	}
	return f
}

// fillTopics does one step's part of a list of topics.
func (e *Shard) fillTopics(l *Listing, now int64) (done bool) {
	t := l.Topics
	if t.number == 0 {
		e.topics.lists++
		t.number = max(e.topics.lists, 1)
		e.topics.lists = t.number
	}
	phases := [...]struct {
		most int
		look func(l *TopicListing, at int, now int64) (cost int)
	}{{len(e.table.conns), e.lookAtConn}, {len(e.topics.all), e.lookAtFeed},
		{len(e.topics.list), e.lookAtTopic}}
	for left := listBatch; left > 0; {
		if l.Next < phases[t.phase].most {
			left -= phases[t.phase].look(t, l.Next, now)
			l.Next++
			continue
		}
		if t.phase++; t.phase == len(phases) {
			return true
		}
		l.Next = 0
	}
	return false
}

// lookAtConn notes how far a connection is behind in its feed, and that it waits in its topics.
func (e *Shard) lookAtConn(l *TopicListing, at int, _ int64) (cost int) {
	c := &e.table.conns[at]
	if c.Has(transport.StateSubscribed) {
		s := &e.topics.subs[at]
		f := s.feed.found.in(l.number)
		f.bytes = max(f.bytes, s.feed.tape.Head()-s.cursor)
		f.frames = max(f.frames, s.feed.tape.Next()-s.next)
	}
	if c.Has(transport.StateLost) {
		lost := e.topics.lost[uint32(at)]
		for i := range lost {
			if t := e.topics.byID[lost[i].topic]; t != nil {
				t.found.in(l.number).waiting++
			}
		}
		return 1 + len(lost)
	}
	return 1
}

// lookAtFeed adds what a feed has to its topics.
func (e *Shard) lookAtFeed(l *TopicListing, at int, _ int64) (cost int) {
	f := e.topics.all[at]
	of := f.found.in(l.number)
	for _, s := range f.subs {
		t := s.topic.found.in(l.number)
		t.bytes, t.frames = max(t.bytes, of.bytes), max(t.frames, of.frames)
		t.memory += f.tape.Size() / len(f.subs)
	}
	return 1 + len(f.subs)
}

func (e *Shard) lookAtTopic(l *TopicListing, at int, now int64) (cost int) {
	t := e.topics.list[at]
	of := t.found.in(l.number)
	l.Known++
	l.Topics.offer(TopicFigures{
		Topic: t.id, Seq: t.seq, Subscribers: t.members, Waiting: int(of.waiting), Feeds: len(t.feeds),
		Rate: t.pace.at(now), Gaps: t.gaps,
		LagBytes: of.bytes, LagFrames: of.frames, Memory: t.history.Size() + of.memory,
	})
	return 1
}

// subscriptionsOf is the number of a connection's subscriptions, and the bytes of topic frames that it
// was not sent from its tape.
func (e *Shard) subscriptionsOf(entry uint32) (topics, behind int) {
	c := &e.table.conns[entry]
	if c.Has(transport.StateLost) {
		topics = len(e.topics.lost[entry])
	}
	if f := e.feedOf(entry); f != nil {
		topics += len(f.subs)
		behind = int(f.tape.Head() - e.topics.subs[entry].cursor)
	}
	return topics, behind
}

// pace is how many frames of a topic come in a second.
type pace struct {
	since int64  // when the count began, monotonic ns
	count uint32 // frames since then
	last  float32
}

// frame counts a frame. A count that has gone on for a second becomes the last one.
func (p *pace) frame(now int64) {
	if now-p.since >= int64(time.Second) {
		p.last, p.since, p.count = float32(p.at(now)), now, 0
	}
	p.count++
}

// at is the number of frames a second, in the last second or since the last frame.
func (p *pace) at(now int64) float64 {
	if span := now - p.since; span >= int64(time.Second) {
		return float64(p.count) * float64(time.Second) / float64(span)
	}
	return float64(p.last)
}
