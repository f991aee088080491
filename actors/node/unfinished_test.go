package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/sequencer"
	"sluice/transport"
)

// nobody is an application without words.
type nobody struct{}

func (nobody) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{{Tag: 0x10, Name: "add", Size: 1, Role: sequencer.RoleTrader}}
}

// looking is a context that calls do whenever it is asked.
type looking struct {
	context.Context
	do func()
}

func (c looking) Err() error { c.do(); return c.Context.Err() }

// A kill at any moment of a backup or a restore leaves a directory that is not opened, and not changed.
func TestUnfinishedCopiesAreNotOpened(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	place := t.TempDir()
	source, backup, restored := cfg.DataDir, filepath.Join(place, "backup"), filepath.Join(place, "restored")
	var killed []string
	kill := func() { // keeps what a kill would leave now
		for _, pattern := range []string{backup + ".partial-*", restored} {
			found, err := filepath.Glob(pattern)
			if err != nil {
				t.Error(err)
			}
			for _, dir := range found {
				killed = append(killed, filepath.Join(t.TempDir(), filepath.Base(dir)))
				if err := os.CopyFS(killed[len(killed)-1], os.DirFS(dir)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	ctx := looking{context.Background(), kill}
	if _, err := Backup(ctx, source, backup); err != nil {
		t.Fatal(err)
	}
	backups := len(killed)
	if _, err := Restore(ctx, backup, restored); err != nil {
		t.Fatal(err)
	}
	if backups == 0 || len(killed) == backups {
		t.Fatalf("%d and %d moments were kept", backups, len(killed)-backups)
	}
	partial := filepath.Join(t.TempDir(), "backup.partial-17") // before anything was copied
	early := t.TempDir()                                       // while the backup was verified
	late := t.TempDir()                                        // before the journal got its name
	if err := errors.Join(os.Mkdir(partial, 0o700), os.CopyFS(late, os.DirFS(restored)),
		os.Mkdir(filepath.Join(late, journalFolder+".partial-1"), 0o700),
		os.Rename(filepath.Join(late, journalFolder), filepath.Join(late, journalFolder+".partial-1", "journal")),
		os.Mkdir(filepath.Join(early, journalFolder+".partial-1"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(killed, partial, early, late) {
		before, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		cfg.DataDir = dir
		_, err = Open(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), "did not end") {
			t.Errorf("opened: %v", err)
		}
		if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
			t.Errorf("changed: %v, %v", after, err)
		}
		if _, err := Backup(context.Background(), dir, filepath.Join(place, "b")); err == nil {
			t.Errorf("a backup was taken of %s", dir)
		}
	}
}

// A refusal names the path and the remedy, and leaves nothing behind.
func TestRefusedCopiesNameTheRemedy(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	place := t.TempDir()
	file := filepath.Join(place, "file")
	write(t, file, "")
	slash := filepath.Join(place, "slash")
	if _, err := Backup(context.Background(), cfg.DataDir, slash+"/"); err != nil {
		t.Fatal(err)
	}
	torn := t.TempDir()
	if err := errors.Join(os.CopyFS(torn, os.DirFS(slash)), os.Remove(filepath.Join(torn, genesisFile))); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(place)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(place, "new", "data")
	for _, c := range []struct {
		restore     bool
		path, other string
		want        string
	}{
		{false, cfg.DataDir, filepath.Join(file, "x"), filepath.Join(file, "x") + " is a file; name another place"},
		{false, cfg.DataDir, filepath.Join(place, "none", "x"), filepath.Join(place, "none") + " does not exist; create it"},
		{false, cfg.DataDir, slash + "/", "exists already"},
		{true, filepath.Join(place, "none"), data, filepath.Join(place, "none") + " does not exist"},
		{true, file, data, file + " is not a directory"},
		{true, t.TempDir(), data, "there is no journal in"},
		{true, torn, data, "this backup is damaged: use another one"},
		{true, cfg.DataDir, data, "not a complete backup"},
		{true, slash, filepath.Join(file, "x"), "is a file; name another place"},
	} {
		do := Backup
		if c.restore {
			do = Restore
		}
		if _, err := do(context.Background(), c.path, c.other); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if after, err := os.ReadDir(place); err != nil || len(after) != len(before) {
			t.Errorf("%s: left behind: %v, %v", c.want, after, err)
		}
	}
}
