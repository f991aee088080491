package sequencer

import (
	"fmt"

	"sluice/durability"

	"github.com/cespare/xxhash/v2"
)

// Counts is the work of a sequencer since it was made.
type Counts struct {
	Events     uint64 // requests that were journaled and applied
	Others     uint64 // other events that were journaled
	Queries    uint64 // answered from the state
	Refused    uint64 // by table, Check, Admit or Describe, a lowered role, a limit of topics, or as poisoned
	Waits      uint64 // times it began to wait for room in the journal's ring or the slot ring
	ClockJumps uint64 // times the wall clock began to disagree with the time of events by more than a second
	Subscribes uint64 // requests to begin or end a subscription that were carried out
	Resyncs    uint64 // snapshots of topics for subscribers that had missed frames

	Topics        uint64 // that have subscribers now
	Subscriptions uint64 // of all connections now
}

// Counts is what was done up to the last step. Any goroutine.
func (s *Sequencer[R, Q]) Counts() Counts {
	at := func(i int) uint64 { return s.shared[i].Load() }
	return Counts{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9)}
}

func (s *Sequencer[R, Q]) share() {
	c, t := &s.counts, s.out.topics
	for i, n := range [...]uint64{c.Events, c.Others, c.Queries, c.Refused, c.Waits, s.clock.jumps,
		c.Subscribes, c.Resyncs, uint64(t.subscribed), uint64(t.subscriptions)} {
		if s.shared[i].Load() != n {
			s.shared[i].Store(n)
		}
	}
}

// PanicError is the end of a sequencer whose application panicked. The event at fault is not in the
// journal.
type PanicError struct {
	Seq   durability.Seq // last event sequenced, the one at fault included
	Kind  Kind           // of the event at fault; 0 if the application panicked in New or in Limited.Use
	Tag   uint8          // of the request at fault
	Conn  uint64
	Hash  uint64 // of the request at fault, see Config.Poisoned; 0 for other events
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	if e.Kind == 0 {
		return fmt.Sprintf("sequencer: the application panicked on its state after event %d: %v\n%s", e.Seq,
			e.Value, e.Stack)
	}
	return fmt.Sprintf("sequencer: the application panicked near event %d (%s, tag 0x%02x of "+
		"connection %d): %v\n%s", e.Seq, e.Kind, e.Tag, e.Conn, e.Value, e.Stack)
}

// hashOf tells requests apart by tag and body: those with equal ones do the same to equal states. It is 0
// for other events.
func hashOf(ev *Event) uint64 {
	if ev.Kind != KindRequest {
		return 0
	}
	return max(1, xxhash.Sum64(ev.Body)^uint64(ev.Tag)<<56)
}
