package durability

import (
	"fmt"
	"strings"
)

// String returns the verdict as text: "open to 120, bound by journal", "no wait", "degraded".
func (v Verdict) String() string {
	switch {
	case v.Degraded:
		return "degraded: more nodes asked for than in view, nothing opens"
	case v.NoWait:
		return "no wait: no cursor binds, everything passes"
	}
	return fmt.Sprintf("open to %v, bound by %s", v.Position, nodeName(v.Binding))
}

// Explain describes the policy's verdict for a slot with sequence want, for example "waits for
// journal: needs persisted>=1 at 120, is at 100". It names every clause that holds the slot back.
// It allocates, so the gate's step must not call it.
func (p Policy) Explain(v *View, want Seq) string {
	verdict := p.Evaluate(v)
	if verdict.NoWait {
		return fmt.Sprintf("no wait: %q binds no cursor, everything passes", p)
	}
	if !verdict.Degraded && want <= verdict.Position {
		return fmt.Sprintf("passes: %v is durable, %v", want, verdict)
	}
	nodes := v.Nodes[:v.Len]
	var reasons []string
	for i := range p.Len() {
		c := p.Clause(i)
		if c.Count > len(nodes) {
			reasons = append(reasons, fmt.Sprintf("degraded: %s asks for %d nodes, %d in view", c,
				c.Count, len(nodes)))
			continue
		}
		if at, cursor := ranked(nodes, c.Level, c.Count); cursor < want {
			reasons = append(reasons, fmt.Sprintf("waits for %s: needs %s at %v, is at %v",
				nodeName(nodes[at].ID), c, want, cursor))
		}
	}
	return strings.Join(reasons, "; ")
}

func nodeName(id int) string {
	if id == 0 {
		return "journal"
	}
	return fmt.Sprintf("replica %d", id)
}
