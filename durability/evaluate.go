package durability

import "fmt"

// Node is one node of a view with its cursor at each level.
type Node struct {
	ID        int // 0 is this node, the primary; replicas are 1 and up
	InMemory  Seq // it has received every event up to this one
	Persisted Seq // its journal holds every event up to this one
}

// effective is the node's cursor at a level: the maximum of its cursors there and above, because an
// event in a node's journal is held by that node even if its in-memory cursor lags.
func (n *Node) effective(l Level) Seq {
	if l == Persisted {
		return n.Persisted
	}
	return max(n.InMemory, n.Persisted)
}

// View holds the cursors of the nodes at one instant. Index 0 is the primary, whose InMemory is
// Everything because a slot exists only after its event is in memory; then follow the active
// replicas in the order of their IDs. A replica that is not active is left out, never entered as
// zero. The view belongs to the goroutine that took it.
type View struct {
	Nodes [MaxNodes]Node
	Len   int // nodes in view, from the start of Nodes; with 0, nothing is released
	// Proven is the last ticket for which a majority confirmed that this node leads. A response to a
	// query that drew a later one waits. A node that runs on its own draws none.
	Proven uint64
}

// Verdict is the result of a policy for a view.
type Verdict struct {
	// Position is the durable position: the policy holds for exactly the events with a sequence <=
	// Position.
	Position Seq
	// Degraded is true if a clause asks for more nodes than are in view. Position is 0 then.
	Degraded bool
	// NoWait is true if no finite cursor binds, so every slot passes. Position is Everything then.
	NoWait bool
	// Binding is the ID of the node whose cursor is the Position, -1 when Degraded or NoWait. If
	// several cursors equal the Position, Binding is the first of these nodes in the view.
	Binding int
	// Journal is the primary's persisted cursor if the policy has a persisted clause, else
	// Everything. A slot above Position waits for the journal if it is also above Journal. A slot
	// above Journal alone passes: enough replicas have persisted its event.
	Journal Seq
	// Replicas is the position with the primary counted as Everything at every level: what the
	// replicas alone allow. If it is below a slot's sequence, the slot waits for a replica. 0 when
	// Degraded.
	Replicas Seq
}

// Evaluate applies the policy to a view. A clause's value is its count-th largest effective cursor,
// and the position is the minimum over the clauses. It is a pure function and does not allocate.
// The zero Policy panics: it has no clause, so it would release everything.
func (p Policy) Evaluate(v *View) Verdict {
	if p.len == 0 {
		panic("durability: Evaluate of the zero Policy; make one with NewPolicy or Parse")
	}
	if v.Len < 0 || v.Len > MaxNodes {
		panic(fmt.Sprintf("durability: a view of %d nodes; 0 to %d are possible", v.Len, MaxNodes))
	}
	nodes := v.Nodes[:v.Len]
	verdict := Verdict{Position: Everything, Binding: -1, Journal: Everything, Replicas: Everything}
	binding := MaxNodes
	for _, c := range p.clauses[:p.len] {
		if c.level == Persisted {
			verdict.Journal = 0
			if len(nodes) > 0 {
				verdict.Journal = nodes[0].Persisted
			}
		}
		count := int(c.count)
		if count > len(nodes) {
			verdict.Degraded = true
			continue
		}
		i, value := ranked(nodes, c.level, count)
		if value < verdict.Position || value == verdict.Position && i < binding {
			verdict.Position, binding = value, i
		}
		if count > 1 {
			// The primary as Everything takes the first rank, so the replicas fill the others.
			_, value = ranked(nodes[1:], c.level, count-1)
			verdict.Replicas = min(verdict.Replicas, value)
		}
	}
	switch {
	case verdict.Degraded:
		verdict.Position, verdict.Replicas = 0, 0
	case verdict.Position == Everything:
		verdict.NoWait = true
	default:
		verdict.Binding = nodes[binding].ID
	}
	return verdict
}

// ranked finds the node whose effective cursor is the n-th largest (n from 1 to len(nodes)), and
// that cursor. Among equal cursors the lower index ranks first. Selecting n times is fastest for so
// small a number of nodes.
func ranked(nodes []Node, l Level, n int) (index int, cursor Seq) {
	var taken uint32
	for range n {
		index = -1
		for i := range nodes {
			if taken&(1<<i) != 0 {
				continue
			}
			if e := nodes[i].effective(l); index < 0 || e > cursor {
				index, cursor = i, e
			}
		}
		taken |= 1 << index
	}
	return index, cursor
}
