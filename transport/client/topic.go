package client

import (
	"context"
	"fmt"
	"slices"

	"sluice/transport/wire"
)

// TopicEventKind is what a TopicEvent reports.
type TopicEventKind uint8

// Kinds of events of a subscription, in the order in which they come: a snapshot is SnapshotBegin, any
// number of SnapshotFrame, and SnapshotEnd; a SnapshotBegin can come at any time and replaces all that
// came before it.
const (
	SnapshotBegin TopicEventKind = iota + 1 // what follows describes the topic as it is after frame Seq
	SnapshotFrame                           // a frame that describes the topic
	SnapshotEnd                             // the description is complete; frame Seq + 1 is the next
	TopicFrame                              // frame Seq of the topic
	TopicGap                                // frames up to Seq are lost; a snapshot follows
	TopicBroken                             // the connection ended; TopicResumed or a snapshot follows on the next one
	TopicResumed                            // nothing was missed: frame Seq + 1 is the next
)

// String is the kind's stable name.
func (k TopicEventKind) String() string {
	names := [...]string{"unknown", "snapshot begin", "snapshot frame", "snapshot end", "frame", "gap", "broken",
		"resumed"}
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}

// TopicEvent is an event of a subscription.
type TopicEvent struct {
	Kind  TopicEventKind
	Topic uint64
	Epoch uint64 // of Seq
	Seq   uint64 // topic_seq of the frame, of the last one in the snapshot, or of the last one that is lost
	Tag   uint8  // SnapshotFrame, TopicFrame: of the application's frame
	Body  []byte // SnapshotFrame, TopicFrame: of the application's frame; valid during the call
}

// SequenceError means that the server sent frames of a topic with a hole or a repetition. The session
// closes that connection, and begins the topic on the next one with a snapshot.
type SequenceError struct {
	Topic, Epoch uint64
	Last         uint64 // topic_seq of the frame or snapshot before
	Got          uint64 // topic_seq that was received
}

// Error names both numbers.
func (e *SequenceError) Error() string {
	what := "it was received before, or is out of order"
	if e.Got > e.Last {
		what = fmt.Sprintf("frame %d is missing", e.Last+1)
		if e.Got-1 > e.Last+1 {
			what = fmt.Sprintf("frames %d to %d are missing", e.Last+1, e.Got-1)
		}
	}
	return fmt.Sprintf("client: protocol error: topic %d, epoch %#x: frame %d came after frame %d: %s", e.Topic,
		e.Epoch, e.Got, e.Last, what)
}

// Subscription is a topic that a session follows, over all its connections. Its methods may be called
// from any goroutine.
type Subscription struct {
	session *Session
	request wire.Subscribe // as the caller made it; Epoch and After are of the first one
	on      func(TopicEvent) error
	joined  chan struct{} // closed with the first response, or with done
	done    chan struct{}

	// of the session's goroutine
	epoch, seq uint64 // of the last frame or snapshot
	whole      bool   // on received all frames up to seq, so the subscription can be resumed there
	live       bool   // frames are expected on this connection
	failed     bool   // on returned an error

	// guarded by the session's mutex
	link    *link // the connection on which a Subscribe was sent last
	call    *Call // a Subscribe or Unsubscribe that waits or is under way; nil: none
	busy    int   // how often the server shed the request in a row
	leaving bool
	err     error
}

// Subscribe follows a topic. on receives its events, one after another, on a goroutine of the session,
// which waits for it; on must not wait for the session in turn, as Subscribe, Unsubscribe, Do and Close
// do. If on returns an error, the subscription ends with it.
//
// Subscribe returns when the server has accepted. By then on has received the snapshot; or, if the
// request has an epoch and the server could go on behind frame After, TopicResumed. Until then the
// request is sent again if the server shed it or the connection broke. The error is a *RefusedError if
// the server refuses. If ctx ends first, the subscription is given up, and on may be called until that is
// done.
//
// If the connection breaks, on receives TopicBroken. The session subscribes again on the next one, behind
// the last frame that on received. A session follows a topic only once at a time.
func (s *Session) Subscribe(ctx context.Context, r wire.Subscribe, on func(TopicEvent) error) (*Subscription,
	error) {
	if on == nil || r.Mode > wire.TopicLatest {
		return nil, fmt.Errorf("client: topic %d: a subscription needs a function for its events, and one of the "+
			"modes recover, every and latest; the mode is %v", r.Topic, r.Mode)
	}
	b := &Subscription{session: s, request: r, on: on, joined: make(chan struct{}), done: make(chan struct{}),
		epoch: r.Epoch, seq: r.After, whole: r.Epoch != 0}
	s.mu.Lock()
	switch _, known := s.topics[r.Topic]; {
	case s.ended != nil:
		defer s.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrNotSent, s.ended)
	case known:
		s.mu.Unlock()
		return nil, fmt.Errorf("client: topic %d is subscribed already; unsubscribe first", r.Topic)
	}
	s.topics[r.Topic] = b
	if s.link != nil {
		b.ask(false)
		s.place()
	}
	s.mu.Unlock()
	select {
	case <-b.joined:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !closed(b.joined) {
		b.leave()
		cause := context.Cause(ctx)
		if s.link == nil {
			cause = s.disconnected(cause)
		}
		return nil, fmt.Errorf("client: topic %d: the server has not accepted the subscription: %w", r.Topic, cause)
	}
	if b.err != nil {
		return nil, b.err
	}
	return b, nil
}

// Topic is the number of the topic.
func (b *Subscription) Topic() uint64 { return b.request.Topic }

// Done is closed when the subscription has ended. Its function is not called any more.
func (b *Subscription) Done() <-chan struct{} { return b.done }

// Err is why the subscription has ended: a *RefusedError if the server refused it, on any connection;
// the error of its function; that of the session; nil after Unsubscribe, and before the end.
func (b *Subscription) Err() error {
	b.session.mu.Lock()
	defer b.session.mu.Unlock()
	return b.err
}

// Unsubscribe ends the subscription and waits for the server's response, until ctx ends.
func (b *Subscription) Unsubscribe(ctx context.Context) error {
	b.session.mu.Lock()
	b.leave()
	b.session.mu.Unlock()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: topic %d: the server has not ended the subscription yet: %w", b.request.Topic,
			context.Cause(ctx))
	}
}

// ask queues the request for the topic, in front of other requests or behind them. The caller holds the
// mutex. The position does not change until the request is sent, because no frame arrives before.
func (b *Subscription) ask(first bool) {
	r := b.request
	r.Epoch, r.After = 0, 0
	if b.whole {
		r.Epoch, r.After = b.epoch, b.seq
	}
	b.queue(wire.AppendSubscribeBody(nil, r), first)
}

func (b *Subscription) queue(body []byte, first bool) {
	at := len(b.session.waiting)
	if first {
		at = 0
	}
	b.call = &Call{session: b.session, tag: wire.TagExtended, body: body, topic: b, leaves: body[0] == wire.SubUnsubscribe,
		placed: make(chan struct{}), done: make(chan struct{})}
	b.session.waiting = slices.Insert(b.session.waiting, at, b.call)
}

// leave ends the subscription, at once if the server does not know of it. The caller holds the mutex.
func (b *Subscription) leave() {
	s := b.session
	if b.leaving || closed(b.done) {
		return
	}
	b.leaving = true
	i := slices.Index(s.waiting, b.call)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	if i >= 0 || s.link == nil {
		b.end(nil)
		return
	}
	b.queue(wire.AppendUnsubscribeBody(nil, b.request.Topic), false)
	s.place()
}

// end makes the end known. The first error counts. The caller holds the mutex.
func (b *Subscription) end(err error) {
	delete(b.session.topics, b.request.Topic)
	b.call = nil
	if closed(b.done) {
		return
	}
	if b.err == nil {
		b.err = err
	}
	if !closed(b.joined) {
		close(b.joined)
	}
	close(b.done)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tell calls the function of the subscription.
func (b *Subscription) tell(e TopicEvent) {
	if b.failed {
		return
	}
	e.Topic = b.request.Topic
	if err := b.on(e); err != nil {
		b.failed = true
		b.session.mu.Lock()
		if b.err == nil {
			b.err = fmt.Errorf("client: topic %d, %v %d: %w", e.Topic, e.Kind, e.Seq, err)
		}
		b.leave()
		b.session.mu.Unlock()
	}
}
