package durability

import "fmt"

// Class says what the loss of a leader can do to a response that a client has already received. A
// greater class is a safer one. The zero Class is not valid.
type Class uint8

// The classes, weakest first. A majority of n nodes is n/2+1 of them.
const (
	// Exposed policies ask for fewer copies than a majority: the loss of the leader alone can
	// contradict a response.
	Exposed Class = iota + 1
	// CrashSafe policies ask for copies in the memories of a majority. A node that has an event in
	// memory elects no leader without it. So one more fault is needed beside the loss of the leader.
	CrashSafe
	// Committed policies ask for copies on the disks of a majority. Every majority that elects a
	// leader has one of them, whatever memories were lost.
	Committed
)

// String returns the name: committed, crash-safe, exposed.
func (c Class) String() string {
	switch c {
	case Exposed:
		return "exposed"
	case CrashSafe:
		return "crash-safe"
	case Committed:
		return "committed"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Explain describes what can happen to a response that has left, as part of a sentence.
func (c Class) Explain() string {
	switch c {
	case Exposed:
		return "the loss of the leader alone can contradict a response that has left"
	case CrashSafe:
		return "a response that has left can be contradicted only if the leader is lost and another " +
			"node that holds its event loses its memory, or is cut off, before the event is on the " +
			"disks of a majority"
	case Committed:
		return "no response that has left is contradicted while fewer disks than a majority are lost"
	}
	return c.String()
}

// majority is the least number of nodes that is more than half of them.
func majority(nodes int) int {
	if nodes < 1 || nodes > MaxNodes {
		panic(fmt.Sprintf("durability: a majority of %d nodes; 1 to %d are possible", nodes, MaxNodes))
	}
	return nodes/2 + 1
}

// Majority is the default policy of a member of a cluster of that many nodes (1 to MaxNodes, this
// node included): as many journals as a majority, persisted>=2 for three nodes. Its class is
// Committed.
func Majority(nodes int) Policy {
	return policyOf(clause{Persisted, uint8(majority(nodes))})
}

// Class is the class of the policy in a cluster of that many nodes, 1 to MaxNodes, this node
// included. The leader counts as one copy. The zero Policy panics.
func (p Policy) Class(nodes int) Class {
	if p.len == 0 {
		panic("durability: Class of the zero Policy; make one with NewPolicy or Parse")
	}
	class, most := Exposed, majority(nodes)
	for _, c := range p.clauses[:p.len] {
		switch {
		case int(c.count) < most:
		case c.level == Persisted:
			return Committed
		case nodes > 1: // a node of its own loses its only copy when it is lost
			class = CrashSafe
		}
	}
	return class
}

// AtLeast returns nil if the policy's class in a cluster of that many nodes is not below least, else
// an error that says what can happen and what to write instead.
func (p Policy) AtLeast(least Class, nodes int) error {
	class := p.Class(nodes)
	if class >= least {
		return nil
	}
	instead := fmt.Sprintf("%q", Majority(nodes))
	if least == CrashSafe && nodes > 1 {
		instead += fmt.Sprintf(", or %q", policyOf(clause{InMemory, uint8(majority(nodes))}))
	}
	return fmt.Errorf("durability: policy %q is %v in a cluster of %d: %s; use %s, or force it", p, class, nodes,
		class.Explain(), instead)
}
