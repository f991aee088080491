package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// staged is a directory that is being made beside the place where it will be. Its name tells that it is
// not complete.
type staged struct {
	directory
	target string
}

// stage begins a directory that will have the name target.
func stage(target string) (*staged, error) {
	target = filepath.Clean(target)
	if err := unused(target); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(filepath.Dir(target), filepath.Base(target)+".partial-*")
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	s := &staged{directory{path: path}, target}
	if err := errors.Join(os.Mkdir(s.wal(), privateFolder), os.Mkdir(s.snap(), privateFolder)); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), s.discard())
	}
	return s, nil
}

func unused(target string) error {
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("journal: %s exists already; name a directory that does not exist", target)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// commit makes everything durable, and then the name. The contents of files have been synced.
func (s *staged) commit() (err error) {
	for _, folder := range []string{s.wal(), s.snap(), s.path} {
		if err = syncDirectory(folder); err != nil {
			break
		}
	}
	if err == nil {
		if err = unused(s.target); err == nil {
			err = os.Rename(s.path, s.target)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal: completing %s: %w", s.target, err), s.discard())
	}
	if err := (&directory{path: s.target}).syncAncestors(); err != nil {
		return errors.Join(err, os.RemoveAll(s.target))
	}
	return nil
}

// discard removes what was made.
func (s *staged) discard() error { return os.RemoveAll(s.path) }

// Outside returns an error if target, which need not exist, would be within dir.
func Outside(dir, target string) error {
	within, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	above, err := Above(target)
	if err != nil {
		return err
	}
	for _, path := range above {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if os.SameFile(info, within) {
			return fmt.Errorf("journal: %s is within %s; name a place outside, best on another disk", target, dir)
		}
	}
	return nil
}

// Above returns the directories that target, which need not exist, is in or would be in, the innermost
// first, without symbolic links. If target exists, it is the first of them.
func Above(target string) (paths []string, err error) {
	path, err := filepath.Abs(target)
	for ; err == nil; path = filepath.Dir(path) {
		resolved, linkErr := filepath.EvalSymlinks(path)
		if errors.Is(linkErr, os.ErrNotExist) && path != filepath.Dir(path) {
			continue
		}
		path, err = resolved, linkErr
		break
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("journal: a part of the path %s is a file; name another place: %w", target, err)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: looking for %s: %w", target, err)
	}
	for paths = []string{path}; path != filepath.Dir(path); {
		path = filepath.Dir(path)
		paths = append(paths, path)
	}
	return paths, nil
}

// syncFile makes the content of a file durable, and drops the kernel's copy of it.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err = f.Sync(); err == nil {
		forget(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("journal: making %s durable: %w", path, err)
	}
	return nil
}
