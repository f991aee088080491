package raftlog

import (
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"sluice/durability"
)

// In a joint configuration, a majority of the new voters proves nothing that a majority of the old ones has
// not: without the node that leaves, another leader could be elected by those who do not know of the change.
func TestJointConfigurationNeedsBothMajorities(t *testing.T) {
	for range 5 {
		if jointNeedsBoth(t) {
			return
		}
	}
	t.Error("each leadership was lost before the end of the change")
}

// jointNeedsBoth goes from two voters to two others that share the leader, and has the one that leaves
// silent meanwhile. It returns false if the leadership is lost, which a slow disk can cause.
func jointNeedsBoth(t *testing.T) (done bool) {
	c := newTrio(t)
	id, l := c.leader()
	n, comes, leaves := c.nodes[id], id%3+1, (id+1)%3+1
	until := func(what string, fact func() bool) bool {
		c.until(what, func() bool { return n.lead != l || fact() })
		return n.lead == l
	}
	ring := new(Ring)
	l.Propose(ring)
	change := func(change Change) {
		change.Base = n.Members().Index
		if err := n.StartChange(change); err != nil {
			t.Error(err)
		}
	}
	change(Change{Set: []Member{{comes, Learner, ""}}})
	if !until("a learner", func() bool { return n.Members().Voters() == 2 }) {
		return false
	}
	change(Change{Set: []Member{{comes, Voter, ""}}, Remove: []uint64{leaves}})
	if !until("a joint configuration", func() bool { return n.log.members().Joint() }) {
		return false
	}
	c.silent[leaves], c.frames = true, nil
	ring.Events = [][]byte{[]byte("event")}
	event := l.Last + 1
	has := func() (seq durability.Seq) {
		n.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			if id == comes {
				seq = n.log.seq(pr.Match)
			}
		})
		return seq
	}
	if !until("the event at the new voter", func() bool { return has() >= event && n.log.seq(n.writes.stable) >= event }) {
		return false
	}
	for range 3 {
		c.round()
	}
	for _, policy := range []string{"persisted>=2", "in_memory>=2"} {
		if at := position(t, l, policy); at >= event {
			t.Errorf("%s holds for event %d, which one of the two voters before the change has", policy, at)
		}
	}
	c.silent[leaves] = false
	return until("the event in the log", func() bool {
		return position(t, l, "persisted>=2") >= event && !n.log.members().Joint()
	})
}

// A change is proposed as soon as the library takes proposals, while a handover to a silent node is tried again
// and again, which refuses them for half of the time.
func TestChangeIsProposedDuringAHandover(t *testing.T) {
	for range 5 {
		c := newTrio(t)
		id, l := c.leader()
		n := c.nodes[id]
		c.silent[id%3+1] = true
		n.startTransfer(id%3 + 1)
		for range 50 { // into the time in which proposals are refused
			c.round()
		}
		if n.lead != l {
			continue
		}
		if err := n.StartChange(Change{Base: n.Members().Index, Set: []Member{{4, Learner, ""}}}); err != nil {
			t.Fatal(err)
		}
		c.until("the change", func() bool { return n.lead != l || len(n.Members().All) == 4 })
		if n.lead == l && n.transfer.to != 0 {
			return
		}
	}
	t.Error("no change came before the end of the handover")
}
