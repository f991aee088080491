package raftlog

import (
	"bytes"
	"errors"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Of two changes for the same members, the second one in the log has no effect on any node.
func TestChangeHasNoEffectOnOtherMembers(t *testing.T) {
	c := newTrio(t)
	id, n := uint64(0), (*Node)(nil)
	base := c.nodes[1].Members().Index
	for _, number := range []uint64{4, 5} {
		change := Change{Base: base, Set: []Member{{number, Learner, "info"}}}
		proposed := uint64(0)
		c.until("the change in the log", func() bool {
			if n == nil || n.raw.BasicStatus().Lead != id { // a slow machine has elected another node
				id, _ = c.leader()
				n, proposed = c.nodes[id], 0
			}
			if proposed != 0 && n.handedAt < proposed {
				return false
			}
			if proposed != 0 {
				e, err := n.log.stored.Entries(proposed, proposed+1, 1<<20)
				if err == nil && e[0].GetType() == pb.EntryConfChangeV2 {
					return true
				}
			}
			last := n.log.lastPlace() // the library leaves a change out while another is not applied
			if n.raw.BasicStatus().Applied == last && n.raw.ProposeConfChange(change.proposal()) == nil {
				proposed = last + 1
			}
			return false
		})
	}
	c.until("one change everywhere", func() bool {
		for _, n := range c.nodes {
			if n != nil && (len(n.Members().All) != 4 || n.handedAt != c.nodes[id].handedAt) {
				return false
			}
		}
		return true
	})
	if _, is := n.Members().Member(5); is {
		t.Errorf("the second change has had an effect: %+v", n.Members())
	}
	for want, change := range map[error]Change{ErrChanged: {Base: base, Remove: []uint64{2}}} {
		if err := n.StartChange(change); !errors.Is(err, want) {
			t.Errorf("%+v: %v; want %v", change, err, want)
		}
	}
	if err := n.StartChange(Change{Base: n.Members().Index, Remove: []uint64{1, 2, 3}}); err == nil {
		t.Error("all voters were removed")
	}
	if err := c.nodes[id%3+1].StartChange(Change{}); !errors.Is(err, ErrNotLeading) {
		t.Errorf("a node that follows changes the members: %v", err)
	}
}

// A snapshot has the members as they were after its last entry, not those of later entries.
func TestSnapshotHasItsMembers(t *testing.T) {
	l := &log{base: 1, places: []place{{}, {seq: 1}, {seq: 2}, {seq: 2}, {seq: 3}},
		memberships: []Members{voters(1, 2, 3), {Index: 4, All: []Member{{9, Voter, ""}}}}}
	for index, want := range map[uint64]uint64{1: 1, 3: 1, 4: 4, 5: 4} {
		if m := l.membersAt(index); m.Index != want {
			t.Errorf("after entry %d there are the members of entry %d, want %d", index, m.Index, want)
		}
	}
	m := Members{Index: 7, All: []Member{{1, Staying, ""}, {2, Leaving, ""}, {4, Voter, ""}, {5, Learner, ""}}}
	again, err := readMembers(bytes.NewReader(m.encode()))
	if err != nil || !again.Joint() || again.Voters() != 2 {
		t.Errorf("%+v, %v", again, err)
	}
	cs := again.state()
	if len(cs.Voters) != 2 || len(cs.VotersOutgoing) != 2 || len(cs.Learners) != 1 || !cs.GetAutoLeave() {
		t.Errorf("%v", cs)
	}
	if back := again.after(8, cs, nil); len(back.All) != 4 || back.All[1].Role != Leaving || back.All[0].Role != Staying {
		t.Errorf("%+v", back)
	}
}
