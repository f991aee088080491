package shard

import (
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// This file holds what the pipeline's gauges, simulators, benchmarks and tests see of a shard. Only
// InboxLen, InboxCap and TraceBox may be called while the shard runs.

// InboxLen is the number of bytes waiting in the frame ring. Any goroutine.
func (e *Shard) InboxLen() int { return e.mail.frames.Len() }

// InboxCap is the size of the frame ring in bytes. Any goroutine.
func (e *Shard) InboxCap() int { return e.mail.frames.Cap() }

// TraceBox holds the sampled responses.
func (e *Shard) TraceBox() *telemetry.TraceBox { return e.traces.box }

// CloseRing closes the ring of a shard that never ran.
func (e *Shard) CloseRing() error { return e.ring.Close() }

// Table is the connection table; entry 0 is never used.
func (e *Shard) Table() []transport.Conn { return e.table.conns }

// Slab is the memory of send buffers.
func (e *Shard) Slab() *transport.Slab { return e.slab }

// SetSlab replaces the memory of send buffers of a shard that has no connections.
func (e *Shard) SetSlab(s *transport.Slab) { e.slab = s }

// Frames is the reading end of the frame ring.
func (e *Shard) Frames() *mailbox.BytesReader { return e.mail.frames }

// SetFrames replaces it in a shard that has read nothing.
func (e *Shard) SetFrames(r *mailbox.BytesReader) { e.mail.frames = r }

// SetEvents replaces the reading end of the control events in a shard that has read nothing.
func (e *Shard) SetEvents(r *mailbox.Reader[Event]) { e.mail.events = r }

// End ends the connection of a table entry.
func (e *Shard) End(entry uint32, why transport.Reason, now int64) { e.close(entry, why, now) }

// Overdue reports that the deadline of the end has passed.
func (e *Shard) Overdue() bool { return e.ending.overdue }

// Unaccounted is the number of responses and runs that await their ledger entry.
func (e *Shard) Unaccounted() int { return len(e.ledger.samples) }

// Blocked is the number of connections on the blocked list.
func (e *Shard) Blocked() int { return e.blocked.count }

// Err is why the ring is in doubt, nil if it is not.
func (e *Shard) Err() error { return e.err }

// Untold is the number of reports to the producer of topics that found no room.
func (e *Shard) Untold() int { return len(e.topics.late) }

// GoesOn reports that a connection may go on after a send that a tick made: one with subscriptions, or a
// half-closed one whose client has everything and gets its farewell.
func (e *Shard) GoesOn() bool {
	return len(e.outbox.dirty) > 0 && len(e.topics.all) > 0 || len(e.outbox.parting) > 0
}

// Subscription is what a simulator sees of the subscriptions of a table entry.
type Subscription struct {
	Tape    *transport.Tape // of its feed; nil if it has no subscriptions
	Overrun bool            // frames that it was not sent are overwritten
	Sending bool            // a send from a tape is in flight
	Moved   bool            // that of a feed which it has left
}

// Subscription returns the subscriptions of a table entry.
func (e *Shard) Subscription(entry int) (s Subscription) {
	if entry >= len(e.topics.subs) {
		return s
	}
	sub := &e.topics.subs[entry]
	if f := e.feedOf(uint32(entry)); f != nil {
		s.Tape, s.Overrun = &f.tape, sub.next < f.tape.First()
	}
	s.Sending, s.Moved = sub.flight != nil, sub.flight != nil && sub.flight != sub.feed
	return s
}

// Feeds calls f for every feed with the name of its set of subscriptions and its tape.
func (e *Shard) Feeds(f func(key string, tape *transport.Tape)) {
	for _, feed := range e.topics.all {
		f(feed.key, &feed.tape)
	}
}

// TapeBytes is the memory of tapes and histories.
func (e *Shard) TapeBytes() int { return e.topics.held }
