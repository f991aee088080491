package bench

import (
	"fmt"
	"time"

	"sluice/durability"
)

// follower advances the durability cursors behind the published slots. It stands for the journal,
// and for replicas if the policy needs them. The lag applies to what the policy waits for last: the
// replicas, or without them the journal. It belongs to the producer's goroutine.
type follower struct {
	cursors  *durability.Cursors
	replicas []durability.Feed
	lag      int64 // ns
	waiting  []mark
}

// mark is a position and the time at which the lagging cursors reach it.
type mark struct {
	due int64
	seq durability.Seq
}

// policy returns the policy of the spec for a cluster of the default size.
func (s *Spec) policy() (durability.Policy, error) {
	if s.Policy == "" {
		return durability.Local(), nil
	}
	p, err := durability.Parse(s.Policy, durability.DefaultNodes)
	if err != nil {
		return p, fmt.Errorf("bench: --policy: %w", err)
	}
	return p, nil
}

func newFollower(spec *Spec) (*follower, error) {
	policy, err := spec.policy()
	if err != nil {
		return nil, err
	}
	f := &follower{lag: int64(spec.Lag)}
	replicas := 0
	if policy.MetBy(1) != nil {
		replicas = durability.DefaultNodes - 1
	}
	f.cursors = durability.NewCursors(replicas)
	for i := range replicas {
		f.replicas = append(f.replicas, f.cursors.Activate(i+1, 0, 0))
	}
	return f, nil
}

// published records that the slots up to seq are in the ring.
func (f *follower) published(seq durability.Seq, c clock) {
	if len(f.replicas) > 0 {
		f.cursors.SetPersisted(seq)
	}
	if f.lag == 0 {
		f.reach(seq)
		return
	}
	f.waiting = append(f.waiting, mark{c.now() + f.lag, seq})
}

// advance moves the lagging cursors to their positions at the time now. It reports whether more
// positions wait.
func (f *follower) advance(now int64) (more bool) {
	n := 0
	for n < len(f.waiting) && f.waiting[n].due <= now {
		n++
	}
	if n > 0 {
		f.reach(f.waiting[n-1].seq)
		f.waiting = f.waiting[:copy(f.waiting, f.waiting[n:])]
	}
	return len(f.waiting) > 0
}

// reach advances the lagging cursors.
func (f *follower) reach(seq durability.Seq) {
	if len(f.replicas) == 0 {
		f.cursors.SetPersisted(seq)
	}
	for _, r := range f.replicas {
		r.Advance(seq, seq)
	}
}

// lagMost bounds --lag, because the slot ring holds the slots published in that time.
const lagMost = 10 * time.Second
