package cluster

import (
	"errors"
	"slices"
	"time"

	"sluice/durability"
)

// simSwap is a policy on its way to the gate.
type simSwap struct {
	policy  durability.Policy
	adopted func()
	handed  bool
}

// swap is the sequencer's OnPolicy.
func (o *simOffice) swap(p durability.Policy, event durability.Seq, adopted func()) {
	o.w.counts.Swaps++
	o.policies = append(o.policies, simPolicy{event, slices.Index(o.w.policies, p)})
	o.swaps = append(o.swaps, simSwap{policy: p, adopted: adopted})
}

// adopt is a turn of the goroutine that has the gate adopt a policy.
func (o *simOffice) adopt() {
	if len(o.swaps) == 0 {
		return
	}
	s := &o.swaps[0]
	if !s.handed {
		s.handed = true
		_ = o.gate.Policy().Swap(&simHandOver{}, s.policy) // its context ends at once
		return
	}
	if _, pending := o.gate.Policy().Pending(); !pending {
		s.adopted()
		o.swaps = o.swaps[1:]
	}
}

// holds is the policy that is in force for an event, and the last event up to which it, or one that
// was put in force later, has ever held.
func (o *simOffice) holds(seq durability.Seq) (p durability.Policy, upTo durability.Seq) {
	for i := len(o.policies) - 1; i >= 0; i-- {
		in := o.policies[i]
		p, upTo = o.w.policies[in.at], max(upTo, o.held[in.at])
		if in.from <= seq {
			break
		}
	}
	return p, upTo
}

// simHandOver is a context whose deadline passes between the hand-over of a policy and its
// acknowledgement, so that Swap returns on this goroutine.
type simHandOver struct{ asked int }

func (c *simHandOver) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *simHandOver) Value(any) any               { return nil }
func (c *simHandOver) Err() error {
	if c.asked > 1 {
		return errors.New("handed over")
	}
	return nil
}
func (c *simHandOver) Done() <-chan struct{} {
	if c.asked++; c.asked == 1 {
		return nil
	}
	done := make(chan struct{})
	close(done)
	return done
}
