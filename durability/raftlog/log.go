package raftlog

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// firstIndex is the index at which every log begins: that of an empty snapshot with the members, so
// that no entry is needed to name them. Entries follow it.
const firstIndex = 1

// log is a node's log in memory, from the older snapshot on: the entries on disk for the library, and
// for each entry, also those on their way to the disk, what it is in the other two spaces of numbers.
type log struct {
	stored   *raft.MemoryStorage // what is on disk; its methods may be called from any goroutine
	places   []place             // of the entries from base on; the first is that of the snapshot
	base     uint64              // index of the first place
	records  uint64              // number of the last record that was queued for the journal
	received uint64              // index of the last snapshot that a record says was received
	newest   Meta                // of the newest snapshot on disk; Index is 0 if there is none
	// Members, from those at base on; the last are those of the last change that was applied.
	memberships []Members
}

// place is what an entry is in other spaces of numbers.
type place struct {
	seq    durability.Seq // last event up to and including the entry
	record uint64         // number of the entry's record in the journal; 0 for the snapshot
	bytes  uint64         // of the data of all entries up to it
}

// loadLog builds the log from what Store.Load returned.
func loadLog(snap *Meta, upTo uint64, first Members, records iter.Seq2[journal.Event, error]) (*log, error) {
	l := &log{stored: raft.NewMemoryStorage(), base: firstIndex, records: upTo}
	if snap == nil {
		snap = &Meta{Term: 1, Index: firstIndex, HardTerm: 1, Members: first}
	}
	if err := l.restore(snap); err != nil {
		return nil, err
	}
	if snap.Index > firstIndex {
		l.newest = *snap
	}
	hard := snap.hard()
	for ev, err := range records {
		if err != nil {
			return nil, err
		}
		op, err := parseRecord(ev.Payload)
		if err == nil {
			err = l.replay(op, uint64(ev.Seq), &hard)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d of the journal: %w", ev.Seq, err)
		}
		l.records = uint64(ev.Seq)
	}
	if hard.GetCommit() < l.base { // how far is committed need not be on disk, and the snapshot knows better
		hard = &pb.HardState{Term: hard.Term, Vote: hard.Vote, Commit: new(l.base)}
	}
	last, err := l.stored.LastIndex()
	if err == nil && hard.GetCommit() > last {
		err = fmt.Errorf("raftlog: the journal has entries up to index %d, and its hard state says that those "+
			"up to %d are committed: its end is missing", last, hard.GetCommit())
	}
	if err != nil {
		return nil, err
	}
	return l, l.stored.SetHardState(hard)
}

// replay carries out one operation of the journal.
func (l *log) replay(op operation, record uint64, hard **pb.HardState) error {
	switch {
	case op.entry != nil:
		index := op.entry.GetIndex()
		if index <= l.base {
			return nil // the snapshot includes it
		}
		if last := l.lastPlace(); index > last+1 {
			return fmt.Errorf("entry %d follows entry %d; the snapshot of index %d, which was received, is "+
				"missing: replace this node", index, last, l.received)
		}
		l.note(op.entry, record)
		return l.stored.Append([]*pb.Entry{op.entry})
	case op.hard != nil:
		*hard = op.hard
		return nil
	}
	// A snapshot that was received is installed right after its record. If the one that was found is
	// older, a crash came between the two, and nothing follows the record; or the snapshot was lost, and
	// the next entry leaves a gap.
	l.received = max(l.received, op.snap.Index)
	return nil
}

// restore makes the log begin after a snapshot.
func (l *log) restore(snap *Meta) error {
	l.base, l.places, l.memberships = snap.Index, []place{{seq: snap.Seq}}, []Members{snap.Members}
	return l.stored.ApplySnapshot(snap.snapshot())
}

// replace makes the log begin after a snapshot that is on its way to the disk under a record.
func (l *log) replace(m Meta, record uint64) {
	l.base, l.places = m.Index, []place{{seq: m.Seq, record: record}}
}

// members are those of the last change that was applied.
func (l *log) members() Members { return l.memberships[len(l.memberships)-1] }

// membersAt are the members after an entry.
func (l *log) membersAt(index uint64) Members {
	at := len(l.memberships) - 1
	for at > 0 && l.memberships[at].Index > index {
		at--
	}
	return l.memberships[at]
}

func (l *log) lastPlace() uint64 { return l.base + uint64(len(l.places)) - 1 }

// note enters the place of an entry and forgets those of entries that it replaces.
func (l *log) note(e *pb.Entry, record uint64) {
	at := e.GetIndex() - l.base
	l.places = l.places[:at]
	seq, bytes := l.places[at-1].seq, l.places[at-1].bytes+uint64(len(e.GetData()))
	if e.GetType() == pb.EntryNormal {
		seq = max(seq, lastOf(e.GetData()))
	}
	l.places = append(l.places, place{seq, record, bytes})
}

// seq is the last event up to an entry. An index below the log gives 0, which opens nothing.
func (l *log) seq(index uint64) durability.Seq {
	if index < l.base {
		return 0
	}
	return l.places[min(index, l.lastPlace())-l.base].seq
}

// bytes are those of the entries in memory.
func (l *log) bytes() uint64 { return l.places[len(l.places)-1].bytes - l.places[0].bytes }

// meta is the Meta of a snapshot of the state after event seq, and the record that the snapshot replaces
// the journal up to. The event must be the last of its entry. Entries behind it have no events, and may
// not be committed: only those up to an index are taken.
func (l *log) meta(seq durability.Seq, upTo uint64) (m Meta, record uint64, err error) {
	at, _ := slices.BinarySearchFunc(l.places, seq+1, func(p place, s durability.Seq) int { return cmp.Compare(p.seq, s) })
	index := min(l.base+uint64(at)-1, upTo)
	if at == 0 || index <= l.base || l.places[index-l.base].seq != seq {
		return m, 0, fmt.Errorf("raftlog: no entry ends with event %d, or a snapshot has it already", seq)
	}
	term, err := l.stored.Term(index)
	if err != nil {
		return m, 0, fmt.Errorf("raftlog: entry %d, which ends with event %d, is not on disk: %w", index, seq, err)
	}
	hard, _, err := l.stored.InitialState()
	return Meta{Term: term, Index: index, Seq: seq, HardTerm: hard.GetTerm(), Vote: hard.GetVote(),
		Commit: hard.GetCommit(), Members: l.membersAt(index)}, l.places[index-l.base].record, err
}

// installed takes notice of a snapshot of this node's own that is on disk. Entries up to the snapshot
// before it are forgotten: the journal has the log from there on too. Those that the library does not know
// to be applied are kept, because it reads them before an election.
func (l *log) installed(m Meta, applied uint64) error {
	if m.Index <= l.newest.Index {
		return nil // one that was received came before it
	}
	before := l.newest
	l.newest = m
	if _, err := l.stored.CreateSnapshot(m.Index, m.Members.state(), nil); err != nil {
		return err
	}
	cut := min(before.Index, applied)
	if cut <= l.base {
		return nil
	}
	l.places = slices.Clone(l.places[cut-l.base:])
	l.base = cut
	for len(l.memberships) > 1 && l.memberships[1].Index <= cut {
		l.memberships = l.memberships[1:]
	}
	return l.stored.Compact(cut)
}
