package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

const (
	formatFile      = "FORMAT"
	lockFile        = "LOCK"
	incarnationFile = "INCARNATION"
	walFolder       = "wal"
	snapFolder      = "snap"
	brokenPrefix    = walFolder + ".broken." // new name of a log that could not be created
	formatPrefix    = "sluice journal "
	privateFile     = 0o600
	privateFolder   = 0o700
)

// directory is the journal's directory: its names, not the contents of log and snapshots.
type directory struct {
	path   string
	lock   *os.File
	places []place // that must not change while the journal is open; see remember

	patience time.Duration // for descriptors
}

func (d *directory) wal() string             { return filepath.Join(d.path, walFolder) }
func (d *directory) snap() string            { return filepath.Join(d.path, snapFolder) }
func (d *directory) file(name string) string { return filepath.Join(d.path, name) }
func (d *directory) has(name string) bool    { _, err := os.Lstat(d.file(name)); return err == nil }
func (d *directory) unlock() error           { return d.lock.Close() }

// lockDirectory creates the directory if needed and takes the exclusive lock, flock(2), which the
// kernel releases when the process ends, however it ends.
func lockDirectory(path string) (*directory, error) {
	d := &directory{path: path, patience: descriptorsPatience}
	if d.has(backupFile) {
		return nil, fmt.Errorf("%w: %s; restore it into another directory with sluice restore",
			ErrBackup, path)
	}
	if err := os.MkdirAll(path, privateFolder); err != nil {
		return nil, fmt.Errorf("journal: creating the directory: %w", err)
	}
	if err := d.refuseForeign(); err != nil {
		return nil, err
	}
	if err := d.syncParents(); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(d.file(lockFile), os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, fmt.Errorf("journal: opening the lock file: %w", err)
	}
	err = lockExclusively(lock)
	for try := 0; try < 10 && errors.Is(err, syscall.EWOULDBLOCK); try++ { // inUse may hold it for a moment
		time.Sleep(5 * time.Millisecond)
		err = lockExclusively(lock)
	}
	if err != nil {
		holder, _ := io.ReadAll(io.LimitReader(lock, 64)) // for the message only; if it cannot be read, the holder is not named
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked by %s; give each server a directory of its "+
				"own, or stop the other one",
				ErrLocked, path, describeHolder(string(holder)))
		}
		return nil, fmt.Errorf("journal: locking %s: %w", lock.Name(), err)
	}
	d.lock = lock
	// The process id is only for the message above, so a failure to write it (full disk) is not a
	// failure to lock.
	if lock.Truncate(0) == nil {
		_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return d, nil
}

// inUse reports whether a process has the journal open. It holds the lock for a moment, together with others
// that look.
func (d *directory) inUse() bool {
	lock, err := os.Open(d.file(lockFile))
	if err != nil {
		return false // there is none: no process has opened it
	}
	defer lock.Close()
	return errors.Is(lockShared(lock), syscall.EWOULDBLOCK)
}

// syncParents makes the name of a new directory durable, and those of its parents, which may be new
// as well: if a power loss removes the journal's own name, everything is lost. The FORMAT file
// decides whether the directory is new, not whether this call created it, because a process may
// have been killed between the two. It ends at a mount point, which existed before the mount, and
// at a directory that may not be read: the journal did not create it or its parents.
func (d *directory) syncParents() error {
	if d.has(formatFile) {
		return nil
	}
	return d.syncAncestors()
}

func (d *directory) syncAncestors() error {
	path, err := filepath.Abs(d.path)
	parent := filepath.Dir(path)
	for ; err == nil && parent != path; path, parent = parent, filepath.Dir(parent) {
		var mount bool
		if mount, err = mountPoint(path, parent); mount {
			return nil
		}
		if err == nil {
			err = syncDirectory(parent)
		}
	}
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("journal: making the name of %s durable: %w", d.path, err)
	}
	return nil
}

func describeHolder(text string) string {
	if pid, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return "process " + strconv.Itoa(pid)
	}
	return "another process"
}

// refuseForeign rejects a directory that belongs to something else.
func (d *directory) refuseForeign() error {
	if d.has(formatFile) {
		return nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("journal: reading the directory: %w", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case lockFile, incarnationFile, walFolder, walFolder + ".tmp", snapFolder, "lost+found",
			formatFile + ".tmp", incarnationFile + ".tmp":
		default:
			if strings.HasPrefix(e.Name(), brokenPrefix) {
				continue
			}
			return fmt.Errorf("journal: %s is not a journal (no %s file) and contains %q; choose "+
				"an empty directory",
				d.path, formatFile, e.Name())
		}
	}
	return nil
}

// refuseUsed rejects a log whose newest segment another process writes. This process holds the
// directory's lock, so the file LOCK was removed or replaced while the other one ran. The log
// itself locks each of its segments.
func refuseUsed(newest segment) error {
	lock, err := fileutil.TryLockFile(newest.path, os.O_WRONLY, privateFile)
	if errors.Is(err, fileutil.ErrLocked) {
		return fmt.Errorf("%w: another process writes %s, although %s is free; it was removed "+
			"while that process ran: stop that process first",
			ErrLocked, newest.path, lockFile)
	}
	if err != nil {
		return fmt.Errorf("journal: looking for another writer: %w", err)
	}
	return lock.Close()
}

// removeBroken deletes the remains of failed attempts to create the log. There was no FORMAT file,
// so no event number was returned to a caller.
func (d *directory) removeBroken() error {
	broken, err := filepath.Glob(d.file(brokenPrefix + "*"))
	for _, name := range broken {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		return fmt.Errorf("journal: removing a log that was not completed: %w", err)
	}
	return nil
}

// removeTemporary deletes files that a crash left incomplete. A leftover preallocated segment must
// be deleted as well: the log reuses it without clearing it.
func (d *directory) removeTemporary() error {
	for _, folder := range []string{d.wal(), d.snap()} {
		leftovers, err := filepath.Glob(filepath.Join(folder, "*.tmp"))
		if err != nil {
			return fmt.Errorf("journal: looking for temporary files: %w", err)
		}
		for _, name := range leftovers {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("journal: removing a temporary file: %w", err)
			}
		}
	}
	return nil
}

// fileOf returns the file that a failure concerns. The error of the failing call names it, except
// for the sync of the segment being written.
func (d *directory) fileOf(cause error) string {
	var onPath *os.PathError
	var onLink *os.LinkError
	switch {
	case errors.As(cause, &onPath) && strings.HasPrefix(onPath.Path, d.path):
		return onPath.Path
	case errors.As(cause, &onLink):
		return onLink.New
	}
	if segments, err := listSegments(d.wal()); err == nil && len(segments) > 0 {
		return segments[len(segments)-1].path
	}
	return d.wal()
}

// writeFileDurably replaces a small file so that after a crash it has either the old or the new
// content: write a temporary file, fsync, rename, fsync the directory.
func writeFileDurably(path string, content []byte) error {
	folder, err := os.Open(filepath.Dir(path)) // before the change, which can still be left out
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer folder.Close()
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, privateFile)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if _, err = f.Write(content); err == nil {
		if err = f.Sync(); err != nil {
			err = fmt.Errorf("%w: %w", errSync, err)
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncOpen(folder)
	}
	if err != nil {
		return fmt.Errorf("journal: writing %s: %w", path, err)
	}
	return nil
}

// errSync marks a failed sync, which ends the journal. Failing to open the file or directory to
// sync is not one.
var errSync = errors.New("journal: a sync failed")

// syncDirectory makes renames and removals in it durable, fsync(2).
func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = syncOpen(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// syncOpen is syncDirectory for a directory that is open.
func syncOpen(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errSync, err)
	}
	return nil
}
