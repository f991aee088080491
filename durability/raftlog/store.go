package raftlog

import (
	"iter"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability/journal"
)

// Store is what a node writes to: the journal, or a simulated disk. Its writes are carried out in
// order, and what a later one relies on is on disk before it.
type Store interface {
	// Load returns what is on disk: the newest snapshot, nil if there is none, the number of the record
	// up to which it replaces all, 0 if there is none, and the records after it.
	Load() (snap *Meta, upTo uint64, records iter.Seq2[journal.Event, error], err error)
	// Write queues a write and never blocks. It is called on the node's goroutine.
	Write(Write)
}

// Write is one write of a node. Its slices are not changed any more.
type Write struct {
	Entries []*pb.Entry
	Hard    *pb.HardState // nil if it did not change
	// Snapshot, if not nil, replaces everything before: the record that says so is written and synced,
	// then the snapshot is installed under the number of that record. It comes alone.
	Snapshot *Received
	// Sync says that a message waits for the write. Without it the write may stay in memory until
	// the next one that is synced.
	Sync bool
	Done func(error) // called once it is on disk, or failed; in the order of the writes; any goroutine
}

// Records calls add with the payload of each record of the write, entries first: a hard state never
// says that an entry is committed which is not before it. The payload may be used again.
func (w *Write) Records(buffer []byte, add func(payload []byte) error) ([]byte, error) {
	if w.Snapshot != nil {
		buffer = appendSnapshotRecord(buffer[:0], w.Snapshot.Meta)
		if err := add(buffer); err != nil {
			return buffer, err
		}
	}
	for _, e := range w.Entries {
		buffer = appendEntryRecord(buffer[:0], e)
		if err := add(buffer); err != nil {
			return buffer, err
		}
	}
	if w.Hard != nil {
		buffer = appendHardRecord(buffer[:0], w.Hard)
		if err := add(buffer); err != nil {
			return buffer, err
		}
	}
	return buffer, nil
}
