package raftlog

import (
	"sync"
	"sync/atomic"

	"sluice/durability"
)

// Passing is when a node's disk had an event, as far as the leader knew.
type Passing struct {
	Node uint64
	At   int64 // monotonic ns, of the leader
}

// stepsKept is the number of steps of a node that a timeline remembers: about a second under load.
const stepsKept = 1024

// timeline remembers when the nodes' disks had which events, for traces. While it is off, a step costs
// one load.
type timeline struct {
	on    atomic.Bool
	mu    sync.Mutex // guards the rest
	nodes []steps
}

// steps are the last steps of one node; those before are forgotten.
type steps struct {
	node uint64
	n    uint64 // steps so far
	kept [stepsKept]struct {
		seq durability.Seq
		at  int64
	}
}

// note remembers that a node's disk has everything up to an event.
func (t *timeline) note(node uint64, seq durability.Seq, now int64) {
	if !t.on.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.nodes {
		if s := &t.nodes[i]; s.node == node {
			s.add(seq, now)
			return
		}
	}
	t.nodes = append(t.nodes, steps{node: node})
	t.nodes[len(t.nodes)-1].add(seq, now)
}

func (s *steps) add(seq durability.Seq, now int64) {
	k := &s.kept[s.n%stepsKept]
	k.seq, k.at = seq, now
	s.n++
}

// passed is when the node had an event; false if it has not, or if that is forgotten.
func (s *steps) passed(seq durability.Seq) (at int64, ok bool) {
	first := uint64(0)
	if s.n > stepsKept {
		first = s.n - stepsKept
	}
	for i := s.n; i > first; i-- {
		k := s.kept[(i-1)%stepsKept]
		if k.seq < seq {
			return at, ok
		}
		at, ok = k.at, true
	}
	return at, ok && first == 0
}

// Trace turns it on or off that the leadership remembers when the nodes had which events, for Passed.
// Any goroutine.
func (l *Leadership) Trace(on bool) { l.timeline.on.Store(on) }

// Passed returns when which nodes had an event on disk, this one included: those that do, if Trace was on
// and about the last thousand steps of the node go back that far. Any goroutine.
func (l *Leadership) Passed(seq durability.Seq) (all []Passing) {
	t := &l.timeline
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.nodes {
		if at, ok := t.nodes[i].passed(seq); ok {
			all = append(all, Passing{t.nodes[i].node, at})
		}
	}
	return all
}
