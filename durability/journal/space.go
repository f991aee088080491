package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// SpaceError reports a disk with too little space. errors.Is finds the cause, ENOSPC or EDQUOT.
type SpaceError struct {
	Dir    string // on that disk
	For    string // what the space is needed for
	Needed int64  // bytes, at least
	Free   int64  // bytes; -1 if unknown
	Cause  error
}

// Error says how much is needed and how much is free.
func (e *SpaceError) Error() string {
	free := "an unknown amount is"
	if e.Free >= 0 {
		free = sizeText(e.Free) + " are"
	}
	return fmt.Sprintf("%s needs at least %s for %s, and %s free on its disk (%v)", e.Dir, sizeText(e.Needed), e.For,
		free, e.Cause)
}

// Unwrap returns the cause.
func (e *SpaceError) Unwrap() error { return e.Cause }

func sizeText(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", (bytes+1023)>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// room returns a SpaceError if less is free than will be needed. What cannot be found out is no error.
func room(dir, what string, needed int64) error {
	if free, ok := freeBytes(dir); ok && free < needed {
		return &SpaceError{dir, what, needed, free, syscall.ENOSPC}
	}
	return nil
}

// Short returns the error of a full disk or quota as a SpaceError, which says how many bytes are needed in dir for
// something, and another error as it is.
func Short(err error, dir, what string, needed int64) error {
	var known *SpaceError
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) || errors.As(err, &known) {
		return err
	}
	free, ok := freeBytes(dir)
	if !ok {
		free = -1
	}
	return &SpaceError{dir, what, needed, free, err}
}

// roomToRun checks, before the first event, that there is room for the rest of the newest segment, the
// next segment, and a snapshot as large as the newest.
func (d *directory) roomToRun(found *contents, snapshot snapshotFile, segmentBytes int64) error {
	needed, what := segmentBytes, "the next segment"
	if info, err := os.Stat(found.segments[len(found.segments)-1].path); err == nil {
		needed += max(segmentBytes-info.Size(), 0)
	}
	if info, err := os.Stat(snapshot.path); err == nil && snapshot.seq > 0 {
		needed, what = needed+info.Size(), "the next segment and a snapshot"
	}
	if err := room(d.path, what, needed); err != nil {
		return fmt.Errorf("journal: %w; free space, or use smaller segments", err)
	}
	return nil
}
