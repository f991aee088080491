package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"sluice/durability"
)

// Recovery is the state that Open found. Restore the application from the snapshot, then apply the
// events. Do both before a new snapshot is installed, which may remove the files they read.
type Recovery struct {
	// Directory is the identity of the directory, made when it was created.
	Directory Identity
	// Log is the identity of the log: that of the directory unless Options.Log named another.
	Log Identity
	// Incarnation is the number of times this directory was opened, from 1. It is on disk before
	// Open returns, so numbers derived from it (connection ids) never repeat.
	Incarnation uint64
	// Last is the last event of the log; the next one appended gets the following number. 0 if
	// there are none.
	Last durability.Seq
	// SnapshotSeq is the last event the snapshot includes; 0 if there is no snapshot.
	SnapshotSeq durability.Seq
	// Notes describe repairs and skipped snapshots. Empty after a clean stop.
	Notes []string

	snapshot snapshotFile
	segments []segment
}

// Restore opens the snapshot, verifies it and passes it to read. Without a snapshot it does
// nothing.
func (r *Recovery) Restore(read func(io.Reader) error) error {
	if r.SnapshotSeq == 0 {
		return nil
	}
	f, err := openSnapshot(r.snapshot, r.Log)
	if err != nil {
		return fmt.Errorf("journal: snapshot %s: %w", r.snapshot.path, err)
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("journal: restoring snapshot %s: %w", r.snapshot.path, err)
	}
	return nil
}

// Events iterates over the events after the snapshot, in order and without a gap. An error ends the
// iteration.
func (r *Recovery) Events() iter.Seq2[Event, error] {
	return iterate(r.segments, r.SnapshotSeq, r.Last)
}

// iterate returns the events after `after` up to `last`.
func iterate(segments []segment, after, last durability.Seq) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		next, more := after+1, true
		if next > last {
			return
		}
		_, err := scan(segmentsFrom(segments, next), func(e Event) bool {
			switch {
			case e.Seq < next: // the snapshot includes it; it shares a batch or a segment with later events
				return true
			case e.Seq > next: // the previous segment was removed after the log was verified
				return false
			}
			next++
			more = yield(e, nil)
			return more && next <= last
		})
		if more && err == nil && next <= last {
			err = fmt.Errorf("%w: event %d is no longer in the log", ErrCorrupt, next)
		}
		if more && err != nil {
			yield(Event{}, err)
		}
	}
}

// segmentsFrom omits the segments that end before an event.
func segmentsFrom(segments []segment, seq durability.Seq) []segment {
	from := 0
	for i, s := range segments {
		if s.first != 0 && s.first <= seq {
			from = i
		}
	}
	return segments[from:]
}

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

// Inspect verifies the log and the snapshots in dir and lists them. It takes no lock and changes nothing. It is meant
// for a stopped journal; on a running one it returns a prefix, or an error if segments are removed
// meanwhile.
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
	segments, err := listSegments(d.wal())
	if err != nil {
		return nil, err
	}
	if err := checkOwners(segments, head); err != nil {
		return nil, err
	}
	incarnation, err := d.readIncarnation()
	if err != nil {
		return nil, err
	}
	found, err := verify(d, incarnation.least)
	if err != nil {
		return nil, err
	}
	log := &Log{Directory: head.directory, Identity: head.log, First: found.first, Last: found.last,
		segments: found.segments}
	if found.torn != nil {
		log.Torn = found.torn.String()
	}
	log.Snapshots, err = inspectSnapshots(d.snap(), head.log)
	return log, err
}

func inspectSnapshots(folder string, owner Identity) (out []SnapshotInfo, err error) {
	all, err := listSnapshots(folder)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		info, err := os.Stat(s.path)
		if errors.Is(err, os.ErrNotExist) { // removed by a running server
			continue
		}
		var f io.ReadCloser
		if err == nil {
			f, err = openSnapshot(s, owner)
		}
		damaged := errors.Is(err, errBadSnapshot)
		if err == nil {
			err = f.Close()
		}
		if errors.Is(err, ErrForeign) {
			return nil, err
		}
		if err != nil && !damaged {
			return nil, fmt.Errorf("journal: snapshot %s: %w", s.path, err)
		}
		out = append(out, SnapshotInfo{s.seq, info.Size(), damaged})
	}
	return out, nil
}

// Events iterates over all events kept, in order.
func (l *Log) Events() iter.Seq2[Event, error] {
	if l.First == 0 {
		return func(func(Event, error) bool) {}
	}
	return iterate(l.segments, l.First-1, l.Last)
}

// chooseSnapshot returns the newest intact snapshot that the log continues, and the damaged ones.
func chooseSnapshot(folder string, log contents,
	owner Identity) (chosen snapshotFile, damaged []snapshotFile, err error) {
	all, err := listSnapshots(folder)
	if err != nil {
		return chosen, nil, err
	}
	for _, s := range all {
		if s.seq > log.last {
			return chosen, nil, &CorruptError{File: s.path, Offset: -1, Good: log.last,
				Why: fmt.Sprintf("the snapshot includes event %d, but the log ends at %d: the "+
					"end of the log was lost", s.seq, log.last)}
		}
		f, err := openSnapshot(s, owner)
		if errors.Is(err, errBadSnapshot) {
			damaged = append(damaged, s)
			continue
		}
		if errors.Is(err, ErrForeign) {
			return chosen, nil, err
		}
		if err != nil {
			return chosen, nil, fmt.Errorf("journal: snapshot %s: %w", s.path, err)
		}
		f.Close()
		chosen = s
		break
	}
	if log.first > chosen.seq+1 {
		return chosen, nil, &CorruptError{File: folder, Offset: -1, Good: chosen.seq,
			Why: fmt.Sprintf("no intact snapshot reaches event %d, where the log begins (%d "+
				"damaged)", log.first, len(damaged))}
	}
	return chosen, damaged, nil
}
