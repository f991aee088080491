package journal

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// incarnation is the content of the INCARNATION file.
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
	number uint64 // of openings
	least  int64  // bytes that the newest segment has at least
}

func (i incarnation) String() string { return fmt.Sprintf("%d %d", i.number, i.least) }

// readIncarnation returns the zero value for a new directory.
func (d *directory) readIncarnation() (i incarnation, err error) {
	text, err := os.ReadFile(d.file(incarnationFile))
	if errors.Is(err, os.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, fmt.Errorf("journal: reading the incarnation: %w", err)
	}
	_, err = fmt.Sscanf(string(text), "%d %d", &i.number, &i.least)
	if err != nil || string(text) != i.line() {
		return i, &CorruptError{File: d.file(incarnationFile), Offset: -1,
			Why: fmt.Sprintf("not an incarnation: %.60q", text)}
	}
	return i, nil
}

func (i incarnation) line() string {
	return fmt.Sprintf("%s %08x\n", i, checksum([]byte(i.String())))
}

func (d *directory) writeIncarnation(i incarnation) error {
	return writeFileDurably(d.file(incarnationFile), []byte(i.line()))
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
		return fmt.Errorf("journal: restoring the length of a segment: %w", err)
	}
	return nil
}
