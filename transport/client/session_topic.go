package client

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"sluice/transport/wire"
)

// topics are the subscriptions of a link. They are of the session's goroutine.
type topics struct {
	known    map[uint64]*Subscription // of which a frame arrived on this connection
	snapshot *Subscription            // the one whose snapshot is arriving; nil: none
}

// resubscribe queues the requests for all topics, in front of other requests. The caller holds the mutex.
func (s *Session) resubscribe() {
	for _, topic := range slices.Backward(slices.Sorted(maps.Keys(s.topics))) {
		if b := s.topics[topic]; b.call == nil {
			b.ask(true)
		}
	}
}

// extended handles a frame of a topic.
func (l *link) extended(body []byte) error {
	if len(body) == 0 {
		return errors.New("client: protocol error: the server sent a frame with tag 0x0f without a sub-tag")
	}
	if d, ok := wire.DecodeTopicData(body); ok {
		return l.data(d)
	}
	if begin, ok := wire.DecodeSnapshotBegin(body); ok {
		return l.begin(begin)
	}
	if topic, seq, ok := wire.DecodeSnapshotEnd(body); ok {
		return l.described(topic, seq)
	}
	if topic, seq, ok := wire.DecodeGap(body); ok {
		return l.gap(topic, seq)
	}
	return fmt.Errorf("client: protocol error: the server sent a frame with sub-tag %#02x, which is unknown, or "+
		"too short", body[0])
}

// follow returns the subscription to which a frame of a topic belongs.
func (l *link) follow(topic uint64, frame string) (*Subscription, error) {
	if l.topics.snapshot != nil {
		return nil, inSnapshot(l.topics.snapshot, frame)
	}
	if b := l.topics.known[topic]; b != nil {
		return b, nil
	}
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	b := l.session.topics[topic]
	if b == nil || b.link != l {
		return nil, fmt.Errorf("client: protocol error: the server sent %s of topic %d, which is not subscribed",
			frame, topic)
	}
	l.topics.known[topic] = b
	return b, nil
}

func inSnapshot(b *Subscription, frame string) error {
	return fmt.Errorf("client: protocol error: the server sent %s within the snapshot of topic %d", frame,
		b.request.Topic)
}

func (l *link) data(d wire.TopicData) error {
	b, err := l.follow(d.Topic, "TopicData")
	if err != nil {
		return err
	}
	if !b.whole {
		return fmt.Errorf("client: protocol error: the server sent frame %d of topic %d without a snapshot before it",
			d.Seq, d.Topic)
	}
	if d.Seq != b.seq+1 && (b.request.Mode != wire.TopicLatest || d.Seq <= b.seq) {
		b.whole = false
		return &SequenceError{Topic: d.Topic, Epoch: b.epoch, Last: b.seq, Got: d.Seq}
	}
	l.resumed(b)
	b.seq = d.Seq
	b.tell(TopicEvent{Kind: TopicFrame, Epoch: b.epoch, Seq: d.Seq, Tag: d.Tag, Body: d.Body})
	return nil
}

// resumed reports that nothing was missed, with the first sign of it on a connection.
func (l *link) resumed(b *Subscription) {
	if !b.live {
		b.live = true
		b.tell(TopicEvent{Kind: TopicResumed, Epoch: b.epoch, Seq: b.seq})
	}
}

func (l *link) begin(s wire.SnapshotBegin) error {
	b, err := l.follow(s.Topic, "SnapshotBegin")
	if err != nil {
		return err
	}
	if s.Epoch == b.epoch && s.Seq < b.seq {
		b.whole = false
		return &SequenceError{Topic: s.Topic, Epoch: s.Epoch, Last: b.seq, Got: s.Seq}
	}
	l.topics.snapshot, b.whole, b.epoch, b.seq = b, false, s.Epoch, s.Seq
	b.tell(TopicEvent{Kind: SnapshotBegin, Epoch: s.Epoch, Seq: s.Seq})
	return nil
}

// describes handles a frame of a snapshot.
func (l *link) describes(tag uint8, body []byte) {
	b := l.topics.snapshot
	b.tell(TopicEvent{Kind: SnapshotFrame, Epoch: b.epoch, Seq: b.seq, Tag: tag, Body: body})
}

func (l *link) described(topic, seq uint64) error {
	b := l.topics.snapshot
	if b == nil || b.request.Topic != topic || b.seq != seq {
		text := "and no snapshot has begun"
		if b != nil {
			text = fmt.Sprintf("and the snapshot that has begun is of topic %d after frame %d", b.request.Topic, b.seq)
		}
		return fmt.Errorf("client: protocol error: the server sent SnapshotEnd of topic %d after frame %d, %s", topic,
			seq, text)
	}
	l.topics.snapshot, b.whole, b.live = nil, true, true
	b.tell(TopicEvent{Kind: SnapshotEnd, Epoch: b.epoch, Seq: seq})
	return nil
}

func (l *link) gap(topic, seq uint64) error {
	b, err := l.follow(topic, "Gap")
	if err != nil {
		return err
	}
	if seq < b.seq {
		b.whole = false
		return &SequenceError{Topic: topic, Epoch: b.epoch, Last: b.seq, Got: seq}
	}
	b.whole, b.live, b.seq = false, true, seq
	b.tell(TopicEvent{Kind: TopicGap, Epoch: b.epoch, Seq: seq})
	return nil
}

// subscribed handles the end of the response to a Subscribe or an Unsubscribe.
func (l *link) subscribed(c *Call) error {
	b, s := c.topic, l.session
	if c.err == nil && !c.leaves {
		if l.topics.known[b.request.Topic] == nil && !b.whole {
			return fmt.Errorf("client: protocol error: the server ended the response to request %d, Subscribe of "+
				"topic %d, without a snapshot", c.request, b.request.Topic)
		}
		l.topics.known[b.request.Topic] = b
		if b.whole {
			l.resumed(b)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(c.err, ErrBusy):
		l.again(c)
		return nil
	case c.leaves || c.err != nil:
		delete(l.topics.known, b.request.Topic)
		b.end(c.err)
		return nil
	}
	if b.call == c { // else it is the Unsubscribe behind c
		b.call = nil
	}
	b.busy = 0
	if !closed(b.joined) {
		close(b.joined)
	}
	return nil
}

// again sends a request that was shed again after a delay. The caller holds the mutex.
func (l *link) again(c *Call) {
	b, s := c.topic, l.session
	if b.call != c {
		return // the Unsubscribe behind it makes it superfluous
	}
	delay := s.options.MinBackoff << min(b.busy, 16)
	if delay > s.options.MaxBackoff || delay <= 0 {
		delay = s.options.MaxBackoff
	}
	b.busy++
	time.AfterFunc(delay/2+rand.N(delay/2+1), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.link != l || b.call != c {
			return
		}
		if c.leaves {
			b.queue(wire.AppendUnsubscribeBody(nil, b.request.Topic), false)
		} else {
			b.ask(false)
		}
		s.place()
	})
}

// lose returns the subscriptions to ask for again on the next connection, and ends those that were being
// left. The caller holds the mutex.
func (l *link) lose() (broken []*Subscription) {
	for _, topic := range slices.Sorted(maps.Keys(l.session.topics)) {
		b := l.session.topics[topic]
		if i := slices.Index(l.session.waiting, b.call); i >= 0 {
			l.session.waiting = slices.Delete(l.session.waiting, i, i+1)
		}
		b.call, b.busy = nil, 0
		if b.leaving {
			b.end(nil)
			continue
		}
		broken = append(broken, b)
	}
	return broken
}
