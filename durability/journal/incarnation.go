package journal

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"sluice/durability"
)

// incarnation is the content of the INCARNATION file: the number of openings, and the end mark.
//
// The end mark says how far the log reached at least when it was written. It is replaced when the
// directory is opened, at each rollover, after a snapshot, and at the end. A log that ends before
// its mark lost events that may have been acknowledged. What was lost behind the mark cannot be
// told from what was never written: that would take a second sync for each commit.
//
//	events    1 ........................ mark ............. end of the log
//	lost        damage, which is refused  |  not detected, unless the server stopped in order
//
// A segment gets its full size before it gets its name, and only grows while it is the newest, so a
// shorter one was cut. But the underlying log shortens the newest segment for a moment when it is
// opened, in order to clear what follows the last record, and so does a repair. So this file says
// how long the newest segment must be: its records before the log is opened, the full size before
// anything is appended.
//
//	INCARNATION  n-1, records    n, full size
//	segment      full            shortened, full, synced     appended to
type incarnation struct {
	directory Identity // the owner
	number    uint64   // of openings
	least     int64    // bytes that the newest segment has at least
	segment   uint64   // number of the newest segment
	last      durability.Seq
	state     ending
}

// ending says how the log ended when the end mark was written.
type ending string

const (
	stillOpen     ending = "open"     // it was being written: events after last may be on disk
	closedInOrder ending = "closed"   // last is the last event
	closedFailed  ending = "poisoned" // last is the last event that may have been acknowledged
)

func (i incarnation) String() string {
	return fmt.Sprintf("%s %d %d %d %d %s", i.directory, i.number, i.least, i.segment, i.last, i.state)
}

// readIncarnation returns the zero value for a new directory, and with an error.
func (d *directory) readIncarnation() (i incarnation, err error) {
	text, err := os.ReadFile(d.file(incarnationFile))
	if errors.Is(err, os.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, fmt.Errorf("journal: reading the incarnation: %w", err)
	}
	var owner []byte
	_, err = fmt.Sscanf(string(text), "%x %d %d %d %d %s", &owner, &i.number, &i.least, &i.segment,
		&i.last, &i.state)
	if err == nil && len(owner) == len(i.directory) {
		i.directory = Identity(owner)
	}
	if err != nil || string(text) != i.line() {
		return incarnation{}, &CorruptError{File: d.file(incarnationFile), Offset: -1,
			Why: fmt.Sprintf("not an incarnation: %.120q", text)}
	}
	return i, nil
}

func (i incarnation) line() string {
	return fmt.Sprintf("%s %08x\n", i, checksum([]byte(i.String())))
}

func (d *directory) writeIncarnation(i incarnation) error {
	return Short(writeFileDurably(d.file(incarnationFile), []byte(i.line())), d.path, incarnationFile, 4<<10)
}

// check compares the log with the incarnation that was read from the file at path. The log may have
// an unfinished last write.
func (i incarnation) check(path string, found *contents) error {
	newest := found.segments[len(found.segments)-1]
	bad := func(file string, offset int64, why string, args ...any) error {
		return &CorruptError{File: file, Offset: offset, Good: found.last,
			Why: fmt.Sprintf(why, args...)}
	}
	switch {
	case newest.number < i.segment:
		return bad(newest.path, -1, "it is the last segment, but segment %d existed when the end mark "+
			"was written, and events up to %d were on disk", i.segment, i.last)
	case found.last < i.last:
		return bad(newest.path, found.end, "the log ends here, but events up to %d were on disk when the "+
			"end mark was written", i.last)
	case i.state == closedInOrder && found.last > i.last:
		return bad(path, -1, "it says that the log was closed after event %d, but the log has %d: "+
			"the file is older than the log", i.last, found.last)
	case i.state == closedInOrder && found.torn != nil:
		return bad(newest.path, found.end, "the log was closed here, and something follows its end")
	}
	return nil
}

// dropped describes the unfinished last write that was removed.
func (i incarnation) dropped(found *contents) string {
	text := "dropped an " + found.torn.String()
	if i.state == closedFailed {
		return text + "; it was not acknowledged"
	}
	return fmt.Sprintf("%s: a power loss leaves a write like this, which was not acknowledged; events "+
		"up to %d were on disk at the end mark, and if no power was lost, it is not known whether "+
		"events after %d were acknowledged", text, i.last, found.last)
}

// checkLength reports a newest segment that was cut: no crash leaves less than least bytes.
func (c *contents) checkLength(least int64) error {
	if len(c.segments) == 0 {
		return nil
	}
	newest := c.segments[len(c.segments)-1]
	info, err := os.Stat(newest.path)
	if err != nil {
		return fmt.Errorf("journal: looking at a segment: %w", err)
	}
	if info.Size() >= least {
		return nil
	}
	return &CorruptError{File: newest.path, Offset: info.Size(), Good: c.last,
		Why: fmt.Sprintf("the segment was cut: it has %d bytes, and had at least %d", info.Size(),
			least)}
}

// restoreLength gives the newest segment its full size, if a crash while it was opened left it
// shorter or the setting is larger now, and makes its length durable.
func (d *directory) restoreLength(full int64) (err error) {
	segments, err := listSegments(d.wal())
	if err != nil {
		return err
	}
	f, err := os.OpenFile(segments[len(segments)-1].path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal: opening a segment: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() < full {
		if err = fileutil.Preallocate(f, full, true); err != nil {
			err = fmt.Errorf("allocating %s: %w", f.Name(), err) // the error names no file
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = Short(err, d.path, "the newest segment", full)
		return fmt.Errorf("journal: restoring the length of a segment: %w", err)
	}
	return nil
}
