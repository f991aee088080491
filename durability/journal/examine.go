package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// findings is what Open decides on: everything that is on disk, verified.
type findings struct {
	contents
	previous  incarnation
	snapshots []snapshotFound // newest first
	chosen    snapshotFile    // the newest intact one; zero if there is none
}

// snapshotFound is a snapshot that was read.
type snapshotFound struct {
	snapshotFile
	bytes   int64 // of the file
	damaged bool
}

// examine verifies all files of a directory, each by itself and against the others, and changes
// nothing. A running server only adds to what the files said before, so each file is read before
// those that must not be behind it.
func examine(d *directory, head header) (x findings, err error) {
	if x.previous, err = d.readIncarnation(); err != nil {
		return x, err
	}
	segments, err := listSegments(d.wal())
	if err == nil {
		err = checkOwners(segments, head)
	}
	if err != nil {
		return x, err
	}
	if x.previous.number > 0 && x.previous.directory != head.directory {
		return x, &ForeignError{d.file(incarnationFile), "directory", x.previous.directory,
			head.directory}
	}
	if x.snapshots, err = readSnapshots(d.snap(), head.log); err != nil {
		return x, err
	}
	if segments, err = listSegments(d.wal()); err != nil {
		return x, err
	}
	if len(segments) == 0 {
		return x, &CorruptError{File: d.wal(), Offset: -1, Why: "the log is missing"}
	}
	x.contents, err = verify(segments, x.previous.least)
	if err != nil {
		return x, err
	}
	return x, x.agree(d)
}

// verify scans the log. That the newest segment was cut comes first: it explains what is wrong at
// its end.
func verify(segments []segment, least int64) (contents, error) {
	found, err := scan(segments, nil)
	var damage *CorruptError
	if err == nil || errors.As(err, &damage) && damage.File == segments[len(segments)-1].path {
		if cut := found.checkLength(least); cut != nil {
			return found, cut
		}
	}
	return found, err
}

// agree compares the log with the other files, and chooses the snapshot.
func (x *findings) agree(d *directory) error {
	bad := func(file, why string, args ...any) error {
		return &CorruptError{File: file, Offset: -1, Good: x.last, Why: fmt.Sprintf(why, args...)}
	}
	initialised := d.has(formatFile)
	switch {
	case !initialised && x.last != 0:
		return bad(d.file(formatFile), "the file is missing")
	case x.previous.number < x.term || x.previous.number == 0 && initialised:
		return bad(d.file(incarnationFile), "it says %d, but the log was written by incarnation %d: "+
			"connection ids would repeat", x.previous.number, x.term)
	}
	if err := x.previous.check(d.file(incarnationFile), &x.contents); err != nil {
		return err
	}
	for _, s := range x.snapshots {
		if s.seq > x.last {
			return bad(s.path, "the snapshot includes event %d, but the log ends at %d: the end of the "+
				"log was lost", s.seq, x.last)
		}
	}
	damaged := x.choose()
	if x.first > x.chosen.seq+1 {
		return &CorruptError{File: d.snap(), Offset: -1, Good: x.chosen.seq,
			Why: fmt.Sprintf("no intact snapshot reaches event %d, where the log begins (%d damaged)",
				x.first, damaged)}
	}
	return nil
}

// choose chooses the snapshot, and returns how many are damaged.
func (x *findings) choose() (damaged int) {
	for _, s := range x.snapshots {
		if s.damaged {
			damaged++
		} else if x.chosen.seq == 0 {
			x.chosen = s.snapshotFile
		}
	}
	return damaged
}

// readSnapshots verifies all snapshots, newest first. One of another log is a ForeignError.
func readSnapshots(folder string, owner Identity) (out []snapshotFound, err error) {
	all, err := listSnapshots(folder)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		found := snapshotFound{snapshotFile: s}
		info, err := os.Stat(s.path)
		var f io.ReadCloser
		if err == nil {
			found.bytes = info.Size()
			f, err = openSnapshot(s, owner)
		}
		if err == nil {
			err = f.Close()
		}
		switch {
		case errors.Is(err, os.ErrNotExist): // removed by a running server
			continue
		case errors.Is(err, errBadSnapshot):
			found.damaged = true
		case errors.Is(err, ErrForeign):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("journal: snapshot %s: %w", s.path, err)
		}
		out = append(out, found)
	}
	return out, nil
}
