package journal

import (
	"errors"
	"fmt"
	"os"

	"sluice/durability"
)

// Past returns the newest intact snapshot that includes no event after last, and the events from there
// to last, while the journal is written to. Everything up to last must be on disk already
// (Writer.Persisted). Of the result, only what a replay needs is set: Directory, Log, Last and
// SnapshotSeq. Any goroutine may call it. It reads while no snapshot is installed, which may remove
// the files; a missing one is then an error, mostly ErrRemoved. Other errors are those of Read.
func (j *Journal) Past(last durability.Seq) (*Recovery, error) {
	if err := j.dir.check(); err != nil {
		return nil, err
	}
	r := &Recovery{Directory: j.head.directory, Log: j.head.log, Last: last}
	all, err := listSnapshots(j.dir.snap())
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.seq > last {
			continue
		}
		f, err := openSnapshot(s, j.head.log)
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			r.snapshot, r.SnapshotSeq = s, s.seq
			break
		}
		if !errors.Is(err, errBadSnapshot) && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("journal: snapshot %s: %w", s.path, err)
		}
	}
	if r.segments, err = logFrom(j.dir.path, r.Directory, r.SnapshotSeq+1); err != nil {
		return nil, err
	}
	return r, nil
}
