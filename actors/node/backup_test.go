package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/actors/node/inspect"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/transport"
)

// The files beside the journal belong to the restored directory, and the list of skipped events names none
// that came after the backup.
func TestRestoredDirectoryIsAnotherOne(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	owner, err := journal.Inspect(filepath.Join(cfg.DataDir, journalFolder))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSkips(cfg.DataDir, owner.Directory, []durability.Seq{2, owner.Last + 1}); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "backup")
	c, err := Backup(context.Background(), cfg.DataDir, target)
	if err != nil || c.Last != owner.Last || c.Directory != owner.Directory {
		t.Fatalf("%+v, %v", c, err)
	}
	if skips, err := inspect.ReadSkips(target, c.Directory); err != nil || !slices.Equal(skips, []durability.Seq{2}) {
		t.Errorf("skips %v, %v", skips, err)
	}
	volume := t.TempDir() // a mounted volume, which is empty
	if err := os.Mkdir(filepath.Join(volume, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	made, err := Restore(context.Background(), target, volume)
	if err != nil || made.Directory == owner.Directory || made.Source != owner.Directory {
		t.Fatalf("%+v, %v", made, err)
	}
	if skips, err := inspect.ReadSkips(volume, made.Directory); err != nil || !slices.Equal(skips, []durability.Seq{2}) {
		t.Errorf("skips %v, %v", skips, err)
	}
	was := cfg.DataDir
	cfg.DataDir = volume
	s, _ := serve(t, cfg)
	if got := bookOf(s).Seq(); got < uint64(owner.Last) {
		t.Errorf("the restored node is at event %d, the backup at %d", got, owner.Last)
	}
	drain(t, s)

	// Files of the two are not mixed.
	for _, name := range []string{genesisFile, skipsFile} {
		text, err := os.ReadFile(filepath.Join(was, name))
		if err != nil {
			t.Fatal(err)
		}
		mine, err := os.ReadFile(filepath.Join(volume, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(volume, name), string(text))
		if _, err := Open(context.Background(), cfg); !errors.Is(err, journal.ErrForeign) {
			t.Errorf("opened with %s of the other one: %v", name, err)
		}
		write(t, filepath.Join(volume, name), string(mine))
	}
}

// A backup without the genesis is not restored, and a failed restore leaves the directory empty.
func TestBackupWithoutGenesis(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	place := t.TempDir()
	target, dir := filepath.Join(place, "backup"), filepath.Join(place, "data")
	if _, err := Backup(context.Background(), cfg.DataDir, target); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{genesisFile, journalFolder} {
		if err := os.RemoveAll(filepath.Join(target, lost)); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(context.Background(), target, dir); err == nil {
			t.Errorf("restored without %s", lost)
		}
		if left, err := os.ReadDir(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without %s, a failed restore leaves %v, %v", lost, left, err)
		}
		if _, err := inspect.Open(target, nobody{}); err == nil {
			t.Errorf("without %s, it is verified", lost)
		}
	}
	if err := os.Remove(filepath.Join(cfg.DataDir, genesisFile)); err != nil {
		t.Fatal(err)
	}
	target = filepath.Join(place, "another")
	if _, err := Backup(context.Background(), cfg.DataDir, target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a backup without the genesis: %v", err)
	}
	if left, err := filepath.Glob(target + "*"); err != nil || len(left) > 0 {
		t.Errorf("a failed backup leaves %v, %v", left, err)
	}
}

// Nothing is made within a data directory or a backup, and nothing is left there.
func TestCopiesStayOutsideOfOthers(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	other := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, other)
	place, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	backup := filepath.Join(place, "backup")
	if _, err := Backup(context.Background(), cfg.DataDir, backup); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(backup, journalFolder), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{backup, cfg.DataDir, other.DataDir} {
		before, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{filepath.Join(dir, "x"), filepath.Join(dir, "new", "x"),
			filepath.Join(dir, journalFolder, "x"), filepath.Join(link, "x")} {
			if _, err := Backup(context.Background(), cfg.DataDir, target); err == nil ||
				!strings.Contains(err.Error(), target+" is within ") {
				t.Errorf("backup to %s: %v", target, err)
			}
			if _, err := Restore(context.Background(), backup, target); err == nil ||
				!strings.Contains(err.Error(), target+" is within ") {
				t.Errorf("restore to %s: %v", target, err)
			}
		}
		if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
			t.Errorf("%s has %d entries, it had %d: %v", dir, len(after), len(before), err)
		}
	}
	if _, err := Restore(context.Background(), backup, cfg.DataDir); err == nil ||
		!strings.Contains(err.Error(), "is not empty") {
		t.Errorf("restore to a data directory: %v", err)
	}
}
