package sequencer

import (
	"fmt"
	"slices"

	"sluice/durability"
)

// State is what the sequencer itself remembers of the journal: Replay makes it, a Sequencer goes on
// with it, and it stands in front of the application's bytes in every snapshot. The first group of
// fields is that part of a snapshot. The second one is what the replay found, and is not.
type State struct {
	last      durability.Seq // last event applied
	time      int64          // of the last event, ns since 1970
	rules     uint32         // version of the application's rules in force
	versioned bool           // a version was journaled
	outputs   digest
	keys      [][8]byte           // by number of the identity, from 1
	conns     map[uint64]Identity // connected, without keys
	skips     []durability.Seq    // of journaled skips, in their order
	policy    durability.Policy   // of the last policy event; the zero Policy if there is none

	snapshot      durability.Seq   // last event of the snapshot that the replay began with
	replayed      uint64           // events after it
	replayedBytes uint64           // of those events
	leftOut       []durability.Seq // by the replay, and no skip is journaled for them yet
}

// NewState returns the state of an empty journal.
func NewState() *State {
	return &State{outputs: newDigest(), conns: map[uint64]Identity{}}
}

// Last is the last event applied. The methods are for the time before a Sequencer is made with the
// state, which then owns it.
func (s *State) Last() durability.Seq { return s.last }

// Keys are the fingerprints of the identities, from number 1 on.
func (s *State) Keys() [][8]byte { return slices.Clone(s.keys) }

// Rules is the version of the application's rules in force, 0 if no event names one.
func (s *State) Rules() uint32 { return s.rules }

// Digest is the digest and the number of all outputs so far.
func (s *State) Digest() (digest, outputs uint64) {
	s.outputs.flush()
	return s.outputs.sum.Sum64(), s.outputs.outputs
}

// Policy is the policy in force by the journal; false if it has no policy event.
func (s *State) Policy() (durability.Policy, bool) { return s.policy, s.policy.Len() > 0 }

// key returns the fingerprint of an identity's number; false if it was never introduced.
func (s *State) key(number uint32) (key [8]byte, ok bool) {
	if number == 0 {
		return key, true
	}
	if int(number) > len(s.keys) {
		return key, false
	}
	return s.keys[number-1], true
}

// note takes notice of an event that was applied. The error names what contradicts the events
// before it.
func (s *State) note(ev *Event) error {
	s.last, s.time = durability.Seq(ev.Seq), ev.Time
	switch ev.Kind {
	case KindConnected:
		s.conns[ev.Conn] = Identity{Number: ev.Identity.Number, Role: ev.Identity.Role}
	case KindDisconnected:
		delete(s.conns, ev.Conn)
	case KindIdentity:
		id := ev.Introduced()
		if int(id.Number) != len(s.keys)+1 || id.Number > MaxIdentity {
			return fmt.Errorf("it gives number %d to a key; the next number is %d", id.Number,
				len(s.keys)+1)
		}
		s.keys = append(s.keys, id.Key)
	case KindVersion:
		s.rules, s.versioned = ev.Rules(), true
	case KindSkip:
		seq := durability.Seq(ev.Skipped())
		at := slices.Index(s.leftOut, seq)
		if at >= 0 {
			s.leftOut = slices.Delete(s.leftOut, at, at+1)
		} else if seq > s.snapshot {
			return fmt.Errorf("an operator had event %d left out from here on, but it was "+
				"applied: the list of skipped events was lost; skip it again", seq)
		}
		s.skips = append(s.skips, seq)
	case KindPolicy:
		s.policy = ev.Policy()
	}
	return nil
}
