package cluster

import (
	"context"
	"errors"
	"fmt"
)

// Transfer hands the leadership to another node, 0 for the fittest. The error says why this node
// cannot.
func (m *Node[R, Q]) Transfer(to uint8) error {
	st, p := m.raft.Status(), m.now.Load()
	if !st.Leads || p == nil || p.lead == nil {
		return errors.New("cluster: " + m.notLeading(uint8(st.Leader)))
	}
	if x, _ := m.table.load().byNode(to); to != 0 && (!x.role.Votes() || to == m.members.Node) {
		return fmt.Errorf("cluster: node %d cannot be the next leader: name another member", to)
	}
	if !m.canTake(to, &st) {
		return errors.New("cluster: no other member that could lead follows the log now: see the states of the members, " +
			"and ask again")
	}
	m.heir.Store(m.idOf(to))
	go func() { // answers what was taken, then hands over
		ctx, cancel := context.WithTimeout(context.Background(), answerFor+handFor)
		defer cancel()
		_ = p.Node.Drain(ctx)
	}()
	return nil
}

// notLeading says that this node cannot do what a leader does, and which node leads. One that was elected
// leads when its server has begun.
func (m *Node[R, Q]) notLeading(leader uint8) string {
	if leader == m.members.Node {
		return fmt.Sprintf("node %d was elected and begins to lead; ask again", leader)
	}
	x, ok := m.table.load().byNode(leader)
	if !ok {
		return fmt.Sprintf("node %d does not lead, and no leader is known; ask again", m.members.Node)
	}
	return fmt.Sprintf("node %d does not lead, node %d does: ask that one, at its admin socket or with an operator's "+
		"key at %s", m.members.Node, leader, x.Client)
}
