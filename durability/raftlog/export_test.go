package raftlog

import (
	"iter"

	"sluice/durability"
	"sluice/durability/journal"
)

// What TestEngine looks at inside of a node.

// Handed is the last event that is committed and on this disk.
func (n *Node) Handed() durability.Seq { return n.handed }

// Holds reports that a batch waits because the office is being handed over.
func (n *Node) Holds() bool { return n.proposer.held != nil }

// IncarnationOf is the incarnation of another node that this node knows.
func (n *Node) IncarnationOf(id uint64) uint64 { return n.peer(id).incarnation }

// VoterAt is the node at a place of the view, from 1 on.
func (n *Node) VoterAt(place int) uint64 {
	for _, p := range n.peers {
		if p.place == place {
			return p.id
		}
	}
	return 0
}

// Current reports that a leadership is the one that the node holds.
func (n *Node) Current(l *Leadership) bool { return n.lead == l }

// Ring is an Input: a ring of events.
type Ring struct{ Events [][]byte }

// Next implements Input.
func (r *Ring) Next() ([]byte, bool) {
	if len(r.Events) == 0 {
		return nil, false
	}
	e := r.Events[0]
	r.Events = r.Events[1:]
	return e, true
}

// Release implements Input.
func (r *Ring) Release() {}

// PastOf is ReadPast of records, and its events.
func PastOf(first, snapshot uint64, newest *Meta, records iter.Seq2[journal.Event, error]) (*Past,
	iter.Seq2[PastEvent, error], error) {
	p := &Past{Newest: newest}
	err := p.read(first, snapshot, records)
	return p, p.events(records), err
}

// voters are the first members of a log, by number.
func voters(numbers ...uint64) Members {
	var all []Member
	for _, n := range numbers {
		all = append(all, Member{ID: n})
	}
	return FirstMembers(all...)
}
