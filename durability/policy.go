package durability

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Seq is a journal sequence number, the unit of every cursor in this package. The first event is 1;
// a cursor of 0 covers nothing.
type Seq uint64

// Everything is a cursor that covers every event, including future ones; it never binds.
const Everything = Seq(math.MaxUint64)

// String prints the number, or "everything".
func (s Seq) String() string {
	if s == Everything {
		return "everything"
	}
	return strconv.FormatUint(uint64(s), 10)
}

// Limits of a policy and of a cluster.
const (
	MaxNodes     = 16 // nodes in a view, this node included
	DefaultNodes = 3  // cluster size if none is configured
	MaxClauses   = 4  // clauses of one policy
)

// Level is how safely a node holds an event. A higher level includes the lower ones. The zero Level
// is not valid, so a field that was not set is rejected instead of meaning the weakest level.
type Level uint8

// The levels, weakest first.
const (
	InMemory  Level = iota + 1 // the node has received the event
	Persisted                  // the event is in the node's journal and fsync returned
)

// String returns the level as in a policy's text.
func (l Level) String() string {
	switch l {
	case InMemory:
		return "in_memory"
	case Persisted:
		return "persisted"
	}
	return "level(" + strconv.Itoa(int(l)) + ")"
}

// Clause asks for Count nodes that hold an event at Level or above.
type Clause struct {
	Level Level
	Count int
}

// String prints the clause as in a policy's text, for example "persisted>=1".
func (c Clause) String() string { return c.Level.String() + ">=" + strconv.Itoa(c.Count) }

// check returns why the clause is not valid in a policy of a cluster of that many nodes, or nil.
func (c Clause) check(nodes int) error {
	switch {
	case c.Level != InMemory && c.Level != Persisted:
		return fmt.Errorf("unknown level %q; use in_memory or persisted", c.Level.String())
	case c.Count < 1:
		return fmt.Errorf("count %d asks for no node; use a count from 1 to %d", c.Count, nodes)
	case c.Count > nodes:
		return fmt.Errorf("count %d is above %d, the most nodes that there can be; use a count from 1 to %d, or a "+
			"larger cluster", c.Count, nodes, nodes)
	}
	return nil
}

// clause is a Clause in two bytes: a Policy is copied on every step of the gate.
type clause struct {
	level Level
	count uint8
}

// Policy is the condition for every response: all of its 1 to MaxClauses clauses hold for an event
// before its response is released. It is a small value, compared with ==, and holds no pointers.
// Make one with NewPolicy, Parse or one of the named constructors. The zero Policy has no clause;
// using it panics.
type Policy struct {
	clauses [MaxClauses]clause
	len     uint8
}

// NewPolicy returns a policy of the clauses in the given order, for a cluster of that many nodes (1
// to MaxNodes, this node included). An error names the first invalid clause and what to write
// instead.
func NewPolicy(nodes int, clauses ...Clause) (Policy, error) {
	p, err := build(nodes, clauses)
	if err != nil {
		return Policy{}, fmt.Errorf("durability: %w", err)
	}
	return p, nil
}

func build(nodes int, clauses []Clause) (Policy, error) {
	switch {
	case nodes < 1 || nodes > MaxNodes:
		return Policy{}, fmt.Errorf("cluster size %d is out of range; use 1 to %d nodes", nodes,
			MaxNodes)
	case len(clauses) == 0:
		return Policy{}, errors.New("a policy without a clause; write at least one, as persisted>=1")
	case len(clauses) > MaxClauses:
		return Policy{}, tooMany(strconv.Quote(clauses[MaxClauses].String()))
	}
	p := Policy{len: uint8(len(clauses))}
	for i, c := range clauses {
		if err := c.check(nodes); err != nil {
			return Policy{}, fmt.Errorf("clause %d %q: %w", i+1, c, err)
		}
		p.clauses[i] = clause{c.Level, uint8(c.Count)}
	}
	return p, nil
}

// tooMany returns the error for more than MaxClauses clauses; clause is the first one above the
// limit, in quotes.
func tooMany(clause string) error {
	return fmt.Errorf("clause %d %s is one too many; use at most %d clauses", MaxClauses+1, clause,
		MaxClauses)
}

// Local waits for one journal: persisted>=1.
func Local() Policy { return policyOf(clause{Persisted, 1}) }

// Hybrid waits for one journal and a second node's memory: persisted>=1 && in_memory>=2.
func Hybrid() Policy { return policyOf(clause{Persisted, 1}, clause{InMemory, 2}) }

// Replicated waits for the memory of two nodes: in_memory>=2.
func Replicated() Policy { return policyOf(clause{InMemory, 2}) }

// DurablyReplicated waits for two journals: persisted>=2.
func DurablyReplicated() Policy { return policyOf(clause{Persisted, 2}) }

// Default is the policy of a node that has none configured: Local without replicas, Hybrid with
// any.
func Default(replicas int) Policy {
	if replicas == 0 {
		return Local()
	}
	return Hybrid()
}

func policyOf(clauses ...clause) Policy {
	p := Policy{len: uint8(len(clauses))}
	copy(p.clauses[:], clauses)
	return p
}

// Len is the number of clauses; 0 only for the zero Policy.
func (p Policy) Len() int { return int(p.len) }

// Clause returns clause i, counted from 0.
func (p Policy) Clause(i int) Clause {
	c := p.clauses[:p.len][i]
	return Clause{c.level, int(c.count)}
}

// MetBy returns nil if a view of that many nodes (this node and all its replicas, active) can meet
// the policy, else an error that says why not. A node checks this when it starts and refuses to
// run. If an operator forces it, the node releases nothing until it has more nodes or another
// policy.
func (p Policy) MetBy(nodes int) error {
	if p.len == 0 {
		return errors.New("durability: the zero Policy is met by nothing; make one with " +
			"NewPolicy or Parse")
	}
	for i := range p.Len() {
		if c := p.Clause(i); c.Count > nodes {
			return fmt.Errorf("durability: policy %q can never be met here: clause %d %q asks for %d nodes, "+
				"this node with %d replicas makes %d; add replicas, choose a weaker policy such "+
				"as local, or force it and nothing is released", p, i+1, c, c.Count, max(nodes-1, 0), nodes)
		}
	}
	return nil
}
