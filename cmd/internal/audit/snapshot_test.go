package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// writeReceiver makes the directory of a node that received a snapshot of the state after event 6, and
// has the log from there on.
func (s *scene) writeReceiver(t *testing.T, dir string, node uint8) {
	t.Helper()
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	state := sequencer.NewFollower(book, orderbook.Encoder{})
	for i := range s.events[:6] {
		ev := journal.Event{Seq: durability.Seq(i + 1), Payload: sequencer.AppendEvent(nil, &s.events[i])}
		if err := state.Apply(ev); err != nil {
			t.Fatal(err)
		}
	}
	meta := raftlog.Meta{Term: 2, Index: 8, Seq: 6, HardTerm: 2, Commit: 8, Voters: []uint64{1, 2, 3}}
	le := binary.LittleEndian
	received := le.AppendUint64(le.AppendUint64(le.AppendUint64([]byte{'S'}, meta.Term), meta.Index), uint64(meta.Seq))
	writeNodeWith(t, dir, node, [][]byte{received}, func(j *journal.Journal) error {
		snapshot, err := j.PrepareSnapshot(1, func(w io.Writer) error {
			return errors.Join(meta.Write(w), state.WriteSnapshot(w))
		})
		if err == nil {
			err = j.Writer().Install(snapshot)
		}
		for _, record := range s.records(int(node))[7:] {
			if err == nil {
				_, err = j.Writer().Append(record)
			}
		}
		if err == nil {
			_, err = j.Writer().Commit()
		}
		return err
	})
}

// Without the first events, the replay begins at a snapshot, and what is before it is counted.
func TestReplayBeginsAtSnapshot(t *testing.T) {
	s, dir := newScene(t), t.TempDir()
	for node := 1; node <= 3; node++ {
		if path := filepath.Join(dir, fmt.Sprint("node", node)); node == 1 {
			writeNode(t, path, 1, s.records(1))
		} else {
			s.writeReceiver(t, path, uint8(node))
		}
	}
	if err := s.writeHistories(filepath.Join(dir, "histories")); err != nil {
		t.Fatal(err)
	}
	r := auditedIn(t, dir, 2, 3)
	if r.Failed() != 0 || r.First != 7 || r.Replayed != 6 || r.Early != 4 || r.Found != 4 || r.Queries != 2 || r.Agreed != 1 ||
		r.Unasked != 1 || r.Unchecked == 0 || r.Same == 0 || r.Same+r.Unchecked != r.Frames {
		t.Errorf("%+v\n%s", r, r)
	}
	if r = auditedIn(t, dir, 1, 2, 3); r.Failed() != 0 || r.First != 1 || r.Replayed != 0 || r.Found != 8 || r.Same != r.Frames {
		t.Errorf("with a node that has all events:\n%s", r)
	}
	s.lineOf(1, 8).Frames[0]++
	if err := s.writeHistories(filepath.Join(dir, "histories")); err != nil {
		t.Fatal(err)
	}
	if r = auditedIn(t, dir, 2, 3); r.Failed() != 1 || r.Faults[0].Event != 14 {
		t.Errorf("a frame after the snapshot is another one:\n%s", r)
	}
}
