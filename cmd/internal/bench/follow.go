package bench

import (
	"fmt"
	"time"

	"sluice/durability"
)

// follower moves the durability cursors behind the slots that were published: it stands for the journal, and for replicas
// where the policy asks for some. What lags is what the policy waits for last: the replicas, or without them the journal.
// It belongs to the producer's goroutine.
type follower struct {
	cursors  *durability.Cursors
	replicas []durability.Feed
	lag      int64 // ns
	waiting  []mark
}

// mark is a position and when the lagging cursors reach it.
type mark struct {
	due int64
	seq durability.Seq
}

// policy is the policy of the spec, over a cluster of the usual size.
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

// published says that everything up to seq is in the ring.
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

// advance moves the lagging cursors to where they are to be now, and tells whether there is more to wait for.
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

// reach moves what the policy waits for last.
func (f *follower) reach(seq durability.Seq) {
	if len(f.replicas) == 0 {
		f.cursors.SetPersisted(seq)
	}
	for _, r := range f.replicas {
		r.Advance(seq, seq)
	}
}

// lagMost bounds --lag: the slot ring holds what is published meanwhile.
const lagMost = 10 * time.Second
