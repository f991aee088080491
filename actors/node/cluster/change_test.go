package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/durability/raftlog"
)

// change has the leader change the membership, again if the leader changes meanwhile.
func (c *trio) change(change node.MemberChange) (done node.MemberChanged) {
	c.t.Helper()
	c.until(fmt.Sprintf("%+v", change), func() bool {
		var err error
		done, err = c.nodes[c.leader()].Change(c.ctx(), change)
		if err != nil && !slices.ContainsFunc([]string{"does not lead", "begins to lead", "under way", "is up",
			"are up", "not caught up"},
			func(later string) bool { return strings.Contains(err.Error(), later) }) {
			c.t.Fatalf("%+v: %v", change, err)
		}
		return err == nil
	})
	return done
}

// join makes a data directory from a ticket, and starts the node.
func (c *trio) join(id uint8, done node.MemberChanged) {
	c.t.Helper()
	c.dirs[id] = filepath.Join(c.t.TempDir(), fmt.Sprint(id))
	if _, err := Join(c.dirs[id], done.Ticket); err != nil {
		c.t.Fatal(err)
	}
	c.start(id)
}

// add adds a node with a number above those that there are.
func (c *trio) add(learner bool) (id uint8) {
	c.t.Helper()
	id = uint8(len(c.all) + 1)
	m := Member{id, freePort(c.t), freePort(c.t)}
	c.all = append(c.all, m)
	c.join(id, c.change(node.MemberChange{Verb: node.MemberAdd, Node: id, Peer: m.Peer, Client: m.Client,
		Learner: learner}))
	return id
}

// roles waits until all nodes that run know the roles of all members, such as "voter 1, learner 4".
func (c *trio) roles(want string) {
	c.t.Helper()
	got := ""
	defer func() { c.t.Logf("members: %s", got) }()
	c.until("the members "+want, func() bool {
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			var all []string
			for _, x := range n.Cluster().Members {
				all = append(all, fmt.Sprintf("%s %d", x.Role, x.Node))
			}
			if got = strings.Join(all, ", "); got != want {
				return false
			}
		}
		return true
	})
}

// untilTheLogBeginsLater trades until the leader's log does not reach back to its first entry.
func (c *trio) untilTheLogBeginsLater(trader *trade.Client) {
	c.t.Helper()
	at := c.nodes[c.leader()].Log().Snapshot
	for snapshots := 0; snapshots < 3; { // it reaches back to the second newest
		order(c.t, trader, 100)
		if now := c.nodes[c.leader()].Log().Snapshot; now > at {
			at = now
			snapshots++
		}
	}
}

// A node that is added has the whole log, and is promoted when it has caught up. The policy of a majority
// follows. A learner that is to stay one is not promoted.
func TestNodeIsAddedAndPromoted(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) { cfg.Node.SnapshotEvents = 20 })
	trader := c.trader(1)
	c.untilTheLogBeginsLater(trader)
	c.add(true)
	c.roles("voter 1, voter 2, voter 3, learner 4")
	c.add(false)
	c.roles("voter 1, voter 2, voter 3, learner 4, voter 5")
	c.until("the policy of a majority of four", func() bool {
		return c.nodes[c.leader()].Policy().Current().String() == "persisted>=3"
	})
	c.until("the same at all members", func() bool {
		for _, n := range c.nodes {
			if n != nil && (n.Cluster().Policy != "persisted>=3" || n.Cluster().Class != "committed") {
				return false
			}
		}
		return true
	})
	for i := range int64(10) {
		order(t, trader, 200+i)
	}
	c.change(node.MemberChange{Verb: node.MemberPromote, Node: 4})
	c.roles("voter 1, voter 2, voter 3, voter 4, voter 5")
	order(t, trader, 300)
	c.agree()
}

// A disk that is lost is replaced while clients trade. What is left of the old directory is refused.
func TestLostDataIsReplaced(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) { cfg.Node.SnapshotEvents = 50 })
	trader := c.trader(1)
	for i := range int64(60) {
		order(t, trader, 100+i)
	}
	lost := c.leader()%3 + 1
	old := c.dirs[lost]
	c.stop(lost)
	done := c.change(node.MemberChange{Verb: node.MemberReplace, Node: lost})
	order(t, trader, 200)
	c.join(lost, done)
	c.roles("voter 1, voter 2, voter 3")
	for i := range int64(10) {
		order(t, trader, 300+i)
	}
	if id := c.nodes[lost].id; id != raftlog.NodeID(lost, 1) {
		t.Errorf("the new directory of node %d has the id %d", lost, id)
	}
	c.opens(trader, 71)
	c.stop(lost)
	fresh := c.dirs[lost]
	c.dirs[lost] = old
	c.start(lost)
	c.ended(lost)
	if _, err := ReadCurrent(old, &Membership{Cluster: ID{1: 7, 15: 9}, Node: lost, Members: c.all}); err == nil ||
		!strings.Contains(err.Error(), "not a member") {
		t.Errorf("the old directory of node %d can be started again: %v", lost, err)
	}
	c.dirs[lost] = fresh
	c.start(lost)
	order(t, trader, 400)
	c.agree()
}

// A node that is removed ends its membership by itself, in order.
func TestRemovedNodeEnds(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	order(t, trader, 100)
	c.add(false)
	c.roles("voter 1, voter 2, voter 3, voter 4")
	gone := c.leader()%4 + 1
	c.change(node.MemberChange{Verb: node.MemberRemove, Node: gone})
	c.ended(gone)
	c.until("the policy of a majority of three", func() bool {
		return c.nodes[c.leader()].Policy().Current().String() == "persisted>=2"
	})
	order(t, trader, 101)
	c.opens(trader, 2)
	c.agree()
}

// One node grows to three: both learners are promoted at once, because two voters could not lose one.
func TestOneNodeGrowsToThree(t *testing.T) {
	c := &trio{t: t, all: []Member{{1, freePort(t), freePort(t)}}}
	c.dirs[1] = t.TempDir()
	if err := Init(c.dirs[1], Membership{Cluster: ID{1}, Node: 1, Members: c.all}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	c.start(1)
	trader := c.trader(1)
	order(t, trader, 100)
	c.add(false)
	c.add(false)
	c.roles("voter 1, voter 2, voter 3")
	order(t, trader, 101)
	c.stop(c.leader())
	order(t, c.trader(2), 102)
	c.opens(c.trader(1), 2)
}

// ended waits until a node has ended by itself, in order.
func (c *trio) ended(id uint8) {
	c.t.Helper()
	c.until(fmt.Sprintf("the end of node %d", id), func() bool {
		select {
		case <-c.nodes[id].Ended():
			return true
		default:
			return false
		}
	})
	if err := c.nodes[id].Err(); err != nil {
		c.t.Errorf("node %d ended with %v", id, err)
	}
	c.nodes[id] = nil
}

// A member that was away while all others were exchanged is told by the new ones where they are.
func TestMemberThatWasAwayLearnsTheMembers(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	order(t, trader, 100)
	c.stop(3)
	c.add(false)
	c.roles("voter 1, voter 2, voter 3, voter 4")
	c.add(false)
	c.roles("voter 1, voter 2, voter 3, voter 4, voter 5")
	for gone := uint8(1); gone <= 2; gone++ {
		c.until("another leader", func() bool {
			if id := c.leader(); id != gone {
				return true
			}
			_ = c.nodes[gone].Transfer(4) // it may not follow the log at the moment
			return false
		})
		c.change(node.MemberChange{Verb: node.MemberRemove, Node: gone})
		c.ended(gone)
	}
	order(t, c.trader(2), 101)
	c.start(3)
	c.roles("voter 3, voter 4, voter 5")
	c.opens(c.trader(1), 1)
	c.agree()
}

// A member that ends while it opens the server of its next period has ended in order.
func TestEndWhileAPeriodOpens(t *testing.T) {
	c := newTrio(t, nil)
	n := c.nodes[c.leader()%3+1]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.ending.begin()
	if err := n.follow(ctx); !errors.Is(err, errEnding) {
		t.Errorf("%v; want that the member ends", err)
	}
}
