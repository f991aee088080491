package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"sluice/durability"
)

// Leadership is the time for which this node leads, from the moment at which everything before is
// applied. Its cursors are its own: what they prove counts for no other leadership.
type Leadership struct {
	Term    uint64
	Last    durability.Seq      // last event before it; the next one is its first
	Cursors *durability.Cursors // shut for good when it ends

	node      *Node
	ended     chan struct{}
	confirmed atomic.Uint64 // see Confirmed
	asked     atomic.Uint64 // see Prove
	persisted durability.Seq
	timeline  timeline
}

// Ended is closed when the node no longer leads. The cursors are shut by then.
func (l *Leadership) Ended() <-chan struct{} { return l.ended }

// Confirmed is the last event of this leadership that is known to be committed, and on this node's
// disk. Any goroutine. After Ended it stands still; what is committed later comes by the Feed.
func (l *Leadership) Confirmed() durability.Seq { return durability.Seq(l.confirmed.Load()) }

// Propose has the node propose events from a ring, in the order of their numbers from Last+1 on,
// until the leadership ends or the ring is done. An event above MaxEventBytes ends this node, as a store
// that fails does. Any goroutine, once.
func (l *Leadership) Propose(from Input) {
	l.node.in.put(func() {
		l.node.in.commands = append(l.node.in.commands, func() {
			if l.node.lead == l {
				l.node.proposer.input = from
			}
		})
	})
}

// Prove asks whether this node still leads, for queries: Cursors.Proven rises to the ticket when a
// majority has said so after the call. Tickets rise. Any goroutine, one at a time.
func (l *Leadership) Prove(ticket uint64) {
	l.asked.Store(ticket)
	l.node.o.Wake()
}

// Input is the source of events: the reading end of a byte ring. Only the node's goroutine uses it.
type Input interface {
	Next() ([]byte, bool) // the next event, valid until Release; false when there is none now
	Release()             // releases all events that Next returned
}

// proposer turns events into proposals.
type proposer struct {
	input   Input // nil before Propose
	next    durability.Seq
	builder builder
	held    []byte // a batch that the library did not take yet
	flying  int    // batches that are proposed and not committed
	asked   uint64 // last ticket passed on
}

// begin begins a leadership: the entry at index is this node's first of its term.
func (n *Node) begin(index uint64) {
	l := &Leadership{Term: n.role.term, Last: n.handed, Cursors: durability.NewCursors(MaxMembers - 1),
		node: n, ended: make(chan struct{})}
	l.confirmed.Store(uint64(l.Last))
	n.lead, n.proposer = l, proposer{next: l.Last + 1}
	n.feed.put(Item{Term: l.Term, Lead: l})
	n.o.Log.Info("this node leads", "node", uint8(n.o.ID), "term", l.Term, "last_event", uint64(l.Last))
}

// depose ends a leadership. The cursors are shut first.
func (n *Node) depose() {
	l := n.lead
	if l == nil {
		return
	}
	n.lead, n.proposer = nil, proposer{}
	if c := n.changing; c != nil {
		n.changing = nil
		c.done <- ErrChangeUnknown
	}
	l.Cursors.Shut()
	close(l.ended)
	n.o.Log.Info("this node no longer leads", "node", uint8(n.o.ID), "term", l.Term, "confirmed_event",
		uint64(l.Confirmed()))
}

// committed takes notice that an entry of this leadership is committed.
func (p *proposer) committed(e *pb.Entry) {
	if len(e.GetData()) > 0 && e.GetType() == pb.EntryNormal && p.flying > 0 {
		p.flying--
	}
}

// propose proposes what there is to propose, as long as the window has room. A batch that the library
// does not take, because the office is being handed over, is held: no number is left out.
func (n *Node) propose() (work int) {
	p := &n.proposer
	if n.lead == nil || n.err != nil {
		return 0
	}
	n.proposeChange()
	if asked := n.lead.asked.Load(); asked > p.asked {
		p.asked = asked
		n.raw.ReadIndex(binary.LittleEndian.AppendUint64(nil, asked))
		work++
	}
	for p.input != nil && p.flying < n.o.Window {
		if p.held == nil && !n.fill() {
			break
		}
		if err := n.raw.Propose(p.held); err != nil {
			if !errors.Is(err, raft.ErrProposalDropped) {
				panic(err)
			}
			break // a handover is under way; it is offered again in the next step
		}
		p.next, p.held = lastOf(p.held)+1, nil
		p.flying++
		work++
	}
	return work
}

// fill makes a batch of the events that are there; false if there are none. An event that does not fit the
// entry begins the next batch.
func (n *Node) fill() bool {
	p := &n.proposer
	for p.held == nil && p.builder.size() < n.o.BatchBytes {
		event, ok := p.input.Next()
		if !ok {
			break
		}
		if len(event) > MaxEventBytes {
			n.fail(fmt.Errorf("raftlog: event %d has %d B; the log takes %d B: bound what makes events",
				uint64(p.next)+uint64(p.builder.count), len(event), MaxEventBytes))
			return false
		}
		if p.builder.size()+eventLength+len(event) > MaxBatchBytes {
			p.held = p.builder.seal(p.next, n.lead.Term)
		}
		p.builder.add(event)
	}
	if p.builder.count == 0 {
		return false
	}
	p.input.Release()
	if p.held == nil {
		p.held = p.builder.seal(p.next, n.lead.Term)
	}
	return true
}

// transfer is a handover of the office under way.
type transfer struct {
	to          uint64
	until, next int64 // monotonic ns: when it is given up, and asked for again
}

// Times of a handover.
const (
	transferAgain  = 200 * time.Millisecond // some requests are lost
	transferFor    = 2 * time.Second
	failedTransfer = 200 * time.Millisecond // by a node whose store failed
)

// Transfer asks for a handover of the office to another node, 0 for the fittest. It is asked for again
// every 200 ms, for 2 s. Any goroutine. On a node that does not lead nothing happens.
func (n *Node) Transfer(to uint64) {
	n.in.put(func() {
		n.in.commands = append(n.in.commands, func() { n.startTransfer(to) })
	})
}

func (n *Node) startTransfer(to uint64) {
	if to == 0 {
		to = n.fittest()
	}
	if !n.role.leads || to == 0 || to == n.o.ID {
		return
	}
	n.transfer = transfer{to: to, until: n.now + int64(transferFor), next: n.now}
	n.handOver()
}

// handOver asks for a handover that is under way, and begins one if this node's disk hangs.
func (n *Node) handOver() {
	if !n.role.leads {
		n.transfer = transfer{}
		return
	}
	if at := n.oldestWrite(); n.transfer.to == 0 && at != 0 && n.now-at > int64(n.o.DiskStall) {
		if to := n.fittest(); to != 0 {
			n.o.Log.Warn("the disk has not answered; the leadership goes to another node", "node",
				uint8(n.o.ID), "to", uint8(to),
				"since", time.Duration(n.now-at))
			n.transfer = transfer{to: to, until: n.now + int64(transferFor), next: n.now}
		}
	}
	switch t := &n.transfer; {
	case t.to == 0:
	case n.now > t.until:
		*t = transfer{}
	case n.now >= t.next:
		t.next = n.now + int64(transferAgain)
		n.raw.TransferLeader(t.to)
		n.look()
	}
}

// fittest is the node that has most of the log on disk and was heard of last; 0 if there is none.
func (n *Node) fittest() (best uint64) {
	var most uint64
	n.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id != n.o.ID && !pr.IsLearner && pr.Match > most && n.now-n.peer(id).heardAt < 2*int64(n.o.Election) {
			best, most = id, pr.Match
		}
	})
	return best
}
