package cluster

import (
	"bytes"
	"io"
	"iter"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// oneSnapshot is a history that has a snapshot, and nothing behind it.
type oneSnapshot struct {
	meta    raftlog.Meta
	content []byte
}

func (h oneSnapshot) Newest(read func(*raftlog.Meta, io.Reader) error) error {
	if h.content == nil {
		return nil
	}
	return read(&h.meta, bytes.NewReader(h.content))
}

func (oneSnapshot) Committed(raftlog.Meta, durability.Seq) iter.Seq2[journal.Event, error] {
	return func(func(journal.Event, error) bool) {}
}

// eventList is an Input.
type eventList struct{ events [][]byte }

func (l *eventList) Next() ([]byte, bool) {
	if len(l.events) == 0 {
		return nil, false
	}
	e := l.events[0]
	l.events = l.events[1:]
	return e, true
}

func (*eventList) Release() {}

// batches is the feed of a node whose log has n events, one a batch.
func batches(t *testing.T, n int) (items []raftlog.Item) {
	w := raftsim.NewWorld(1)
	w.AddMachines(1, simHash, func(*raftsim.Snapshot) []uint64 { return nil })
	w.EndFaults()
	w.Slow = 1
	m := w.Machines[0]
	run := func(until func(raftlog.Item) bool) {
		for m.Start(raftlog.Options{BatchBytes: 1}); w.Failure() == ""; {
			w.Pass()
			m.Step()
			m.Disk()
			more, err := m.Node.Feed().Take()
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range more {
				if until(item) {
					return
				}
				m.Node.Applied(item.Index)
			}
		}
		t.Fatal(w.Failure())
	}
	run(func(item raftlog.Item) bool {
		if item.Lead == nil {
			return false
		}
		var in eventList
		for i := range n {
			in.events = append(in.events, sequencer.AppendEvent(nil, &sequencer.Event{Kind: sequencer.KindConnected,
				Conn: uint64(i + 1), Identity: simIdentity()}))
		}
		item.Lead.Propose(&in)
		for item.Lead.Confirmed() < durability.Seq(n) && w.Failure() == "" {
			w.Pass()
			m.Step()
			m.Disk()
		}
		return true
	})
	m.Crash()
	run(func(item raftlog.Item) bool {
		if item.Batch.Count > 0 {
			items = append(items, item)
		}
		return item.Lead != nil
	})
	return items
}

// A second snapshot may have arrived before the state machine takes the first: the state is that of the
// second one, and the feed still has the events between them.
func TestStateOfNewerSnapshotSkipsWhatItIncludes(t *testing.T) {
	items := batches(t, 10)
	if len(items) != 10 {
		t.Fatalf("%d batches, want 10", len(items))
	}
	older, err := newMachine(simFresh, orderbook.Encoder{}, history(oneSnapshot{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items[:6] {
		if err := older.take(item); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := older.follower.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	meta := raftlog.Meta{Term: items[5].Term, Index: items[5].Index, Seq: 6}
	m, err := newMachine(simFresh, orderbook.Encoder{}, history(oneSnapshot{meta, b.Bytes()}))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.take(raftlog.Item{Index: items[2].Index, Term: items[2].Term, Restore: &raftlog.Meta{Seq: 3}}); err != nil {
		t.Fatal(err)
	}
	for _, item := range items[3:] {
		if err := m.take(item); err != nil {
			t.Fatal(err)
		}
	}
	if m.last() != 10 {
		t.Errorf("the state is at event %d, want 10", m.last())
	}
}
