package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"sluice/durability"
)

// Log is a read-only view of a journal directory for tools.
type Log struct {
	Directory   Identity       // of the directory
	Identity    Identity       // of the log
	First, Last durability.Seq // oldest and newest event kept; 0 and 0 if there are none
	Snapshots   []SnapshotInfo // newest first
	Torn        string         // description of the unfinished last write, empty if there is none
	Writing     bool           // a server has the journal open: Last is the last event that was complete
	EndMark     durability.Seq // an event that was certainly on disk
	Closed      bool           // the journal was closed in order: nothing was lost behind the end mark
	Backup      bool           // Open refuses it, and Restore makes a directory from it

	segments []segment
	snapshot snapshotFile // that Open would restore
}

// SnapshotInfo describes an installed snapshot.
type SnapshotInfo struct {
	Seq     durability.Seq // the last event it includes
	Bytes   int64          // of the file
	Damaged bool           // Open would set it aside and use an older one
}

const (
	inspectPause = 20 * time.Millisecond // before a running journal is looked at again
	inspectTime  = time.Minute           // for all looks at one that removes what is being read
	inspectSame  = 3                     // looks with the same result, after which it is not due to a write
)

// Inspect verifies everything in dir that Open verifies, or of a backup that Restore verifies, and lists it. It
// changes nothing. While a server has the journal open, it sees everything that was complete before. Then a write
// or a removal under way may look like damage, so it looks again, and damage is what several looks agree on.
//
// With an error it returns what can be read: the events before the damage, intact snapshots, identities and end mark;
// nil if there is no journal.
func Inspect(dir string) (*Log, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("journal: cannot read the directory: %w", err)
	}
	d := &directory{path: dir}
	if !d.has(formatFile) {
		return nil, fmt.Errorf("journal: %s is not a journal: it has no %s file", dir, formatFile)
	}
	before, same := "", 0
	for began := time.Now(); ; time.Sleep(inspectPause) {
		used := d.inUse()
		log, err := inspect(d)
		used = d.inUse() || used
		if log.Writing = used; used {
			log.Torn = "" // the write under way
		}
		if err == nil || !used {
			return log, err
		}
		if same++; err.Error() != before || errors.Is(err, ErrRemoved) {
			before, same = err.Error(), 1
		}
		if same == inspectSame || time.Since(began) > inspectTime {
			return log, err
		}
	}
}

func inspect(d *directory) (*Log, error) {
	var x findings
	head, err := d.readFormat()
	isBackup := d.has(backupFile)
	if isBackup {
		_, _, x, err = examineBackup(d)
	} else if err == nil {
		x, err = examine(d, head)
	}
	if err != nil {
		if segments, _ := listSegments(d.wal()); head == (header{}) && len(segments) > 0 {
			head, _, _ = segmentHeader(segments[0].path)
		}
		x.rest(d, head)
	}
	log := &Log{Directory: head.directory, Identity: head.log, First: x.first, Last: x.last,
		EndMark: x.previous.last, Closed: x.previous.state == closedInOrder, Backup: isBackup,
		segments: x.segments, snapshot: x.chosen}
	if x.torn != nil {
		log.Torn = x.torn.String()
	}
	for _, s := range x.snapshots {
		log.Snapshots = append(log.Snapshots, SnapshotInfo{s.seq, s.bytes, s.damaged})
	}
	return log, err
}

// rest fills in what can be read of a damaged directory, and was not read.
func (x *findings) rest(d *directory, head header) {
	if x.segments == nil {
		segments, _ := listSegments(d.wal())
		x.contents, _ = scan(segments, nil)
	}
	if x.previous == (incarnation{}) {
		x.previous, _ = d.readIncarnation()
	}
	if x.snapshots == nil {
		x.snapshots, _ = readSnapshots(d.snap(), head.log)
	}
	x.choose()
}

// SnapshotSeq is the last event of the snapshot that Open would restore; 0 if there is none.
func (l *Log) SnapshotSeq() durability.Seq { return l.snapshot.seq }

// Restore passes the snapshot that Open would restore to read. Without one it does nothing. The error is
// ErrRemoved if a running server has removed it.
func (l *Log) Restore(read func(io.Reader) error) error { return restore(l.snapshot, l.Identity, read) }

// Events iterates over all events kept, in order. An error ends it: ErrRemoved if a running server has
// removed what comes next.
func (l *Log) Events() iter.Seq2[Event, error] {
	if l.First == 0 {
		return func(func(Event, error) bool) {}
	}
	return iterate(l.segments, l.First-1, l.Last)
}
