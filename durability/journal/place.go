package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrMoved marks a journal whose directory was renamed, removed or replaced while it was open, or
// whose LOCK, log, snapshots' directory or newest segment was. Its paths lead elsewhere, so another
// server may own what they lead to, and what is written may be found by no restart.
var ErrMoved = errors.New("journal: directory was moved or replaced while it was open")

// place is a name that must lead to the same file as long as the journal is open.
type place struct {
	path string
	info os.FileInfo
}

// lookEvery is how often a busy journal looks at its places, beyond the moments at which it must.
const lookEvery = 100 * time.Millisecond

// remember notes which files the names of the directory lead to. The lock is compared at once,
// because it was opened before.
func (d *directory) remember() error {
	held, err := d.lock.Stat()
	if err != nil {
		return fmt.Errorf("journal: looking at the lock: %w", err)
	}
	d.places = []place{{d.file(lockFile), held}}
	for _, path := range []string{d.path, d.snap(), d.wal()} {
		p, err := placeOf(path)
		if err != nil {
			return err
		}
		d.places = append(d.places, p)
	}
	return d.check()
}

func placeOf(path string) (place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return place{}, fmt.Errorf("journal: looking at the directory: %w", err)
	}
	return place{path, info}, nil
}

// check returns ErrMoved if a name leads elsewhere than it did when the journal was opened. Any
// goroutine.
func (d *directory) check() error {
	for _, p := range d.places {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// replaced reports whether another log has the name of this one.
func (d *directory) replaced() bool {
	log := d.places[len(d.places)-1]
	now, err := os.Stat(log.path)
	return err == nil && !os.SameFile(log.info, now)
}

// check returns ErrMoved only for what is certain. If the name cannot be looked at, the next use of it
// fails by itself.
func (p place) check() error {
	now, err := os.Stat(p.path)
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %s is gone", ErrMoved, p.path)
	case err == nil && !os.SameFile(p.info, now):
		return fmt.Errorf("%w: %s is another file than the one that was opened", ErrMoved, p.path)
	}
	return nil
}
