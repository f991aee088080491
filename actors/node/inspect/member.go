package inspect

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Files in the data directory of a member of a cluster. The second one is missing until the members have changed.
const (
	MembershipFile = "cluster" // which member it is of which cluster; without it, a directory is that of a single node
	MembersFile    = "members" // who the members are now
)

// IsMember reports whether a data directory is that of a member of a cluster.
func IsMember(dataDir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dataDir, MembershipFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case errors.Is(err, syscall.ENOTDIR):
		return false, fmt.Errorf("inspect: %s is not a directory; name the data directory", dataDir)
	}
	if err != nil {
		return false, fmt.Errorf("inspect: %w", err)
	}
	return true, nil
}

// readTries is how often a journal is read again because the running node removed what was read.
const readTries = 100

// read reads the journal, and what it says of the log of a cluster.
func (j *Journal) read() error {
	member, err := IsMember(j.dir)
	if err != nil {
		return err
	}
	for try := 0; err == nil; try++ {
		var damage error
		if j.log, damage = journal.Inspect(filepath.Join(j.dir, "journal")); j.log == nil || !member {
			return damage
		}
		damage = raftlog.Damaged(damage)
		if j.past, err = raftlog.ReadPast(j.log); damage != nil {
			return damage
		}
		if err == nil || !errors.Is(err, journal.ErrRemoved) || !j.log.Writing || try == readTries {
			break
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("inspect: %s: %w", j.dir, err)
	}
	return nil
}

// Member is what the journal of a member of a cluster says of its log.
type Member struct {
	Term      uint64 `json:"term"`      // of the last entry
	Index     uint64 `json:"index"`     // of the last entry
	Begin     uint64 `json:"begin"`     // index of the first entry kept; 0 if there is none
	Committed uint64 `json:"committed"` // last event that the node knows to be committed; later ones may be replaced
	Snapshot  uint64 `json:"snapshot"`  // last event that the newest intact snapshot includes; 0 without one

	Current uint64 `json:"current_term"` // newest term that the node knows
	Vote    uint64 `json:"vote"`         // number of the node for which it has voted in that term; 0 for none
	Commit  uint64 `json:"commit"`       // index of the last entry that it knows to be committed
}

// Member returns what there is for a member of a cluster; nil for a single node.
func (j *Journal) Member() *Member {
	if j.past == nil {
		return nil
	}
	hard := j.past.Hard
	m := &Member{Term: j.past.Term, Index: j.past.Index, Begin: j.past.Begin, Committed: uint64(j.past.Committed),
		Current: hard.Term, Vote: uint64(uint8(hard.Vote)), Commit: hard.Commit}
	if j.past.Newest != nil {
		m.Snapshot = uint64(j.past.Newest.Seq)
	}
	return m
}

// Event is an event as the journal has it.
type Event struct {
	Seq     durability.Seq
	Term    uint64 // of the leader that numbered it; 0 on a single node
	Payload []byte // valid until the next event
}

// Events iterates over the events kept, in order. Of a member of a cluster, those that were replaced are
// left out. An error ends it: journal.ErrRemoved if a running node has removed what comes next.
func (j *Journal) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if j.past != nil {
			for e, err := range j.past.Events() {
				if !yield(Event{e.Seq, e.Term, e.Payload}, err) {
					return
				}
			}
			return
		}
		for e, err := range j.log.Events() {
			if !yield(Event{e.Seq, 0, e.Payload}, err) {
				return
			}
		}
	}
}

// First is the first event kept; 0 if there is none.
func (j *Journal) First() durability.Seq {
	if j.past != nil {
		return j.past.First
	}
	return j.log.First
}

// Last is the last event kept, or the last one that the newest snapshot includes.
func (j *Journal) Last() durability.Seq {
	switch {
	case j.past == nil:
		return j.log.Last
	case j.past.Newest != nil:
		return max(j.past.Last, j.past.Newest.Seq)
	}
	return j.past.Last
}

// Committed is the last event that the node knows to be in the log for good; on a single node the last one.
func (j *Journal) Committed() durability.Seq {
	if j.past != nil {
		return j.past.Committed
	}
	return j.log.Last
}

// Writing reports that a server had the journal open when it was read.
func (j *Journal) Writing() bool { return j.log.Writing }

// Recovered is what a start would begin with: the newest snapshot, and the events after it, up to one.
func (j *Journal) Recovered(to durability.Seq) sequencer.Recovered { return recovered{j, to} }

type recovered struct {
	j  *Journal
	to durability.Seq
}

// Restore implements sequencer.Recovered.
func (r recovered) Restore(read func(io.Reader) error) error {
	return r.j.log.Restore(func(from io.Reader) error {
		if _, err := r.j.beginOf(from); err != nil {
			return err
		}
		return read(from)
	})
}

// Events implements sequencer.Recovered.
func (r recovered) Events() iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		at := r.j.Snapshot()
		for e, err := range r.j.Events() {
			if err == nil && e.Seq <= at {
				continue
			}
			if err == nil && e.Seq > r.to {
				return
			}
			if !yield(journal.Event{Seq: e.Seq, Payload: e.Payload}, err) {
				return
			}
		}
	}
}

// Snapshot is the last event of the snapshot that a start would restore; 0 without one.
func (j *Journal) Snapshot() durability.Seq {
	if m := j.Member(); m != nil {
		return durability.Seq(m.Snapshot)
	}
	return j.log.SnapshotSeq()
}

// beginOf reads what precedes the state in a snapshot, and returns its last event.
func (j *Journal) beginOf(r io.Reader) (durability.Seq, error) {
	if j.past == nil {
		return j.log.SnapshotSeq(), nil
	}
	m, err := raftlog.ReadMeta(r)
	if err != nil {
		return 0, err
	}
	return m.Seq, nil
}

// strange says of a payload that is no event where it may come from.
func (j *Journal) strange(payload []byte) string {
	if j.past == nil && len(payload) > 0 && payload[0] >= 'A' {
		return fmt.Sprintf("; if a member of a cluster wrote it, the file named %s is missing in %s",
			MembershipFile, j.dir)
	}
	return ""
}

// snapshots lists those on disk. Of a member of a cluster, only the newest intact one is opened.
func (j *Journal) snapshots() (all []Snapshot) {
	for _, s := range j.log.Snapshots {
		seq := s.Seq
		if j.past != nil {
			seq = 0
			if s.Seq == j.log.SnapshotSeq() {
				seq = j.Snapshot()
			}
		}
		all = append(all, Snapshot{uint64(seq), s.Bytes, s.Damaged})
	}
	return all
}

// restoreSection gives the application the state in a snapshot.
func (j *Journal) restoreSection(r io.Reader, app Restorer) error {
	want, err := j.beginOf(r)
	if err != nil {
		return err
	}
	state, err := sequencer.CheckSection(r)
	if err == nil && state.Last() != want {
		err = fmt.Errorf("it is named after event %d and includes event %d", want, state.Last())
	}
	if err == nil {
		j.rules = state.Rules()
		if app != nil {
			err = app.Restore(r)
		}
	}
	return err
}
