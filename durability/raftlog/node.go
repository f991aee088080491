package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// Defaults of Options' zero fields.
const (
	DefaultTick       = 10 * time.Millisecond
	DefaultElection   = 100 * time.Millisecond
	DefaultBatchBytes = 256 << 10
	DefaultWindow     = 2
	DefaultDiskStall  = time.Second
)

// Bounds.
const (
	ticksAtOnce = 3  // of a step that comes late
	readyRounds = 16 // of one step
)

// Options are the options of a Node. ID, First, Store and Send are required.
type Options struct {
	ID uint64 // of this node, see NodeID
	// First are the members with which the log began: 1, or 3 to MaxVoters. This node may have been added
	// later. See FirstMembers.
	First Members

	Store Store
	// Send queues a frame for another node. It must not block, and may drop the frame: what is lost is
	// sent again. The frame is Send's from then on.
	Send func(to uint64, lane Lane, frame []byte)
	// SendSnapshot has the newest snapshot on disk, whose Meta it is given, sent to another node, and
	// frame behind it, for that node's ReceiveSnapshot. It must not block; ReportSnapshot says how it
	// ended. nil: nodes that lack what the log no longer has stay behind.
	SendSnapshot func(to uint64, newest Meta, frame []byte)
	// OnMembers is called on the node's goroutine when the members have changed, and must not block. nil: not.
	OnMembers func(Members)
	// Wake ends the sleep of the node's goroutine. It is called by any goroutine when there is work.
	Wake func()

	Tick       time.Duration // unit of the node's time; default 10 ms
	Election   time.Duration // a follower that hears nothing for one to two of these stands for election; default 100 ms
	BatchBytes int           // at which a batch ends, an entry of events; at most MaxBatchBytes; default 256 KiB
	Window     int           // batches that are proposed and not committed, at most; default 2
	DiskStall  time.Duration // a leader whose disk takes longer hands its office over; default 1 s
	Bounds     Bounds        // of memory
	Log        *slog.Logger  // default: none
}

func (o *Options) complete() error {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&o.Tick, DefaultTick)
	or(&o.Election, DefaultElection)
	or(&o.DiskStall, DefaultDiskStall)
	if o.BatchBytes == 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	o.Bounds.complete()
	if err := checkID(o.ID); err != nil {
		return err
	}
	if err := o.First.check(); err != nil {
		return err
	}
	n := len(o.First.All)
	switch {
	case o.Store == nil || o.Send == nil:
		return errors.New("raftlog: Options needs Store and Send")
	case n != 1 && n < 3 || n > MaxVoters:
		return fmt.Errorf("raftlog: %d voters; use 3 to %d, because two of two cannot lose one", n, MaxVoters)
	case o.Tick < time.Millisecond || o.Election < 4*o.Tick || o.Election > 1000*o.Tick:
		return fmt.Errorf("raftlog: an election time of %v at a tick of %v; use 4 to 1000 ticks of at least 1ms",
			o.Election, o.Tick)
	case o.BatchBytes < 1 || o.BatchBytes > min(o.Bounds.MessageBytes, MaxBatchBytes):
		return fmt.Errorf("raftlog: BatchBytes is %d; use 1 to %d: Bounds.MessageBytes is %d, and an entry has at "+
			"most %d B", o.BatchBytes, min(o.Bounds.MessageBytes, MaxBatchBytes), o.Bounds.MessageBytes, MaxBatchBytes)
	case o.Window < 1:
		return fmt.Errorf("raftlog: Window is %d; use 1 or more batches in flight", o.Window)
	}
	return o.Bounds.check()
}

// Node is a member of a cluster that keeps one log of events. It is an actor by shape: one goroutine
// calls Step, which neither blocks nor waits for disk or network. The methods that say so may be
// called from any goroutine.
//
// Its groups of fields are, in this order: the library, its log and what goes in and out; what this node
// is at present; what is under way to the disk, to other nodes and to the state machine; time and
// failure; and what other goroutines read.
type Node struct {
	o    Options
	raw  *raft.RawNode
	log  *log
	in   inbox
	got  taken
	feed *Feed

	role     role
	leaders  leaders
	told     uint64      // index up to which a leader said that the log is committed
	trail    trail       // of told
	lead     *Leadership // while this node leads and its first entry is applied
	proposer proposer
	changing *changing // a change of the membership, of this leadership
	lacking  uint64    // a member that the newest snapshot does not have, and that needs one; 0 for none
	writes   writes
	peers    []peer
	applies  []apply
	handedAt uint64         // index of the last entry that is committed and on this disk
	handed   durability.Seq // last event that is committed and on this disk
	incoming []*Received    // snapshots that the library was asked to take in this step

	now, tickAt int64 // monotonic ns
	err         error // the store failed, or an event is above MaxEventBytes
	lost        bool  // what this node has acknowledged is not in its log
	failedAt    int64
	transfer    transfer

	mu     sync.Mutex // guards status
	status Status
}

// role is what this node is in the library's eyes.
type role struct {
	term, leader uint64
	leads        bool
}

// leaders counts who led.
type leaders struct {
	changes uint64
	since   int64         // monotonic ns, of the last change
	without time.Duration // until then
}

// change takes notice that was no longer leads; 0 if none did.
func (l *leaders) change(was uint64, now int64) {
	if was == 0 {
		l.without += time.Duration(now - l.since)
	}
	l.changes++
	l.since = now
}

// Open loads the log from the store. The node does nothing before its first Step.
func Open(o Options) (*Node, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	snap, upTo, records, err := o.Store.Load()
	if err != nil {
		return nil, err
	}
	l, err := loadLog(snap, upTo, o.First, records)
	if err != nil {
		return nil, err
	}
	raw, err := raft.NewRawNode(&raft.Config{
		ID: o.ID, ElectionTick: int(o.Election / o.Tick), HeartbeatTick: max(1, int(o.Election/o.Tick)/5),
		Storage: l.stored, Applied: l.base, AsyncStorageWrites: true,
		PreVote: true, CheckQuorum: true, StepDownOnRemoval: true, DisableProposalForwarding: true,
		MaxSizePerMsg: uint64(o.Bounds.MessageBytes), MaxCommittedSizePerReady: uint64(o.Bounds.ApplyBytes),
		MaxInflightMsgs: o.Bounds.Inflight, MaxInflightBytes: 8 * uint64(o.Bounds.MessageBytes), Logger: quiet{o.Log},
	})
	if err != nil {
		return nil, fmt.Errorf("raftlog: %w", err)
	}
	n := &Node{o: o, raw: raw, log: l, feed: newFeed(), handed: l.places[0].seq, handedAt: l.base}
	n.in.wake, n.in.bounds = o.Wake, o.Bounds
	n.in.applied, n.got.applied = l.base, l.base
	n.writes.stable = l.lastPlace()
	n.meet(l.members())
	n.look()
	return n, nil
}

// Receive takes a frame that another node sent. Any goroutine; frame may be used again. incarnation
// is the count of that node's starts. An error names a frame that no node sends.
func (n *Node) Receive(from, incarnation uint64, frame []byte) error {
	return n.in.receive(from, incarnation, frame)
}

// Feed is what the log has for the state machine, in order.
func (n *Node) Feed() *Feed { return n.feed }

// Applied says that the state machine has applied everything up to an index, or has taken notice of
// it. Any goroutine, in order.
func (n *Node) Applied(index uint64) { n.in.put(func() { n.in.applied = index }) }

// Step does what there is to do, in a bounded amount, and returns how much that was. now is monotonic
// ns. While it returns more than 0 it is to be called again; otherwise when Wake was called, or a
// tick has passed.
func (n *Node) Step(now int64) (work int) {
	n.now = now
	work = n.ticks()
	if n.in.take(&n.got) {
		work++
		n.messages()
		n.stored()
		n.applied()
		for _, c := range n.got.commands {
			c()
		}
	}
	work += n.propose()
	for i := 0; i < readyRounds && n.raw.HasReady(); i++ {
		n.ready()
		work++
	}
	if n.raw.HasReady() {
		work++
	} else {
		n.incoming = nil // the library did not want them
	}
	n.cursors()
	return work
}

// Done reports that the node has failed: its store did, or it was given an event above MaxEventBytes; and it
// no longer leads, or had no success in handing its office over.
func (n *Node) Done() bool {
	return n.err != nil && (!n.role.leads || n.now-n.failedAt > int64(failedTransfer))
}

// Err is why the node is done.
func (n *Node) Err() error { return n.err }

// Close ends what the node leads. The caller closes the store.
func (n *Node) Close() error {
	n.depose()
	n.feed.close()
	return n.err
}

// ticks lets time pass. A process that was stopped for seconds does not count them all: its own late
// clock is no reason to depose a leader.
func (n *Node) ticks() (work int) {
	tick := int64(n.o.Tick)
	if n.tickAt == 0 {
		n.leaders.since = n.now
	}
	if n.tickAt == 0 || n.now-n.tickAt > (ticksAtOnce+1)*tick {
		n.tickAt = n.now
	}
	for ; work < ticksAtOnce && n.now >= n.tickAt; work++ {
		n.tickAt += tick
		n.raw.Tick()
		n.look()
	}
	if work > 0 {
		n.handOver()
		n.report()
	}
	return work
}

// messages passes what other nodes sent to the library.
func (n *Node) messages() {
	backlog := n.writes.bytes
	for _, m := range n.got.messages {
		n.heard(m.GetFrom(), m.incarnation)
		if m.GetType() == pb.MsgApp {
			n.told = max(n.told, m.GetCommit())
		}
		if m.GetType() == pb.MsgApp && backlog > n.o.Bounds.BacklogBytes {
			n.in.put(func() { n.in.dropped++ })
			continue // the leader asks again
		}
		for _, e := range m.Entries {
			backlog += len(e.GetData()) + entryRecord
		}
		if n.lacks(m.Message) {
			continue
		}
		// The error says that the message is not for this node, or of no member: it is left out.
		_ = n.raw.Step(m.Message)
		n.look()
	}
	for _, r := range n.got.receipts {
		if p := n.heard(r.from, r.incarnation); r.incarnation == p.incarnation && n.role.leads &&
			r.term == n.role.term {
			p.received = max(p.received, r.index)
		}
	}
}

// look finds out whether this node's part has changed, before anything else is done: what is proven
// under one leadership must not count in another one.
func (n *Node) look() {
	st := n.raw.BasicStatus()
	now := role{term: st.HardState.GetTerm(), leader: st.Lead, leads: st.RaftState == raft.StateLeader}
	if now == n.role {
		return
	}
	was := n.role
	n.role = now
	if was.leads && (!now.leads || now.term != was.term) {
		n.depose()
	}
	if now.leader != was.leader {
		n.leaders.change(was.leader, n.now)
	}
	for i := range n.peers {
		n.peers[i].received, n.peers[i].feed = 0, durability.Feed{}
		n.peers[i].inView = false
	}
	n.report()
}

// ready carries out what the library asks for.
func (n *Node) ready() {
	rd := n.raw.Ready()
	n.look()
	for _, rs := range rd.ReadStates {
		n.proven(rs)
	}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			n.write(m)
		case raft.LocalApplyThread:
			n.apply(m)
		default:
			n.send(m)
		}
	}
}

// send sends a message to another node, or steps one to this node.
func (n *Node) send(m *pb.Message) {
	switch {
	case m.GetTo() == n.o.ID:
		_ = n.raw.Step(m)
		n.look()
		return
	case m.GetType() == pb.MsgSnap:
		n.sendSnapshot(m)
		return
	}
	frame, err := messageFrame(m)
	if err != nil {
		panic(fmt.Sprintf("raftlog: a message that cannot be encoded: %v: %v", m, err))
	}
	n.o.Send(m.GetTo(), laneOf(m), frame)
}
