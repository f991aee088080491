package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/actors/node/inspect"
	"sluice/durability"
	"sluice/durability/journal"
)

// Backup copies a data directory to target, which must not exist, and verifies the copy. A node may run
// on it: every request of which a client received the response before Backup began is in the copy. See
// journal.Backup. target gets its name once everything is on disk; after an error nothing is left.
//
// Of a member of a cluster, what that member has acknowledged is in the copy. The result then counts records of
// its journal, not events. A new cluster is made from the copy, see cluster.InitFrom.
func Backup(ctx context.Context, dataDir, target string) (c journal.Copied, err error) {
	target = filepath.Clean(target)
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
	if errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("node: the directory %s does not exist; create it, or name another place: %w",
			filepath.Dir(target), err)
	}
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
// an error nothing that it made is left.
//
// A node that is opened on it continues after the last event of the backup. What clients were told about
// later events no longer holds.
func Restore(ctx context.Context, backup, dataDir string) (c journal.Copied, err error) {
	if err := checkBackup(backup); err != nil {
		return c, err
	}
	dataDir = filepath.Clean(dataDir)
	if err := journal.Outside(backup, dataDir); err != nil {
		return c, err
	}
	if err := empty(dataDir); err != nil {
		return c, err
	}
	if err := outside(dataDir); err != nil {
		return c, err
	}
	created, err := makeFolders(dataDir)
	if err == nil {
		c, err = restoreTo(ctx, backup, dataDir)
	}
	if err != nil {
		for _, path := range created {
			err = errors.Join(err, remove(path))
		}
	}
	return c, err
}

// restoreTo restores to an empty directory, within a folder whose name tells that the restore has not
// ended. The journal leaves it last, so that a directory in which anything is missing is not opened.
func restoreTo(ctx context.Context, backup, dataDir string) (c journal.Copied, err error) {
	partial, err := os.MkdirTemp(dataDir, journalFolder+".partial-*")
	if err != nil {
		return c, fmt.Errorf("node: restore: %w", err)
	}
	made := filepath.Join(partial, journalFolder)
	c, err = journal.Restore(ctx, filepath.Join(backup, journalFolder), made, journal.Identity{})
	if err == nil {
		err = finishRestore(backup, dataDir, made, c)
	}
	if err != nil {
		return c, errors.Join(err, os.RemoveAll(partial))
	}
	return c, errors.Join(os.Remove(partial), syncDirectory(dataDir))
}

// finishRestore makes a data directory from a journal that was restored as made. After an error nothing
// is left beside that.
func finishRestore(backup, dataDir, made string, c journal.Copied) error {
	path := filepath.Join(dataDir, journalFolder)
	err := copyBeside(backup, dataDir, c)
	if err == nil {
		if err = os.Rename(made, path); err == nil {
			err = syncDirectory(dataDir)
		}
	}
	if err == nil {
		return nil
	}
	err = errors.Join(err, os.RemoveAll(path))
	for _, name := range []string{genesisFile, skipsFile, genesisFile + ".tmp", skipsFile + ".tmp"} {
		err = errors.Join(err, remove(filepath.Join(dataDir, name)))
	}
	return err
}

// notMember returns an error if dir is the data directory of a member of a cluster, with what that means
// and what to do.
func notMember(dir, why, remedy string) error {
	member, err := inspect.IsMember(dir)
	if err == nil && member {
		err = fmt.Errorf("node: %s is the data directory of a member of a cluster, and %s: %s", dir, why, remedy)
	}
	return err
}

// checkBackup returns an error if dir has no journal or no genesis.
func checkBackup(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("node: the backup %s does not exist; name a directory that a backup made: %w", dir, err)
	case err != nil:
		return fmt.Errorf("node: backup: %w", err)
	case !info.IsDir():
		return fmt.Errorf("node: %s is not a directory; name a directory that a backup made", dir)
	}
	if err := notMember(dir, "it is not restored as a single node", "sluice cluster restore makes a new "+
		"cluster from a backup of it"); err != nil {
		return err
	}
	if err := checkParts(dir, false); err != nil {
		return err
	}
	path := filepath.Join(dir, journalFolder)
	if exists, err := journal.Exists(path); err != nil || !exists {
		return errors.Join(err, fmt.Errorf("node: %s is not a backup, because there is no journal in %s; name a "+
			"directory that a backup made", dir, path))
	}
	if _, err := os.Lstat(filepath.Join(dir, genesisFile)); err != nil {
		return fmt.Errorf("node: a file is missing; this backup is damaged: use another one: %w", err)
	}
	return nil
}

// unfinished returns an error if dir, which has no journal, is what an interrupted backup or restore left.
func unfinished(dir string) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("node: data directory: %w", err)
	}
	if is, _ := filepath.Match("*.partial-[0-9]*", filepath.Base(path)); is {
		return fmt.Errorf("node: %s is what a backup that did not end left; remove it, and take the backup "+
			"again", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node: data directory: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), journalFolder+".partial-") {
			return fmt.Errorf("node: %s has %s of a restore that did not end; empty the directory and restore "+
				"again", dir, e.Name())
		}
	}
	return nil
}

// makeFolders creates path and the directories above it, and returns those that it created, the innermost
// first.
func makeFolders(path string) (created []string, err error) {
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
			break
		}
		created = append(created, at)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return created, fmt.Errorf("node: creating the data directory: %w", err)
	}
	return created, nil
}

// copyBeside copies the files beside a journal and ties them to the directory of its copy. The genesis is
// last: without it a backup is not restored. The list of skipped events may name some that came after the
// copy.
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
	if err := copyMember(from, to); err != nil {
		return err
	}
	owned := journal.AppendOwned(nil, c.Directory, genesis)
	if err := writeDurably(filepath.Join(to, genesisFile), owned); err != nil {
		return fmt.Errorf("node: writing the snapshot of the empty application: %w", err)
	}
	return nil
}

// copyMember copies the files that say which member of which cluster a directory is. A single node has none.
func copyMember(from, to string) error {
	for _, name := range []string{inspect.MembersFile, inspect.MembershipFile} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = writeDurably(filepath.Join(to, name), text)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("node: copying the membership: %w", err)
		}
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
