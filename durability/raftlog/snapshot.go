package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3"

	"sluice/durability"
	"sluice/durability/journal"
)

// Snapshot puts the state after event seq on disk, so that the log before it need not be kept. seq is
// the last event of its batch, and committed: Status.Committed is one. write writes the state. The
// caller waits for the disk, the node does not. ErrHasSnapshot says that there is nothing to do. Any
// goroutine, one at a time.
func (n *Node) Snapshot(ctx context.Context, store *JournalStore, seq durability.Seq,
	write func(io.Writer) error) error {
	m, record, err := n.meta(ctx, seq)
	if err != nil {
		return err
	}
	prepared, err := store.prepare(record, &m, write)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	store.Install(prepared, func(err error) { done <- err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return n.ask(ctx, func() error { return n.Marked(m) })
}

// ErrHasSnapshot says that there is a snapshot as new as the wanted one: another node has sent it.
var ErrHasSnapshot = errors.New("raftlog: there is a snapshot of this event, or of a later one")

// meta returns what a snapshot after event seq says of the log, and the record of the journal that it
// replaces all up to.
func (n *Node) meta(ctx context.Context, seq durability.Seq) (m Meta, record uint64, err error) {
	err = n.ask(ctx, func() (err error) {
		if seq > n.handed {
			return fmt.Errorf("raftlog: event %d is not known to be committed; %d is", seq, n.handed)
		}
		if seq < n.log.newest.Seq || seq == n.log.newest.Seq && !n.wantsSnapshot() {
			return fmt.Errorf("%w: event %d is wanted, %d is there", ErrHasSnapshot, seq, n.log.newest.Seq)
		}
		m, record, err = n.Mark(seq)
		return err
	})
	return m, record, err
}

// Mark is the first step of Snapshot, and Marked the last one, for programs that step the node
// themselves and write snapshots in their own way: what a snapshot after event seq says of the log, and
// the record of the journal that it replaces all up to. It is called between two Steps.
func (n *Node) Mark(seq durability.Seq) (m Meta, record uint64, err error) {
	return n.log.meta(seq, n.handedAt)
}

// Marked takes notice of a snapshot of this node's own that is on disk. See Mark.
func (n *Node) Marked(m Meta) error { return n.log.installed(m, n.raw.BasicStatus().Applied) }

// ask calls f on the node's goroutine and waits for it.
func (n *Node) ask(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	n.in.put(func() { n.in.commands = append(n.in.commands, func() { done <- f() }) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Committed iterates over the events after a snapshot, up to event `to`, which is known to be
// committed: with the snapshot they are the state after that event. Any goroutine. A snapshot that is
// installed meanwhile may end it with an error: begin with that one.
func (n *Node) Committed(after Meta, to durability.Seq) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		index := max(after.Index, firstIndex)
		for seq := after.Seq; seq < to; {
			last, err := n.log.stored.LastIndex()
			var entries []*pb.Entry
			if err == nil && index < last {
				entries, err = n.log.stored.Entries(index+1, last+1, uint64(n.o.Bounds.MessageBytes))
			}
			if err == nil && len(entries) == 0 {
				err = fmt.Errorf("raftlog: event %d is not in the log, which ends at %d", to, seq)
			}
			if err != nil {
				yield(journal.Event{}, err)
				return
			}
			for _, e := range entries {
				index = e.GetIndex()
				if len(e.GetData()) == 0 || e.GetType() != pb.EntryNormal {
					continue
				}
				b, err := parseBatch(e.GetData(), e.GetTerm())
				if err != nil {
					yield(journal.Event{}, err)
					return
				}
				for at, payload := range b.Events() {
					if at > to {
						return
					}
					seq = at
					if !yield(journal.Event{Seq: at, Payload: payload}, nil) {
						return
					}
				}
			}
		}
	}
}

// Received is a snapshot that another node sent, whole and verified.
type Received struct {
	Meta Meta
	// Content writes the state, without Meta. It is called on the store's goroutine.
	Content func(io.Writer) error
}

// errNoSnapshot marks a message that brings no snapshot.
var errNoSnapshot = errors.New("raftlog: the message brings no snapshot")

// ReceiveSnapshot takes the message that another node sent behind a snapshot. If this node still
// needs it, the store installs it, and the Feed says so. Any goroutine.
func (n *Node) ReceiveSnapshot(from, incarnation uint64, frame []byte, content Received) error {
	m := new(pb.Message)
	if len(frame) < 2 || frame[0] != frameMessage {
		return errNoSnapshot
	}
	if err := proto.Unmarshal(frame[1:], m); err != nil {
		return fmt.Errorf("raftlog: snapshot of node %d: %w", uint8(from), err)
	}
	meta := m.GetSnapshot().GetMetadata()
	if m.GetFrom() != from || m.GetType() != pb.MsgSnap || meta.GetIndex() != content.Meta.Index ||
		meta.GetTerm() != content.Meta.Term {
		return fmt.Errorf("%w: node %d sent %v for the snapshot of index %d", errNoSnapshot, uint8(from), m.GetType(),
			content.Meta.Index)
	}
	if err := meta.GetConfState().Equivalent(content.Meta.Members.state()); err != nil {
		return fmt.Errorf("raftlog: the snapshot of node %d has other members than its message: %w", uint8(from), err)
	}
	n.in.put(func() {
		n.in.commands = append(n.in.commands, func() {
			n.heard(from, incarnation)
			n.incoming = append(n.incoming, &content)
			_ = n.raw.Step(m)
			n.look()
		})
	})
	return nil
}

// ReportSnapshot says whether a snapshot reached another node, or at least left for it. Any goroutine.
func (n *Node) ReportSnapshot(to uint64, sent bool) {
	status := raft.SnapshotFinish
	if !sent {
		status = raft.SnapshotFailure
	}
	n.in.put(func() {
		n.in.commands = append(n.in.commands, func() { n.raw.ReportSnapshot(to, status) })
	})
}

// sendSnapshot has a snapshot sent to a node that is so far behind that the log does not have what it
// lacks.
func (n *Node) sendSnapshot(m *pb.Message) {
	frame, err := messageFrame(m)
	if err != nil {
		panic(fmt.Sprintf("raftlog: a message that cannot be encoded: %v: %v", m, err))
	}
	if _, is := n.log.newest.Members.Member(m.GetTo()); !is {
		n.lacking = m.GetTo() // the library refuses a snapshot at a node that is no member in it
		n.raw.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
		return
	}
	if n.o.SendSnapshot == nil || m.GetSnapshot().GetMetadata().GetIndex() != n.log.newest.Index {
		n.raw.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
		return
	}
	n.o.Log.Info("another node needs a snapshot", "node", uint8(m.GetTo()), "event", uint64(n.log.newest.Seq))
	n.o.SendSnapshot(m.GetTo(), n.log.newest, frame)
}

// wantsSnapshot reports that a member needs a snapshot, and that it was added after the newest one.
func (n *Node) wantsSnapshot() bool {
	_, is := n.log.members().Member(n.lacking)
	_, had := n.log.newest.Members.Member(n.lacking)
	return is && !had
}

// took returns the snapshot that the library took, of those that it was asked to take.
func (n *Node) took(index uint64) *Received {
	for _, r := range n.incoming {
		if r.Meta.Index == index {
			return r
		}
	}
	panic(fmt.Sprintf("raftlog: the library took a snapshot of index %d, which was not offered", index))
}
