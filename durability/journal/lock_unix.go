//go:build unix

package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockExclusively takes the lock of flock(2). It does not wait: the error is EWOULDBLOCK if another
// process has it.
func lockExclusively(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// lockShared is lockExclusively, except that any number of processes may have the lock in this way.
func lockShared(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) }

// mountPoint reports whether path is on another file system than its parent.
func mountPoint(path, parent string) (bool, error) {
	var below, above unix.Stat_t
	err := errors.Join(unix.Stat(path, &below), unix.Stat(parent, &above))
	return err == nil && below.Dev != above.Dev, err
}
