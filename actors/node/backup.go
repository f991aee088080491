package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sluice/actors/node/inspect"
	"sluice/durability"
	"sluice/durability/journal"
)

// Backup copies a data directory to target, which must not exist, and verifies the copy. A node may run
// on it: every request of which a client received the response before Backup began is in the copy. See
// journal.Backup. target gets its name once everything is on disk; after an error nothing is left.
func Backup(ctx context.Context, dataDir, target string) (c journal.Copied, err error) {
	if err := checkParts(dataDir, false); err != nil {
		return c, err
	}
	if err := journal.Outside(dataDir, target); err != nil {
		return c, err
	}
	if err := missing(target); err != nil {
		return c, err
	}
	if err := outside(target); err != nil {
		return c, err
	}
	made, err := os.MkdirTemp(filepath.Dir(target), filepath.Base(target)+".partial-*")
	if err != nil {
		return c, fmt.Errorf("node: backup: %w", err)
	}
	c, err = journal.Backup(ctx, filepath.Join(dataDir, journalFolder), filepath.Join(made, journalFolder))
	if err == nil {
		err = copyBeside(dataDir, made, c)
	}
	if err == nil {
		err = missing(target)
	}
	if err == nil {
		err = os.Rename(made, target)
	}
	if err != nil {
		return c, errors.Join(err, os.RemoveAll(made))
	}
	return c, syncDirectory(filepath.Dir(target))
}

// Restore makes a data directory from a backup. dataDir must not exist, or be empty. It gets an identity
// of its own, because the node from which the backup was taken may still run, see journal.Restore. After
// an error nothing is left in it.
//
// A node that is opened on it continues after the last event of the backup. What clients were told about
// later events no longer holds.
func Restore(ctx context.Context, backup, dataDir string) (c journal.Copied, err error) {
	if err := checkParts(backup, false); err != nil {
		return c, err
	}
	if err := journal.Outside(backup, dataDir); err != nil {
		return c, err
	}
	if err := empty(dataDir); err != nil {
		return c, err
	}
	if err := outside(dataDir); err != nil {
		return c, err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return c, fmt.Errorf("node: creating the data directory: %w", err)
	}
	made := filepath.Join(dataDir, journalFolder)
	if c, err = journal.Restore(ctx, filepath.Join(backup, journalFolder), made, journal.Identity{}); err != nil {
		return c, err
	}
	if err := copyBeside(backup, dataDir, c); err != nil {
		return c, errors.Join(err, os.RemoveAll(made), remove(filepath.Join(dataDir, skipsFile)))
	}
	return c, nil
}

// copyBeside copies the files beside a journal and ties them to the directory of its copy. The genesis is
// last: without it a data directory that has events is not opened, and a backup is not restored. The
// list of skipped events may name some that came after the copy.
func copyBeside(from, to string, c journal.Copied) error {
	path := filepath.Join(from, genesisFile)
	genesis, err := journal.ReadOwned(path, c.Source)
	if err != nil {
		return fmt.Errorf("node: reading the snapshot of the empty application: %w", err)
	}
	skips, err := inspect.ReadSkips(from, c.Source)
	if err != nil {
		return err
	}
	skips = slices.DeleteFunc(skips, func(seq durability.Seq) bool { return seq > c.Last })
	if len(skips) > 0 {
		if err := writeSkips(to, c.Directory, skips); err != nil {
			return err
		}
	}
	owned := journal.AppendOwned(nil, c.Directory, genesis)
	if err := writeDurably(filepath.Join(to, genesisFile), owned); err != nil {
		return fmt.Errorf("node: writing the snapshot of the empty application: %w", err)
	}
	return nil
}

// outside returns an error if target would be within a data directory or a backup.
func outside(target string) error {
	above, err := journal.Above(target)
	if err != nil {
		return err
	}
	for _, dir := range above {
		if exists, _ := journal.Exists(filepath.Join(dir, journalFolder)); exists {
			return fmt.Errorf("node: %s is within %s, which is a data directory or a backup; name a place outside",
				target, dir)
		}
	}
	return nil
}

func missing(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("node: %s exists already; name a directory that does not exist", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node: %w", err)
	}
	return nil
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node: data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("node: %s is not empty, it has %s; name an empty directory, or one that does not "+
				"exist", dir, e.Name())
		}
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
