package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// states are snapshots by event, as a node that sends one would read them from its disk.
type states map[durability.Seq]string

// snapshot takes a snapshot of the state after event seq on a node, while the others go on.
func (c *trio) snapshot(id uint64, seq durability.Seq, state string) error {
	done := make(chan error, 1)
	go func() {
		done <- c.nodes[id].Snapshot(context.Background(), c.stores[id], seq, func(w io.Writer) error {
			_, err := io.WriteString(w, state)
			return err
		})
	}()
	var err error
	c.until("a snapshot", func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	return err
}

// propose proposes events of one batch each and waits until a policy holds.
func (c *trio) propose(l *Leadership, ring *Ring, from, to int, policy string) {
	c.t.Helper()
	for i := from; i <= to; i++ {
		ring.Events = append(ring.Events, []byte(fmt.Sprintf("event %d", i)))
		c.until("an event", func() bool { return position(c.t, l, policy) == durability.Seq(i) })
	}
	c.until("a commit", func() bool { return l.Confirmed() == durability.Seq(to) })
}

func TestStateAfterSnapshotsIsRestored(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	l.Propose(ring)
	c.propose(l, ring, 1, 40, "persisted>=3")
	if err := c.snapshot(id, 41, ""); err == nil || !strings.Contains(err.Error(), "41 is not known to be committed") {
		t.Errorf("a snapshot of an event that is not committed: %v", err)
	}
	for _, seq := range []durability.Seq{10, 20, 30} {
		if err := c.snapshot(id, seq, fmt.Sprintf("state %d", seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.snapshot(id, 30, "again"); !errors.Is(err, ErrHasSnapshot) {
		t.Errorf("a snapshot of an event that one has already: %v", err)
	}
	n := c.nodes[id]
	if first, _ := n.log.stored.FirstIndex(); n.log.seq(first) != 21 {
		t.Errorf("the log begins at event %d, want 21: after the older of the two newest snapshots", n.log.seq(first))
	}
	var got []string
	for ev, err := range n.Committed(Meta{Index: n.log.newest.Index, Seq: 30}, 33) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(ev.Payload))
	}
	if fmt.Sprint(got) != "[event 31 event 32 event 33]" {
		t.Errorf("events after the snapshot: %q", got)
	}
	for _, err := range n.Committed(Meta{}, 33) {
		if err == nil {
			t.Error("events that the log no longer has were given")
		}
		break
	}
	c.stop(id)
	c.start(id)
	if at := c.nodes[id].log.seq(c.nodes[id].log.base); at != 30 {
		t.Errorf("after a restart the log begins after event %d, want 30", at)
	}
	var state []byte
	err := c.stores[id].Newest(func(m *Meta, r io.Reader) (err error) {
		state, err = io.ReadAll(r)
		return err
	})
	if err != nil || string(state) != "state 30" {
		t.Errorf("the state is %q, %v", state, err)
	}
	seen := durability.Seq(30)
	c.until("the events after it", func() bool {
		items, _ := c.nodes[id].Feed().Take()
		for _, item := range items {
			for seq := range item.Batch.Events() {
				if seq != seen+1 {
					t.Fatalf("event %d after %d", seq, seen)
				}
				seen = seq
			}
			c.nodes[id].Applied(item.Index)
		}
		return seen == 40
	})
}

// A node that was away for longer than the log is kept begins anew with a snapshot, also after a
// restart, and keeps its own vote.
func TestSnapshotReachesANodeThatWasAway(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	l.Propose(ring)
	c.propose(l, ring, 1, 5, "persisted>=3")
	away := id%3 + 1
	c.stop(away)
	c.propose(l, ring, 6, 40, "persisted>=2")
	c.nodes[id].Transfer(0)
	id, _ = c.leader() // in a term in which the node that is away has not voted
	held := states{}
	for _, seq := range []durability.Seq{20, 30} {
		held[seq] = fmt.Sprintf("state %d", seq)
		if err := c.snapshot(id, seq, held[seq]); err != nil {
			t.Fatal(err)
		}
	}
	var sent int
	c.nodes[id].o.SendSnapshot = func(to uint64, m Meta, frame []byte) {
		sent++
		state := held[m.Seq]
		content := func(w io.Writer) error { _, err := io.WriteString(w, state); return err }
		if err := c.nodes[to].ReceiveSnapshot(id, c.starts[id], frame, Received{m, content}); err != nil {
			t.Error(err)
		}
		c.nodes[id].ReportSnapshot(to, true)
	}
	// The log of the leader begins after event 0: one snapshot is not enough to forget it.
	if err := c.snapshot(id, 35, "state 35"); err != nil {
		t.Fatal(err)
	}
	held[35] = "state 35"
	c.start(away)
	var restored *Meta
	seen := durability.Seq(0)
	follow := func() bool {
		items, _ := c.nodes[away].Feed().Take()
		for _, item := range items {
			if item.Restore != nil {
				restored, seen = item.Restore, item.Restore.Seq
			}
			for seq := range item.Batch.Events() {
				seen = seq
			}
			c.nodes[away].Applied(item.Index)
		}
		return seen == 40
	}
	c.until("all events at the node that was away", follow)
	if sent == 0 || restored == nil || restored.Seq != 35 {
		t.Fatalf("%d snapshots were sent, and the node began with %+v", sent, restored)
	}
	vote := c.nodes[away].raw.BasicStatus().HardState.GetVote()
	c.stop(away)
	c.start(away)
	if n := c.nodes[away]; n.log.seq(n.log.base) != 35 || n.raw.BasicStatus().HardState.GetVote() != vote {
		t.Errorf("after a restart the log begins after event %d, vote %d, want 35 and %d", n.log.seq(n.log.base),
			n.raw.BasicStatus().HardState.GetVote(), vote)
	}
	if m, _, _, err := c.stores[away].Load(); err != nil || m.Vote != vote {
		t.Errorf("the snapshot says that this node voted for %d, want %d, %v", m.Vote, vote, err)
	}
	seen = 0
	c.until("all events after the restart", func() bool { return follow() })
}

func TestSnapshotsThatDoNotFitAreRefused(t *testing.T) {
	c := newTrio(t)
	if err := c.nodes[1].ReceiveSnapshot(2, 1, []byte{frameReceipt, 0}, Received{}); !errors.Is(err, errNoSnapshot) {
		t.Errorf("a receipt was taken for a snapshot: %v", err)
	}
	if err := c.nodes[1].ReceiveSnapshot(2, 1, []byte{frameMessage, 0xff}, Received{}); err == nil {
		t.Error("nonsense was taken for a snapshot")
	}
}

// A snapshot of the node's own that is installed behind a newer one of another node changes nothing.
func TestOlderSnapshotChangesNothing(t *testing.T) {
	l, err := loadLog(&Meta{Term: 1, Index: 30, Seq: 30, HardTerm: 1, Members: voters(1)}, 0, voters(1),
		func(func(journal.Event, error) bool) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.installed(Meta{Term: 1, Index: 20, Seq: 20}, 30); err != nil || l.newest.Index != 30 {
		t.Errorf("the newest snapshot is that of index %d, %v", l.newest.Index, err)
	}
}

// A process that ended right behind a snapshot has no record after it, and the journal goes on with the next number.
func TestRecordsAfterASnapshotGoOnWithItsNumber(t *testing.T) {
	l, err := loadLog(&Meta{Term: 1, Index: 30, Seq: 30, HardTerm: 1, Members: voters(1)}, 16, voters(1),
		func(func(journal.Event, error) bool) {})
	if err != nil || l.records != 16 {
		t.Errorf("the last record is %d, want 16, %v", l.records, err)
	}
}

// What the log says of its memory is what the library holds, after entries were replaced and forgotten too.
func TestBytesInMemoryAreThoseOfTheLibrary(t *testing.T) {
	l, err := loadLog(nil, 0, voters(1), func(func(journal.Event, error) bool) {})
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		last, _ := l.stored.LastIndex()
		first, _ := l.stored.FirstIndex()
		entries, err := l.stored.Entries(first, last+1, math.MaxUint64)
		want := uint64(0)
		for _, e := range entries {
			want += uint64(len(e.GetData()))
		}
		if got := l.bytes(); err != nil || got != want || want == 0 {
			t.Errorf("%s: %d bytes, the library has %d, %v", when, got, want, err)
		}
	}
	add := func(from, to, term uint64) {
		for i := from; i <= to; i++ {
			e := &pb.Entry{Index: new(i), Term: new(term), Type: pb.EntryConfChangeV2.Enum(), Data: make([]byte, 10*i)}
			l.note(e, i)
			if err := l.stored.Append([]*pb.Entry{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(2, 20, 1)
	check("entries")
	add(15, 18, 2)
	check("entries that replace others")
	for _, index := range []uint64{10, 14} {
		if err := l.installed(Meta{Term: 1, Index: index, Members: voters(1)}, 18); err != nil {
			t.Fatal(err)
		}
	}
	check("entries behind a snapshot")
}

func TestSnapshotThatTheLibraryTakesIsFound(t *testing.T) {
	older, newer := &Received{Meta: Meta{Index: 20}}, &Received{Meta: Meta{Index: 30}}
	n := &Node{incoming: []*Received{newer, older}}
	if n.took(20) != older || n.took(30) != newer {
		t.Error("another snapshot was found than that of the index")
	}
}

// The newest hard state on disk may be older than the snapshot: how far is committed needs no sync.
func TestSnapshotSaysWhatIsCommitted(t *testing.T) {
	behind := &pb.HardState{Term: new(uint64(2)), Vote: new(uint64(1)), Commit: new(uint64(20))}
	l, err := loadLog(&Meta{Term: 2, Index: 30, Seq: 30, HardTerm: 2, Members: voters(1)}, 0, voters(1),
		func(yield func(journal.Event, error) bool) {
			yield(journal.Event{Seq: 1, Payload: appendHardRecord(nil, behind)}, nil)
		})
	if err != nil {
		t.Fatal(err)
	}
	hard, _, err := l.stored.InitialState()
	if err != nil || hard.GetCommit() != 30 || hard.GetTerm() != 2 || hard.GetVote() != 1 {
		t.Errorf("%v, %v", hard, err)
	}
}
