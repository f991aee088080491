package raftlog

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"sluice/durability"
)

// peer is what this node knows of another one.
type peer struct {
	id          uint64
	place       int   // in the view
	votes       bool  // only such nodes are in the view
	heardAt     int64 // monotonic ns, of the last frame
	incarnation uint64
	received    uint64 // index up to which it has the log in memory, by its receipts in this term

	inView              bool
	feed                durability.Feed
	inMemory, persisted durability.Seq // that the view has
}

func (n *Node) peer(id uint64) *peer {
	i := slices.IndexFunc(n.peers, func(p peer) bool { return p.id == id })
	if i < 0 {
		return &peer{id: id} // no member: what it says goes nowhere
	}
	return &n.peers[i]
}

// heard takes notice that a node is there. A new incarnation of it has lost what was only in memory;
// what an old one sent may still arrive.
func (n *Node) heard(id, incarnation uint64) *peer {
	p := n.peer(id)
	if incarnation < p.incarnation {
		return p
	}
	p.heardAt = n.now
	if incarnation > p.incarnation {
		p.incarnation, p.received, p.inView = incarnation, 0, false
	}
	return p
}

// cursors shows the gate how far the nodes are. It is called after every step, not only when the
// library has something to do: acknowledgements may come without.
func (n *Node) cursors() {
	l := n.lead
	if l == nil {
		return
	}
	if own := n.log.seq(n.writes.stable); own > l.persisted {
		l.persisted = own
		l.timeline.note(n.o.ID, own, n.now)
		l.Cursors.SetPersisted(own)
	}
	most := durability.Everything
	if n.log.members().Joint() { // the majorities of old and new voters decide, and the gate knows only the new
		most = n.log.seq(n.raw.BasicStatus().HardState.GetCommit())
	}
	n.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == n.o.ID {
			return
		}
		p := n.peer(id)
		if !p.votes || pr.Match == 0 || n.now-p.heardAt > 2*int64(n.o.Election) {
			if p.inView {
				p.inView = false
				p.feed.Deactivate()
			}
			return
		}
		persisted := min(n.log.seq(pr.Match), most)
		inMemory := max(persisted, min(n.log.seq(p.received), most))
		if !p.inView {
			p.inView = true
			p.feed = l.Cursors.Activate(p.place, inMemory, persisted)
		} else {
			persisted, inMemory = max(persisted, p.persisted), max(inMemory, p.inMemory)
			p.feed.Advance(inMemory, persisted)
		}
		if persisted != p.persisted {
			l.timeline.note(id, persisted, n.now)
		}
		p.inMemory, p.persisted = inMemory, persisted
	})
}

// lacks reports that a leader counts on entries that this node has acknowledged and does not have. The
// library would panic. Of a message of an earlier term, nothing follows.
func (n *Node) lacks(m *pb.Message) bool {
	has := n.log.lastPlace()
	if m.GetType() != pb.MsgHeartbeat || m.GetTerm() < n.role.term || m.GetCommit() <= has {
		return false
	}
	if !n.lost {
		n.lost = true
		n.feed.put(Item{Err: fmt.Errorf("raftlog: node %d has confirmed entry %d to node %d, which leads, and its log "+
			"ends with entry %d: its directory is an older copy or a new one, or its disk has lost what it said was "+
			"written. It must not vote: put back the directory that it had, or leave it off",
			uint8(n.o.ID), m.GetCommit(), uint8(m.GetFrom()), has)})
	}
	return true
}
