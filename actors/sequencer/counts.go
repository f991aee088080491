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
	Refused    uint64 // refused by the application's table or Check
	Waits      uint64 // times it began to wait for room in the journal's ring or the slot ring
	ClockJumps uint64 // times the wall clock began to disagree with the time of events by more than a second
}

// Counts is what was done up to the last step. Any goroutine.
func (s *Sequencer[R, Q]) Counts() Counts {
	return Counts{s.shared[0].Load(), s.shared[1].Load(), s.shared[2].Load(), s.shared[3].Load(),
		s.shared[4].Load(), s.shared[5].Load()}
}

func (s *Sequencer[R, Q]) share() {
	c := &s.counts
	for i, n := range [...]uint64{c.Events, c.Others, c.Queries, c.Refused, c.Waits, s.clock.jumps} {
		s.shared[i].Store(n)
	}
}

// PanicError is the end of a sequencer whose application panicked. The event at fault is not in the
// journal, unless it was the Snapshot after it that panicked.
type PanicError struct {
	Seq   durability.Seq // last event sequenced, the one at fault included
	Kind  Kind           // of the event at fault
	Tag   uint8          // of the request at fault
	Conn  uint64
	Hash  uint64 // of the request at fault, see Config.Poisoned; 0 for other events
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
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
