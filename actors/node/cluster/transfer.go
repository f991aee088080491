package cluster

import (
	"context"
	"errors"
	"fmt"
)

// Transfer hands the leadership to another node, 0 for the fittest. The error says why this node
// cannot.
func (m *Node[R, Q]) Transfer(to uint8) error {
	st := m.raft.Status()
	if !st.Leads {
		return fmt.Errorf("cluster: node %d does not lead, %s", m.members.Node, m.leaderText(uint8(st.Leader)))
	}
	if x, _ := m.table.load().byNode(to); to != 0 && (!x.role.Votes() || to == m.members.Node) {
		return fmt.Errorf("cluster: node %d cannot be the next leader: name another member", to)
	}
	if !m.canTake(to, &st) {
		return errors.New("cluster: no other member that could lead follows the log now: see the states of the members, " +
			"and ask again")
	}
	m.heir.Store(m.idOf(to))
	p := m.now.Load()
	if p.lead == nil {
		return errors.New("cluster: this node begins to lead; ask again")
	}
	go func() { // answers what was taken, then hands over
		ctx, cancel := context.WithTimeout(context.Background(), answerFor+handFor)
		defer cancel()
		_ = p.Node.Drain(ctx)
	}()
	return nil
}

// leaderText says which node leads.
func (m *Node[R, Q]) leaderText(leader uint8) string {
	x, ok := m.table.load().byNode(leader)
	if !ok {
		return "and no leader is known; ask again"
	}
	return fmt.Sprintf("node %d does: ask that one, whose address for clients is %s", leader, x.Client)
}
