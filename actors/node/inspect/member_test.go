package inspect_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// member makes the data directory of a member of a cluster whose journal has these records.
func member(t *testing.T, then func(*journal.Journal) error, records ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		if _, err := j.Writer().Append(record); err != nil {
			t.Fatal(err)
		}
	}
	_, err = j.Writer().Commit()
	if err == nil && then != nil {
		err = then(j)
	}
	err = errors.Join(err, j.Close(),
		os.WriteFile(filepath.Join(dir, "genesis"), journal.AppendOwned(nil, r.Directory, nil), 0o600),
		os.WriteFile(filepath.Join(dir, "cluster"), []byte("sluice-cluster 1\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// entry is a record with events from number first on.
func entry(term, index, first uint64, events ...sequencer.Event) []byte {
	var all [][]byte
	for i := range events {
		all = append(all, sequencer.AppendEvent(nil, &events[i]))
	}
	return raftsim.AppendEntry(nil, term, index, first, all...)
}

// replaced are the records of a node whose last events another leader replaced.
func replaced() [][]byte {
	const conn = 2<<58 | 5<<40 | 9
	connected := sequencer.Event{Kind: sequencer.KindConnected, Conn: conn, Identity: sequencer.Identity{Role: sequencer.RoleTrader}}
	return [][]byte{
		entry(3, 2, 0), entry(3, 3, 1, version(1), connected), raftsim.AppendHard(nil, 3, 1, 3),
		entry(3, 4, 3, request(0, 0x10, 7), request(0, 0x10, 8)),
		entry(4, 4, 3, request(0, 0x10, 9)), entry(4, 5, 0),
	}
}

func TestMembersEventsAreListedWithTerms(t *testing.T) {
	j := opened(t, member(t, nil, replaced()...), counter{})
	var b strings.Builder
	if err := j.List(&b, inspect.Options{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "       2     3  1970-") || !strings.Contains(lines[1], " 2.5.9 ") ||
		!strings.HasPrefix(lines[2], "       3     4  1970-") ||
		!strings.HasSuffix(lines[2], "add: [9] (not known to be committed)") || strings.Contains(lines[1], "committed") {
		t.Errorf("%s", &b)
	}
	b.Reset()
	if err := j.List(&b, inspect.Options{From: 3, JSON: true}); err != nil {
		t.Fatal(err)
	}
	var r inspect.Record
	if err := json.Unmarshal([]byte(b.String()), &r); err != nil || r.Seq != 3 || r.Term != 4 || !r.Uncommitted {
		t.Errorf("%s, %v", &b, err)
	}
}

func TestVerifyOfAMember(t *testing.T) {
	s, err := opened(t, member(t, nil, replaced()...), counter{}).Verify()
	if err != nil {
		t.Fatal(err)
	}
	if s.First != 1 || s.Last != 3 || s.Events != 3 || s.EndMark != 0 || s.Member == nil ||
		*s.Member != (inspect.Member{Term: 4, Index: 5, Begin: 2, Committed: 2, Current: 3, Vote: 1, Commit: 3}) ||
		!strings.Contains(s.String(), "its last entry is 5, of term 4; events up to 2 are known to be committed\n") {
		t.Errorf("%+v\n%s", s.Member, s)
	}
	// Event 3 is in record 5, and a snapshot of it replaces what was before.
	snapshot := func(meta raftlog.Meta) func(*journal.Journal) error {
		return func(j *journal.Journal) error {
			s, err := j.PrepareSnapshot(5, func(w io.Writer) error {
				if err := meta.Write(w); err != nil {
					return err
				}
				return section(3)(w)
			})
			if err != nil {
				return err
			}
			return j.Writer().Install(s)
		}
	}
	meta := raftlog.Meta{Term: 4, Index: 4, Seq: 3, HardTerm: 4, Vote: 2, Commit: 4,
		Members: raftlog.FirstMembers(raftlog.Member{ID: 1}, raftlog.Member{ID: 2}, raftlog.Member{ID: 3})}
	s, err = opened(t, member(t, snapshot(meta), replaced()...), counter{}).Verify()
	if err != nil || s.Member.Snapshot != 3 || s.Member.Committed != 3 || s.Member.Current != 4 ||
		s.Member.Vote != 2 || len(s.Snapshots) != 1 || s.Snapshots[0].Seq != 3 ||
		!strings.Contains(s.String(), "snapshot    after event 3: ") {
		t.Errorf("%+v, %v", s, err)
	}
	meta.Seq = 4
	if _, err := opened(t, member(t, snapshot(meta), replaced()...), counter{}).Verify(); err == nil ||
		!strings.Contains(err.Error(), "named after event 4 and includes event 3") {
		t.Errorf("a snapshot of another event: %v", err)
	}
}

func TestJournalOfTheOtherKindIsRefused(t *testing.T) {
	if _, err := inspect.Open(member(t, nil, []byte{2, 1, 0}), counter{}); err == nil ||
		!strings.Contains(err.Error(), "no node of a cluster wrote") {
		t.Errorf("the journal of a single node as that of a member: %v", err)
	}
	dir := member(t, nil, replaced()...)
	if err := os.Remove(filepath.Join(dir, "cluster")); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, dir, counter{}).Verify(); err == nil || !strings.Contains(err.Error(), "the file named cluster is missing") {
		t.Errorf("the journal of a member as that of a single node: %v", err)
	}
}
