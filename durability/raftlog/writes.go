package raftlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// writes are the node's writes that the store has not reported yet.
type writes struct {
	queue  []write
	bytes  int    // of their entries
	logged uint64 // bytes of all entries so far
	// replaced counts events of this node's log that another leader's took the place of, and those that a
	// snapshot took the place of before it was known whether they are in it.
	replaced uint64
	// stable is the last index that was written. While this node leads, everything up to it is on its
	// disk: a leadership begins when the node's own entry is on disk, so every write before is, and no
	// entry is replaced during it.
	stable  uint64
	slowest slowest
}

// write is a write under way.
type write struct {
	message *pb.Message
	last    uint64 // index of its last entry; 0 if it has none
	bytes   int
	at      int64 // monotonic ns, when it was queued

	snapshot *Received // nil if it brings none
}

// write passes a write to the store. A follower's acknowledgement, which waits for the sync, is sent
// ahead as a receipt: the entries are in memory. A snapshot is a write of its own, before the rest: the hard
// state says that it is committed, and would be on disk without it if the process ended in between.
func (n *Node) write(m *pb.Message) {
	w := write{message: m, at: n.now}
	out := Write{Entries: m.Entries, Sync: len(m.Responses) > 0 || len(m.Entries) > 0}
	if m.Term != nil {
		out.Hard = &pb.HardState{Term: new(m.GetTerm()), Vote: new(m.GetVote()), Commit: new(m.GetCommit())}
	}
	if !raft.IsEmptySnap(m.GetSnapshot()) {
		w.snapshot = n.took(m.GetSnapshot().GetMetadata().GetIndex())
		own := n.raw.BasicStatus().HardState // Meta has the sender's, with its vote
		w.snapshot.Meta.HardTerm, w.snapshot.Meta.Vote, w.snapshot.Meta.Commit = own.GetTerm(), own.GetVote(), own.GetCommit()
		n.log.records++
		n.replaces(n.handed)
		n.log.replace(w.snapshot.Meta, n.log.records)
		n.o.Store.Write(Write{Snapshot: w.snapshot, Done: func(error) {}}) // the next write fails too
	}
	if len(m.Entries) > 0 {
		n.replaces(n.log.seq(m.Entries[0].GetIndex() - 1))
	}
	for _, e := range m.Entries {
		n.log.records++
		n.log.note(e, n.log.records)
		w.bytes += len(e.GetData()) + entryRecord
	}
	if out.Hard != nil {
		n.log.records++
	}
	if k := len(m.Entries); k > 0 {
		w.last = m.Entries[k-1].GetIndex()
	}
	for _, r := range m.Responses {
		if r.GetType() == pb.MsgAppResp && !r.GetReject() && r.GetTo() != n.o.ID {
			n.o.Send(r.GetTo(), LaneControl, receiptFrame(r.GetTerm(), r.GetIndex()))
		}
	}
	out.Done = func(err error) { n.in.put(func() { n.in.stored = append(n.in.stored, err) }) }
	n.writes.queue = append(n.writes.queue, w)
	n.writes.bytes += w.bytes
	n.writes.logged += uint64(w.bytes)
	n.o.Store.Write(out)
}

// replaces takes notice that what the log has after an event is about to be replaced. Under a policy of class
// committed, nothing of it was acknowledged.
func (n *Node) replaces(after durability.Seq) {
	if last := n.log.seq(n.log.lastPlace()); last > after {
		n.writes.replaced += uint64(last - after)
		n.report()
	}
}

// stored takes notice of writes that are on disk, and delivers what waited for them.
func (n *Node) stored() {
	for _, err := range n.got.stored {
		w := n.writes.queue[0]
		n.writes.queue[0] = write{}
		n.writes.queue = n.writes.queue[1:]
		n.writes.bytes -= w.bytes
		n.writes.slowest.add(n.now, time.Duration(n.now-w.at))
		if err != nil {
			n.fail(err)
			continue
		}
		n.onDisk(w)
	}
}

func (n *Node) onDisk(w write) {
	if w.snapshot != nil {
		n.restored(w.snapshot.Meta)
	}
	if w.last != 0 {
		if err := n.log.stored.Append(w.message.Entries); err != nil {
			panic(err) // a MemoryStorage returns none
		}
		n.writes.stable = w.last
	}
	if m := w.message; m.Term != nil {
		hard := &pb.HardState{Term: new(m.GetTerm()), Vote: new(m.GetVote()), Commit: new(m.GetCommit())}
		if err := n.log.stored.SetHardState(hard); err != nil {
			panic(err)
		}
	}
	for _, r := range w.message.Responses {
		n.send(r)
	}
}

// restored takes notice of a received snapshot that is installed: the state machine is to begin with
// it.
func (n *Node) restored(m Meta) {
	if err := n.log.stored.ApplySnapshot(m.snapshot()); err != nil {
		panic(fmt.Sprintf("raftlog: the library took a snapshot of index %d that is older than the log: %v", m.Index, err))
	}
	n.log.newest, n.log.memberships = m, []Members{m.Members}
	n.meet(m.Members)
	n.writes.stable, n.handedAt, n.handed = m.Index, m.Index, m.Seq
	n.feed.put(Item{Index: m.Index, Term: m.Term, Restore: &m})
}

// fail remembers the first failure: of the store, or an event that is too large. Nothing is acknowledged any
// more; a leader still has a moment to hand its office over.
func (n *Node) fail(err error) {
	if n.err != nil {
		return
	}
	n.err, n.failedAt = err, n.now
	n.o.Log.Error("the log of the cluster cannot be written; nothing more is acknowledged by this node", "error", err)
	if n.role.leads {
		n.raw.TransferLeader(n.fittest())
	}
}

// oldestWrite is when the oldest write under way was queued; 0 if there is none.
func (n *Node) oldestWrite() int64 {
	for _, w := range n.writes.queue {
		if len(w.message.Responses) > 0 {
			return w.at
		}
	}
	return 0
}

// apply hands committed entries to the state machine. Those of a leadership of this node were executed
// when they were numbered: only how far they are committed is told.
func (n *Node) apply(m *pb.Message) {
	a := apply{message: m}
	for _, e := range m.Entries {
		n.handedAt = e.GetIndex()
		n.handed = max(n.handed, n.log.seq(e.GetIndex()))
		if e.GetType() != pb.EntryNormal {
			n.changes(e)
		}
		if l := n.lead; l != nil && e.GetTerm() == l.Term {
			l.confirmed.Store(uint64(n.handed))
			n.proposer.committed(e)
			continue
		}
		a.needs = e.GetIndex()
		n.hand(e)
	}
	n.applies = append(n.applies, a)
	n.applied()
}

// apply is a row of committed entries that the library does not know to be applied yet.
type apply struct {
	message *pb.Message
	needs   uint64 // last index of it that the state machine applies itself; 0 for none
}

// hand gives one committed entry to the state machine.
func (n *Node) hand(e *pb.Entry) {
	item := Item{Index: e.GetIndex(), Term: e.GetTerm()}
	if e.GetType() != pb.EntryNormal {
		n.feed.put(item)
		return
	}
	if len(e.GetData()) > 0 {
		item.Batch, item.Err = parseBatch(e.GetData(), e.GetTerm())
	}
	n.feed.put(item)
	if len(e.GetData()) == 0 && n.role.leads && e.GetTerm() == n.role.term {
		n.begin(e.GetIndex())
	}
}

// applied takes notice of how far the state machine is.
func (n *Node) applied() {
	for len(n.applies) > 0 && n.applies[0].needs <= n.got.applied {
		m := n.applies[0].message
		n.applies = n.applies[1:]
		n.respond(m)
	}
}

func (n *Node) respond(m *pb.Message) {
	for _, r := range m.Responses {
		if err := n.raw.Step(r); err != nil {
			panic(fmt.Sprintf("raftlog: the library does not take its own response: %v", err))
		}
	}
	n.look()
}

// proven takes notice that this node led when a read was asked for.
func (n *Node) proven(rs raft.ReadState) {
	if n.lead != nil && len(rs.RequestCtx) == 8 {
		n.lead.Cursors.Prove(binary.LittleEndian.Uint64(rs.RequestCtx))
	}
}
