package sequencer

import (
	"time"

	"sluice/actors"
	"sluice/mailbox"
)

// Defaults of Topics.
const (
	DefaultMaxTopics        = 1 << 16
	DefaultMaxSubscriptions = 1 << 10
	DefaultLinger           = 10 * time.Second
)

// expiries is how many entries of the list of lingering places a step, or a subscription, looks at.
const expiries = 64

// Topics configures the topics of an application that is a Publisher.
type Topics struct {
	// Feedback is the producer's end of actors.NewFeedback: one list for each shard of the pipeline.
	// Without it, clients cannot subscribe.
	Feedback []*mailbox.Reader[actors.Feedback]
	// Epoch is the number from which epochs of topics are counted. It is chosen at random for each
	// run, so that no other run has them.
	Epoch uint64
	// MaxTopics is the number of topics that have subscribers; default DefaultMaxTopics.
	MaxTopics int
	// MaxSubscriptions is the number of subscriptions of a connection; default
	// DefaultMaxSubscriptions.
	MaxSubscriptions int
	// Linger is how long topic frames are sent to a shard that lost its last subscriber of the
	// topic, for one that comes back; default DefaultLinger. It is at most twice as long.
	Linger time.Duration
}

// topics knows who subscribes to what. It belongs to the sequencer's goroutine.
//
//	conns: 3 -> [7, 8]      live: 7 -> {epoch, seq, shards 0b01, subscribers by shard}
//	       4 -> [7]               8 -> {...}
//
// A topic is live as long as a shard gets its frames, which is from its first subscriber until the
// last one has been gone for the linger time.
type topics struct {
	Topics
	live          map[uint64]*topic
	conns         map[uint64]*subscriber
	subscriptions int
	subscribed    int // live topics with subscribers

	lingering []lingering // places without subscribers, the longest ones first; some have new ones
	first     int         // entries of lingering that are done
	now       int64       // monotonic ns, of the step

	budget int // entries of feedback that this step still takes
	turn   int // list of feedback that is looked at next
}

// topic is a live topic.
type topic struct {
	id, epoch   uint64
	seq         uint64 // of the last frame
	shards      uint64 // that get its frames, a bit for each
	subscribers int
	places      []place // by shard
}

// place is a topic at a shard.
type place struct {
	since       uint64 // last frame that the shard did not get
	subscribers uint32
	queued      bool // it is in the list of lingering places
	again       bool // it lost its last subscriber while it was in the list
}

// lingering is a place that lost its last subscriber.
type lingering struct {
	topic *topic
	shard int
	until int64 // monotonic ns
}

// subscriber is a connection with subscriptions.
type subscriber struct {
	id   Identity // without the key
	subs []sub
}

// sub is a subscription.
type sub struct {
	topic *topic
	mode  actors.Mode
}

func newTopics(cfg Topics) *topics {
	orDefault(&cfg.MaxTopics, DefaultMaxTopics)
	orDefault(&cfg.MaxSubscriptions, DefaultMaxSubscriptions)
	orDefault(&cfg.Linger, DefaultLinger)
	return &topics{Topics: cfg, live: map[uint64]*topic{}, conns: map[uint64]*subscriber{}}
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// find returns the subscription of a connection to a topic, nil if there is none.
func (t *topics) find(conn, id uint64) *sub {
	c, at := t.conns[conn], t.live[id]
	if c == nil || at == nil {
		return nil
	}
	for i := range c.subs {
		if c.subs[i].topic == at {
			return &c.subs[i]
		}
	}
	return nil
}

// full reports whether a limit forbids a subscription that the connection does not have yet. Topics
// that linger count for no limit. While there are many, each new topic ends some of them, at least one
// in the long run: a topic has at most one entry in the list for each shard.
func (t *topics) full(conn, id uint64) bool {
	if c := t.conns[conn]; c != nil && len(c.subs) >= t.MaxSubscriptions {
		return true
	}
	if at := t.live[id]; at != nil && at.subscribers > 0 {
		return false
	}
	for n := 0; n < expiries && len(t.live) >= t.MaxTopics && t.first < len(t.lingering); n++ {
		t.expire()
	}
	return t.subscribed >= t.MaxTopics
}

// describe returns epoch and number of the last frame of a topic, also of one that is not live.
func (t *topics) describe(id uint64) (epoch, seq uint64) {
	if at := t.live[id]; at != nil {
		return at.epoch, at.seq
	}
	return t.next(), 0
}

// next is the epoch of the next topic that becomes live. 0 is none.
func (t *topics) next() uint64 { return max(t.Epoch+1, 1) }

// resumes reports whether a subscriber that has the frames up to seq finds the others at its shard.
func (t *topics) resumes(conn, id, epoch, seq uint64) bool {
	at := t.live[id]
	if at == nil || epoch != at.epoch || seq > at.seq {
		return false
	}
	shard := t.shardOf(conn)
	return at.shards>>shard&1 != 0 && seq >= at.places[shard].since
}

func (t *topics) shardOf(conn uint64) int { return actors.ShardOf(conn, len(t.Feedback)) }

// join adds a subscription, which the connection does not have.
func (t *topics) join(ev *Event, id uint64, mode actors.Mode) {
	at := t.live[id]
	if at == nil {
		t.Epoch = t.next()
		at = &topic{id: id, epoch: t.Epoch, places: make([]place, len(t.Feedback))}
		t.live[id] = at
	}
	shard := t.shardOf(ev.Conn)
	p := &at.places[shard]
	if at.shards>>shard&1 == 0 {
		at.shards |= 1 << shard
		p.since = at.seq
	}
	if at.subscribers == 0 {
		t.subscribed++
	}
	p.subscribers++
	at.subscribers++
	t.subscriptions++
	c := t.conns[ev.Conn]
	if c == nil {
		c = &subscriber{id: Identity{Number: ev.Identity.Number, Role: ev.Identity.Role}}
		t.conns[ev.Conn] = c
	}
	c.subs = append(c.subs, sub{at, mode})
}

// leave ends a subscription, if there is one.
func (t *topics) leave(conn, id uint64) {
	s := t.find(conn, id)
	if s == nil {
		return
	}
	t.lost(s.topic, t.shardOf(conn))
	c := t.conns[conn]
	last := len(c.subs) - 1
	*s, c.subs[last] = c.subs[last], sub{}
	if c.subs = c.subs[:last]; last == 0 {
		delete(t.conns, conn)
	}
}

// gone ends all subscriptions of a connection.
func (t *topics) gone(conn uint64) {
	c := t.conns[conn]
	if c == nil {
		return
	}
	shard := t.shardOf(conn)
	for i := range c.subs {
		t.lost(c.subs[i].topic, shard)
	}
	delete(t.conns, conn)
}

// lost takes notice that a topic has one subscriber less.
func (t *topics) lost(at *topic, shard int) {
	p := &at.places[shard]
	p.subscribers--
	at.subscribers--
	t.subscriptions--
	if at.subscribers == 0 {
		t.subscribed--
	}
	switch {
	case p.subscribers > 0:
	case p.queued:
		p.again = true
	default:
		p.queued = true
		t.linger(at, shard)
	}
}

func (t *topics) linger(at *topic, shard int) {
	if t.first > len(t.lingering)/2 {
		n := copy(t.lingering, t.lingering[t.first:])
		clear(t.lingering[n:])
		t.lingering, t.first = t.lingering[:n], 0
	}
	t.lingering = append(t.lingering, lingering{at, shard, t.now + int64(t.Linger)})
}

// begin begins a step at a time: it ends places that lingered long enough, and looks for feedback.
func (t *topics) begin(now int64) {
	t.now = now
	t.look()
	for n := 0; n < expiries && t.first < len(t.lingering) && now >= t.lingering[t.first].until; n++ {
		l := t.lingering[t.first]
		if p := &l.topic.places[l.shard]; !p.again || p.subscribers > 0 {
			t.expire()
		} else {
			p.again = false
			t.pop()
			t.linger(l.topic, l.shard)
		}
	}
}

// expire ends the place at the head of the list, unless it has subscribers again.
func (t *topics) expire() {
	at, shard := t.lingering[t.first].topic, t.lingering[t.first].shard
	t.pop()
	p := &at.places[shard]
	p.queued, p.again = false, false
	if p.subscribers > 0 {
		return
	}
	if at.shards &^= 1 << shard; at.shards == 0 {
		delete(t.live, at.id)
	}
}

// pop drops the head of the list.
func (t *topics) pop() {
	t.lingering[t.first] = lingering{}
	if t.first++; t.first == len(t.lingering) {
		t.lingering, t.first = t.lingering[:0], 0
	}
}

// feedbackMost is how many entries of feedback a step takes at most.
const feedbackMost = 64

// look allows the step its feedback, if there is any.
func (t *topics) look() {
	t.budget = 0
	for _, r := range t.Feedback {
		if r.Len() > 0 {
			t.budget = feedbackMost
			return
		}
	}
}

// report returns the next entry of feedback, nil if there is none for this step. It stays the next
// one until it is taken.
func (t *topics) report() *actors.Feedback {
	if t.budget == 0 {
		return nil
	}
	for range t.Feedback {
		if b := t.Feedback[t.turn].Batch(1); len(b) > 0 {
			return &b[0]
		}
		t.turn = (t.turn + 1) % len(t.Feedback)
	}
	t.budget = 0
	return nil
}

// taken takes the entry that report returned.
func (t *topics) taken() {
	t.budget--
	t.Feedback[t.turn].Release(1)
	t.turn = (t.turn + 1) % len(t.Feedback)
}
