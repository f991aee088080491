package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sluice/durability"
)

// ErrRemoved marks events or a snapshot that are no longer there: a newer snapshot includes them, and the
// process that has the journal open removed their file, perhaps while it was read.
var ErrRemoved = errors.New("journal: removed from the log")

func removed(seq durability.Seq) error { return fmt.Errorf("%w: event %d", ErrRemoved, seq) }

// Read calls visit with the events from..to of the log in dir, in order, while the process that has the
// journal open may write to it, begin segments and remove some. It takes no lock and holds one entry in
// memory, so any goroutine of any process may call it. Everything up to event to must be on disk
// already (Writer.Persisted); what follows is not looked at. Payloads are valid until visit returns.
//
// An error of visit ends it and is returned as it is. Other errors: ErrRemoved if an event is no longer in
// the log, after which the newest snapshot includes it; a ForeignError if the log is not of that
// directory (Recovery.Directory); ErrCorrupt; and those of the file system.
//
//	segments    [ 3 ][ 4 ][ 5 ][ 6 ........ being written
//	read              from....to
func Read(dir string, directory Identity, from, to durability.Seq, visit func(Event) error) error {
	if from == 0 {
		return errors.New("journal: Read from event 0; the first event is 1")
	}
	segments, err := logFrom(dir, directory, from)
	if err != nil {
		return err
	}
	for e, err := range iterate(segments, from-1, to) {
		if err == nil {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logFrom returns the segments of the log in dir from the one that holds an event on.
func logFrom(dir string, directory Identity, from durability.Seq) ([]segment, error) {
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err == nil {
		segments, err = holding(segments, from)
	}
	if err != nil {
		return nil, err
	}
	// The checksum chain ties the segments after the first one to it.
	head, ok, err := segmentHeader(segments[0].path)
	if err == nil && ok && head.directory != directory {
		err = &ForeignError{segments[0].path, "directory", head.directory, directory}
	}
	if err != nil {
		return nil, gone(err)
	}
	return segments, nil
}

// holding omits the segments before the one that holds an event. It looks at the newest ones first,
// because those are never removed. A listing made during removals may have a gap.
func holding(segments []segment, seq durability.Seq) ([]segment, error) {
	for i := len(segments) - 1; i >= 0; i-- {
		if i+1 < len(segments) && segments[i].number+1 != segments[i+1].number {
			break
		}
		first, err := firstEvent(segments[i].path)
		if err != nil {
			return nil, gone(err)
		}
		if first != 0 && first <= seq || first == 0 && i == 0 { // without a readable event, the scan says why
			return segments[i:], nil
		}
	}
	return nil, removed(seq)
}

// gone makes a missing file an ErrRemoved.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrRemoved, err)
	}
	return err
}
