package raftlog

import (
	"fmt"
	"iter"
	"slices"
	"sync"

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
	stored  *raft.MemoryStorage // what is on disk; its methods may be called from any goroutine
	mu      sync.Mutex          // guards places for readers beside the node's goroutine
	places  []place             // of the entries from base on; the first is that of the snapshot
	base    uint64              // index of the first place
	records uint64              // number of the last record that was queued for the journal
}

// place is what an entry is in other spaces of numbers.
type place struct {
	seq    durability.Seq // last event up to and including the entry
	record uint64         // number of the entry's record in the journal; 0 for the snapshot
}

// loadLog builds the log from the snapshot, nil if there is none, and the records after it.
func loadLog(snap *Meta, voters []uint64, records iter.Seq2[journal.Event, error]) (*log, error) {
	l := &log{stored: raft.NewMemoryStorage(), base: firstIndex}
	if snap == nil {
		snap = &Meta{Term: 1, Index: firstIndex, HardTerm: 1, Voters: voters}
	}
	if !slices.Equal(snap.Voters, voters) {
		return nil, fmt.Errorf("raftlog: the snapshot has the members %v, the configuration has %v",
			snap.Voters, voters)
	}
	if err := l.restore(snap); err != nil {
		return nil, err
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
			return fmt.Errorf("entry %d follows entry %d", index, last)
		}
		l.note(op.entry, record)
		return l.stored.Append([]*pb.Entry{op.entry})
	case op.hard != nil:
		*hard = op.hard
		return nil
	}
	if op.snap.Index <= l.base {
		return nil // the snapshot that Open found, or one after it, includes it
	}
	return fmt.Errorf("the state of index %d was received as a snapshot, and that snapshot is missing",
		op.snap.Index)
}

// restore makes the log begin after a snapshot.
func (l *log) restore(snap *Meta) error {
	l.mu.Lock()
	l.base, l.places = snap.Index, []place{{seq: snap.Seq}}
	l.mu.Unlock()
	return l.stored.ApplySnapshot(snap.snapshot())
}

func (l *log) lastPlace() uint64 { return l.base + uint64(len(l.places)) - 1 }

// note enters the place of an entry and forgets those of entries that it replaces.
func (l *log) note(e *pb.Entry, record uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := e.GetIndex() - l.base
	l.places = l.places[:at]
	seq := l.places[at-1].seq
	if e.GetType() == pb.EntryNormal {
		seq = max(seq, lastOf(e.GetData()))
	}
	l.places = append(l.places, place{seq, record})
}

// seq is the last event up to an entry. An index below the log gives 0, which opens nothing.
func (l *log) seq(index uint64) durability.Seq {
	if index < l.base {
		return 0
	}
	return l.places[min(index, l.lastPlace())-l.base].seq
}

// find returns the last entry whose events are all up to seq. Any goroutine.
func (l *log) find(seq durability.Seq) (index, record uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, exact := slices.BinarySearchFunc(l.places, seq, func(p place, s durability.Seq) int {
		if p.seq < s {
			return -1
		}
		return min(int(p.seq-s), 1)
	})
	if !exact {
		return 0, 0, false
	}
	for at+1 < len(l.places) && l.places[at+1].seq == seq {
		at++
	}
	return l.base + uint64(at), l.places[at].record, true
}

// compact forgets the entries up to an index that a snapshot includes.
func (l *log) compact(index uint64) error {
	if index <= l.base {
		return nil
	}
	l.mu.Lock()
	l.places = slices.Clone(l.places[index-l.base:])
	l.base = index
	l.mu.Unlock()
	return l.stored.Compact(index)
}
