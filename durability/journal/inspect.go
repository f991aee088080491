package journal

import (
	"fmt"
	"iter"
	"os"

	"sluice/durability"
)

// Log is a read-only view of a journal directory for tools.
type Log struct {
	Directory   Identity       // of the directory
	Identity    Identity       // of the log
	First, Last durability.Seq // oldest and newest event kept; 0 and 0 if there are none
	Snapshots   []SnapshotInfo // newest first
	Torn        string         // description of the unfinished last write, empty if there is none

	segments []segment
}

// SnapshotInfo describes an installed snapshot.
type SnapshotInfo struct {
	Seq     durability.Seq // the last event it includes
	Bytes   int64          // of the file
	Damaged bool           // Open would set it aside and use an older one
}

// Inspect verifies everything in dir that Open verifies, and lists it. It takes no lock and changes
// nothing.
func Inspect(dir string) (*Log, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("journal: cannot read the directory: %w", err)
	}
	d := &directory{path: dir}
	if !d.has(formatFile) {
		return nil, fmt.Errorf("journal: %s is not a journal: it has no %s file", dir, formatFile)
	}
	head, err := d.readFormat()
	if err != nil {
		return nil, err
	}
	x, err := examine(d, head)
	if err != nil {
		return nil, err
	}
	log := &Log{Directory: head.directory, Identity: head.log, First: x.first, Last: x.last,
		segments: x.segments}
	if x.torn != nil {
		log.Torn = x.torn.String()
	}
	for _, s := range x.snapshots {
		log.Snapshots = append(log.Snapshots, SnapshotInfo{s.seq, s.bytes, s.damaged})
	}
	return log, nil
}

// Events iterates over all events kept, in order.
func (l *Log) Events() iter.Seq2[Event, error] {
	if l.First == 0 {
		return func(func(Event, error) bool) {}
	}
	return iterate(l.segments, l.First-1, l.Last)
}
