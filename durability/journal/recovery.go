package journal

import (
	"fmt"
	"io"
	"iter"

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
	// EndMark is an event that was certainly on disk before. If the previous run was Interrupted, a
	// crash or a loss of the log's end may have removed events after it without a trace.
	EndMark     durability.Seq
	Interrupted bool // the previous run did not close the journal in order
	// Notes describe repairs and skipped snapshots. Empty after a clean stop.
	Notes []string

	snapshot snapshotFile
	segments []segment
}

// Restore opens the snapshot, verifies it and passes it to read. Without a snapshot it does
// nothing.
func (r *Recovery) Restore(read func(io.Reader) error) error { return restore(r.snapshot, r.Log, read) }

func restore(s snapshotFile, log Identity, read func(io.Reader) error) error {
	if s.seq == 0 {
		return nil
	}
	f, err := openSnapshot(s, log)
	if err != nil {
		return gone(fmt.Errorf("journal: snapshot %s: %w", s.path, err))
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("journal: restoring snapshot %s: %w", s.path, err)
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
		found, err := scan(segmentsFrom(segments, next), func(e Event) bool {
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
		switch {
		case !more || err != nil || next > last:
		case next > found.last:
			err = fmt.Errorf("%w: the log ends at event %d, and %d is wanted", ErrCorrupt, found.last, next)
		default:
			err = removed(next)
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
