package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/durability"
)

// Only the leader says how far the others are; every member says which node leads.
func TestClusterStatus(t *testing.T) {
	c := newTrio(t, steady)
	trader := c.trader(1)
	for i := range int64(5) {
		order(t, trader, 100+i)
	}
	id := c.leader()
	at := uint64(c.nodes[id].settled())
	known := func(x node.ClusterMember) bool {
		return x.State == node.MemberFollows && x.Link == "up" && x.Match != nil && *x.Match >= at &&
			x.InMemory != nil && *x.InMemory >= at && *x.Lag == 0 && x.Heard != nil
	}
	c.until("both followers caught up", func() bool {
		st := c.nodes[id].Cluster()
		for _, x := range st.Members {
			if x.Node != id && !known(x) {
				return false
			}
		}
		return st.State == node.MemberLeads && st.Committed >= at
	})
	for i := uint8(1); i <= 3; i++ {
		c.until(fmt.Sprintf("node %d following", i), func() bool { return c.nodes[i].Cluster().Leader == id })
		st := c.nodes[i].Cluster()
		if st.Node != i || st.Quorum != 2 || len(st.Members) != 3 || st.Class != "committed" ||
			st.Policy != "persisted>=2" || st.LeaderChanges == 0 || st.ID != c.nodes[i].members.Cluster.String() {
			t.Errorf("node %d: %+v", i, st)
		}
		for _, x := range st.Members {
			leads := x.State == node.MemberLeads
			if leads != (x.Node == id) || x.Client != c.all[x.Node-1].Client || x.Role != "voter" {
				t.Errorf("node %d says: %+v", i, x)
			}
			if i != id && x.Node != i && (x.Match != nil || x.Lag != nil || x.InMemory != nil) {
				t.Errorf("node %d follows, and knows how far node %d is: %+v", i, x.Node, x)
			}
			if x.Node == i && (x.Disk == nil || x.Match == nil) {
				t.Errorf("node %d does not know itself: %+v", i, x)
			}
		}
	}
	var view durability.View
	c.until("a view of all nodes", func() bool { return c.nodes[id].View(&view) && view.Len == 3 })
	for i, x := range slices.DeleteFunc([]int{1, 2, 3}, func(x int) bool { return x == int(id) }) {
		if view.Nodes[i+1].ID != x {
			t.Errorf("node %d leads, and its view calls node %d %d", id, x, view.Nodes[i+1].ID)
		}
	}
	gone := id%3 + 1
	c.stop(gone)
	c.until("the loss noticed", func() bool {
		x := c.nodes[id].Cluster().Members[gone-1]
		return x.State == node.MemberSilent && x.Link != "up"
	})
}

func TestTransferNamesTheNextLeader(t *testing.T) {
	c := newTrio(t, steady)
	var id, to uint8
	c.until("a follower that says who leads", func() bool {
		id = c.leader()
		to = id%3 + 1
		err := c.nodes[to].Transfer(0)
		return err != nil && strings.Contains(err.Error(), c.all[id-1].Client) &&
			strings.Contains(err.Error(), fmt.Sprintf("node %d does:", id))
	})
	c.until("a leader that refuses", func() bool {
		id = c.leader()
		return !slices.ContainsFunc([]uint8{id, 4}, func(wrong uint8) bool {
			err := c.nodes[id].Transfer(wrong)
			return err == nil || !strings.Contains(err.Error(), "name another member")
		})
	})
	c.until("the transfer begun", func() bool {
		id = c.leader()
		to = id%3 + 1
		return c.nodes[id].Transfer(to) == nil
	})
	c.until("the next leader", func() bool { return c.nodes[to].Cluster().State == node.MemberLeads })
	c.until("the last leader following", func() bool {
		st := c.nodes[id].Cluster()
		return st.State == node.MemberFollows && st.Leader == to
	})
}

// A leader that no other member can follow goes on: a transfer would end its service and have no heir.
func TestTransferNeedsAnHeir(t *testing.T) {
	c := newTrio(t, steady)
	id := c.leader()
	gone := id%3 + 1
	c.stop(gone)
	c.until("the loss noticed", func() bool {
		return c.nodes[id].Cluster().Members[gone-1].State == node.MemberSilent
	})
	err := c.nodes[id].Transfer(gone)
	if err == nil || !strings.Contains(err.Error(), "no other member that could lead") {
		t.Errorf("a transfer to a node that is down: %v", err)
	}
	order(t, c.trader(1), 100)
}
