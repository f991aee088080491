package client

import (
	"context"
	"sync"

	"sluice/transport/wire"
)

// TopicState is a client's copy of what a topic describes, such as an order book. Its methods are called
// in the order Begin, Describe for each frame of the snapshot, End, and Update for each frame of the topic.
// Bodies are valid during the call.
type TopicState interface {
	Begin(seq uint64) // a snapshot begins, of the topic as it is after frame seq
	Describe(tag uint8, body []byte) error
	End(seq uint64) error
	Update(seq uint64, tag uint8, body []byte) error // numbers rise by one, except in the mode latest
}

// Replica keeps a copy of a topic up to date. Its methods may be called from any goroutine.
//
//	snapshot --> a new S: Begin, Describe..., End --> replaces the one in use
//	frames   ------------------------Update---------> the S in use
//
// While a snapshot arrives, the replica still has the state before it, which is not live then.
type Replica[S TopicState] struct {
	*Subscription
	fresh func() S
	next  S // of the session's goroutine: the one to which a snapshot is being applied

	mu      sync.Mutex
	state   S
	at      ReplicaPosition
	changed chan struct{} // closed with the next change; nil: no call of Changed waits
}

// ReplicaPosition says how far a replica is.
type ReplicaPosition struct {
	Epoch, Seq uint64 // of the last frame that was applied, or of the snapshot
	Snapshots  uint64 // that were applied
	Live       bool   // nothing is known to be missing: false from a gap or a break until a snapshot, or a resumption
}

// Follow subscribes to a topic and keeps a copy of it. fresh returns an empty state, on a goroutine of
// the session. Follow returns when the first snapshot was applied; see Session.Subscribe for its errors.
// An error of the state ends the subscription.
func Follow[S TopicState](ctx context.Context, s *Session, topic uint64, mode wire.TopicMode, fresh func() S) (
	*Replica[S], error) {
	r := &Replica[S]{fresh: fresh}
	b, err := s.Subscribe(ctx, wire.Subscribe{Topic: topic, Mode: mode}, r.on)
	if err != nil {
		return nil, err
	}
	r.Subscription = b
	return r, nil
}

// View calls f with the state in use and the position of its last frame. f must not keep the state, and
// must not wait: while it runs, the session waits.
func (r *Replica[S]) View(f func(state S, at ReplicaPosition)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.state, r.at)
}

// Changed returns a channel that is closed with the next change of the state or the position. A caller
// that must not miss one calls it before View.
func (r *Replica[S]) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

func (r *Replica[S]) on(e TopicEvent) error {
	switch e.Kind {
	case SnapshotBegin:
		r.next = r.fresh()
		r.next.Begin(e.Seq)
	case SnapshotFrame:
		return r.next.Describe(e.Tag, e.Body)
	case SnapshotEnd:
		if err := r.next.End(e.Seq); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case SnapshotBegin, TopicGap, TopicBroken:
		r.at.Live = false
	case SnapshotEnd:
		var none S
		r.state, r.next = r.next, none
		r.at = ReplicaPosition{Epoch: e.Epoch, Seq: e.Seq, Snapshots: r.at.Snapshots + 1, Live: true}
	case TopicResumed:
		r.at.Live = true
	case TopicFrame:
		if err := r.state.Update(e.Seq, e.Tag, e.Body); err != nil {
			r.at.Live = false
			return err
		}
		r.at.Seq = e.Seq
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return nil
}
