package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/internal/history"
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
	meta := raftlog.Meta{Term: 2, Index: 8, Seq: 6, HardTerm: 2, Commit: 8,
		Members: raftlog.FirstMembers(raftlog.Member{ID: 1}, raftlog.Member{ID: 2}, raftlog.Member{ID: 3})}
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

// A response follows the rules in force at its event: those that the log names, or those of the snapshot
// that the replay begins with.
func TestRulesOfTheLogHold(t *testing.T) {
	t.Run("log begins with version 0", func(t *testing.T) {
		s, dir := newScene(t), t.TempDir()
		s.changeRules(t)
		s.write(t, dir)
		if r := auditedIn(t, dir, 1, 2, 3); r.Failed() != 0 || r.Found != 10 || r.Same != r.Frames {
			t.Errorf("%s", r)
		}
	})
	t.Run("snapshot of version 0", func(t *testing.T) {
		s := newScene(t)
		s.changeRules(t)
		if r := s.auditedFromSnapshot(t); r.Failed() != 0 || r.Found != 6 || r.Same == 0 {
			t.Errorf("%s", r)
		}
	})
	t.Run("snapshot of version 1", func(t *testing.T) {
		s := newScene(t)
		s.events[0] = sequencer.Event{Kind: sequencer.KindVersion, Body: []byte{1, 0, 0, 0}, Time: s.events[0].Time}
		s.request(3, 0, a2, 9, leap(8))
		s.line(0, history.Line{Conn: a2})
		if r := s.auditedFromSnapshot(t); r.Failed() != 0 || r.Found != 5 || r.Same == 0 {
			t.Errorf("%s", r)
		}
	})
}

// leap is a command that each version of the rules rejects for another reason.
func leap(account uint64) orderbook.Command {
	return orderbook.Command{Tag: orderbook.TagCancel, Account: account, ClientOrderID: 1 << 40, Target: 1}
}

// changeRules has one command be judged by version 0 of the rules, and then one by version 1.
func (s *scene) changeRules(t *testing.T) {
	t.Helper()
	for version := range uint32(2) {
		if version > 0 {
			s.apply(3, sequencer.Event{Kind: sequencer.KindVersion, Body: []byte{byte(version), 0, 0, 0}})
		}
		if err := s.book.UseRules(version); err != nil {
			t.Fatal(err)
		}
		s.request(3, 0, a2, 9+uint64(version), leap(8+uint64(version)))
	}
	s.line(0, history.Line{Conn: a2})
}

// auditedFromSnapshot audits nodes 2 and 3, which received the state after event 6.
func (s *scene) auditedFromSnapshot(t *testing.T) *Result {
	t.Helper()
	dir := t.TempDir()
	for node := 2; node <= 3; node++ {
		s.writeReceiver(t, filepath.Join(dir, fmt.Sprint("node", node)), uint8(node))
	}
	if err := s.writeHistories(filepath.Join(dir, "histories")); err != nil {
		t.Fatal(err)
	}
	return auditedIn(t, dir, 2, 3)
}
