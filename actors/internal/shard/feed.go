package shard

import (
	"encoding/binary"
	"slices"

	"sluice/telemetry"
	"sluice/transport"
)

// feed is the connections of the shard that have the same subscriptions. They are sent from one tape.
type feed struct {
	key     string
	subs    []subscription // by topic
	members []uint32       // table entries
	place   int            // index in topics.all
	tape    transport.Tape
	dirty   bool // is in topics.dirty

	// low is at most the number of the next frame of any member that has not lost frames. Frames below
	// it may be overwritten at once.
	low     uint64
	flights int    // sends in flight from the tape
	pin     uint64 // frame that is not dropped while there are any
	seen    uint64 // number of the next frame at the last sweep

	found  found                      // by a list
	latest map[latestKey]*latestFrame // the newest frame of each key, if a subscription is ModeLatest
	kept   int                        // bytes that latest takes, about
	many   bool                       // there was no room for them, and there are none any more
}

// subscription is a topic of a feed.
type subscription struct {
	topic *topic
	mode  Mode
	at    int    // index in topic.feeds
	end   uint64 // number of the frame behind its last one in the tape; 0 if it has had none
}

// subscriber is what the shard keeps of a connection with subscriptions, besides its Conn.
type subscriber struct {
	feed   *feed  // nil if it has none
	cursor uint64 // offset of the frame to send next
	next   uint64 // number of that frame
	limit  uint64 // of a closing connection with a send in flight: number of the first frame that is not its own
	place  uint32 // index in feed.members

	mixed   bool                  // what is in flight from a tape is in the own buffer too
	copying bool                  // frames are being copied: no send may begin
	flight  *feed                 // from whose tape a send is in flight; nil if none is
	memory  *transport.TapeMemory // that it reads
}

// mode is the mode in which members subscribe to a topic.
func (f *feed) mode(topic uint64) (Mode, bool) {
	i, ok := f.find(topic)
	if !ok {
		return 0, false
	}
	return f.subs[i].mode, true
}

func (f *feed) find(topic uint64) (int, bool) {
	return slices.BinarySearchFunc(f.subs, topic, func(s subscription, id uint64) int {
		switch {
		case s.topic.id < id:
			return -1
		case s.topic.id > id:
			return 1
		}
		return 0
	})
}

// others returns the subscriptions of a feed for another one, whose tape has none of their frames.
func (f *feed) others() []subscription {
	subs := slices.Clone(f.subs)
	for i := range subs {
		subs[i].end = 0
	}
	return subs
}

// feedFor returns the feed of a set of subscriptions, which is sorted by topic.
func (e *Shard) feedFor(subs []subscription) *feed {
	key := make([]byte, 0, 64)
	for _, s := range subs {
		key = append(binary.LittleEndian.AppendUint64(key, s.topic.id), uint8(s.mode))
	}
	if f := e.topics.feeds[string(key)]; f != nil {
		return f
	}
	f := &feed{key: string(key), subs: subs, place: len(e.topics.all)}
	for i := range f.subs {
		s := &f.subs[i]
		s.at = len(s.topic.feeds)
		s.topic.feeds = append(s.topic.feeds, place{feed: f, at: i})
		if s.mode == ModeLatest && f.latest == nil {
			f.latest = map[latestKey]*latestFrame{}
		}
	}
	if e.topics.feeds == nil {
		e.topics.feeds = map[string]*feed{}
	}
	e.topics.feeds[f.key] = f
	e.topics.all = append(e.topics.all, f)
	return f
}

// endFeed forgets a feed without members. A send in flight keeps the memory that it reads.
func (e *Shard) endFeed(f *feed) {
	for i := range f.subs {
		t, at := f.subs[i].topic, f.subs[i].at
		last := len(t.feeds) - 1
		moved := t.feeds[last]
		t.feeds[at] = moved
		moved.feed.subs[moved.at].at = at
		t.feeds = t.feeds[:last]
	}
	last := e.topics.all[len(e.topics.all)-1]
	e.topics.all[f.place], last.place = last, f.place
	e.topics.all = e.topics.all[:len(e.topics.all)-1]
	delete(e.topics.feeds, f.key)
	e.dropLatest(f)
	e.freeTape(f)
}

// freeTape frees the tape of a feed that has ended, once no send reads it.
func (e *Shard) freeTape(f *feed) {
	if f.flights == 0 && len(f.members) == 0 {
		e.clearTape(&f.tape)
	}
}

// land ends a connection's send in flight from the tape of a feed, which it returns.
func (e *Shard) land(s *subscriber) *feed {
	f := s.flight
	f.flights--
	s.memory.Release(e.slab)
	s.flight, s.memory = nil, nil
	return f
}

// join makes a connection a member of a feed, from its next frame on.
func (e *Shard) join(entry uint32, f *feed) {
	if n := int(entry) + 1; n > cap(e.topics.subs) {
		// By a 32nd: append would leave a quarter unused.
		e.topics.subs = append(make([]subscriber, 0, n+n/32+8), e.topics.subs...)
	}
	for int(entry) >= len(e.topics.subs) {
		e.topics.subs = append(e.topics.subs, subscriber{})
	}
	s := &e.topics.subs[entry]
	s.feed, s.cursor, s.next, s.place = f, f.tape.Head(), f.tape.Next(), uint32(len(f.members))
	f.members = append(f.members, entry)
	for i := range f.subs {
		f.subs[i].topic.members++
		f.subs[i].topic.deserted = 0
	}
	e.table.conns[entry].Set(transport.StateSubscribed)
	e.Gauges.Subscribed.Add(int64(len(f.subs)))
}

// quit ends a connection's membership in its feed. What it was not sent is not looked at.
func (e *Shard) quit(entry uint32, now int64) {
	s := &e.topics.subs[entry]
	f := s.feed
	last := f.members[len(f.members)-1]
	f.members[s.place] = last
	e.topics.subs[last].place = s.place
	f.members = f.members[:len(f.members)-1]
	s.feed = nil
	e.table.conns[entry].Clear(transport.StateSubscribed)
	e.Gauges.Subscribed.Add(-int64(len(f.subs)))
	for i := range f.subs {
		t := f.subs[i].topic
		if t.members--; t.members == 0 {
			t.deserted = max(now, 1)
		}
	}
	if len(f.members) == 0 {
		e.endFeed(f)
	}
}

// write appends a frame to the tape of a feed, which its members are sent at the next flush. It
// returns false if there is no room for it.
func (e *Shard) write(f *feed, frame []byte, now int64) bool {
	t, n := &f.tape, len(frame)
	if (!t.Fits(n) || t.Needs(n) > f.low) && !e.makeTapeRoom(f, n, now) {
		return false
	}
	if len(f.members) == 0 {
		return true // the last one ended while room was made
	}
	t.Drop(e.slab, t.Needs(n))
	t.Append(e.slab, frame)
	if !f.dirty {
		f.dirty = true
		e.topics.dirty = append(e.topics.dirty, f)
	}
	return true
}

// makeTapeRoom makes a frame of n bytes fit without overwriting frames that a member was not offered,
// or that a send in flight reads. While members are behind, a tape grows up to its limit, beyond two of
// the largest sends only for members whose sockets took nothing. After that, members that have not taken
// the oldest frames lose them: an eighth of the tape at once, because the members are looked at each time.
func (e *Shard) makeTapeRoom(f *feed, n int, now int64) bool {
	t := &f.tape
	for offers := 0; e.err == nil && len(f.members) > 0; {
		want, fits := max(2*t.Size(), tapeLeast), t.Fits(n)
		if fits {
			if f.low = e.lowest(f); t.Needs(n) <= f.low {
				return true
			}
		}
		if most := e.cfg.Topics.TapeBytes; !fits || want <= most && (offers > 0 || want <= 2*sendMost) {
			if e.growTape(t, want) {
				continue
			}
			if !fits {
				return false
			}
		}
		if offers < 3 { // what is queued, the rest of a connection's own bytes, then its tape
			offers++
			e.rec.B.C[telemetry.TopicFlushes]++
			e.offer(f, now)
			e.submit(now)
			continue
		}
		if f.flights > 0 && t.Needs(n) > f.pin { // a completion is late
			if !e.growTape(t, 2*t.Size()) {
				return false
			}
			continue
		}
		drop, _ := t.Find(t.Tail() + uint64(t.Size()/8))
		if f.flights > 0 {
			drop = min(drop, f.pin)
		}
		t.Drop(e.slab, max(drop, t.Needs(n)))
		f.low = e.lowest(f)
		return true
	}
	return e.err == nil // the last member ended, for which write looks
}

// lowest is the number of the oldest frame that a send in flight reads, which can be of a connection
// that has left the feed, or that a member has not been sent, of those that lost none.
func (e *Shard) lowest(f *feed) uint64 {
	low := f.tape.Next()
	if f.flights > 0 {
		low = min(low, f.pin)
	}
	for _, entry := range f.members {
		if next := e.topics.subs[entry].next; next >= f.tape.First() {
			low = min(low, next)
		}
	}
	return low
}

// offer queues a send for each member that has something to send and whose socket takes bytes.
func (e *Shard) offer(f *feed, now int64) {
	for i := len(f.members) - 1; i >= 0; i-- {
		if i < len(f.members) { // members may end meanwhile
			e.send(f.members[i], now)
		}
	}
}

// flushFeeds offers the new frames of feeds to their members.
func (e *Shard) flushFeeds(now int64) {
	feeds := e.topics.dirty
	e.topics.dirty, e.topics.offered = e.topics.offered[:0], nil
	for _, f := range feeds {
		f.dirty = false
		e.offer(f, now)
	}
	e.submit(now)
	for _, f := range feeds {
		if f.flights == 0 {
			continue
		}
		for _, entry := range f.members { // a completion is late: the no-progress clock runs
			if e.topics.subs[entry].flight != nil {
				e.addBlocked(entry, now)
			}
		}
	}
	clear(feeds)
	e.topics.offered = feeds
}

// behind reports that a connection is to be sent topic frames.
func (e *Shard) behind(c *transport.Conn, entry uint32) bool {
	if !c.Has(transport.StateSubscribed) {
		return false
	}
	s := &e.topics.subs[entry]
	return s.cursor != s.feed.tape.Head()
}
