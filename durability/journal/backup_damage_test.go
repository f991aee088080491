package journal

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Inspect accepts a backup exactly if Restore does.
func TestInspectOfABackupIsThatOfRestore(t *testing.T) {
	source := func() string {
		dir := filepath.Join(t.TempDir(), "journal")
		j, _ := mustOpen(t, dir)
		for n := range 36 {
			commit(t, j.Writer(), 15)
			if n == 11 || n == 23 {
				install(t, j, j.Writer().Persisted())
			}
		}
		mustClose(t, j)
		return dir
	}
	dir := source()
	other, _ := backedUp(t, source())
	first := func(t *testing.T, pattern string) string {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) < 2 {
			t.Fatal(paths, err)
		}
		return paths[0]
	}
	newest := func(t *testing.T, backup string) string {
		all, err := listSnapshots(filepath.Join(backup, snapFolder))
		if err != nil || len(all) != 2 {
			t.Fatal(all, err)
		}
		return all[0].path
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, backup string)
		want  string // in the error; empty if the backup can be restored
	}{
		"nothing":                     {func(*testing.T, string) {}, ""},
		"no oldest segment":           {func(t *testing.T, b string) { remove(t, first(t, filepath.Join(b, walFolder, "*"))) }, "use another one"},
		"the newest snapshot damaged": {func(t *testing.T, b string) { flip(t, newest(t, b), 30) }, ""},
		"no newest snapshot":          {func(t *testing.T, b string) { remove(t, newest(t, b)) }, "use another one"},
		"a segment damaged": {func(t *testing.T, b string) {
			flip(t, first(t, filepath.Join(b, walFolder, "*")), 700)
		}, "use another one"},
		"an empty manifest": {func(t *testing.T, b string) {
			if err := os.Truncate(filepath.Join(b, backupFile), 0); err != nil {
				t.Fatal(err)
			}
		}, "use another one"},
		"an edited manifest": {func(t *testing.T, b string) { flip(t, filepath.Join(b, backupFile), 40) }, "use another one"},
		"the manifest of another": {func(t *testing.T, b string) {
			text, err := os.ReadFile(filepath.Join(other, backupFile))
			if err == nil {
				err = os.WriteFile(filepath.Join(b, backupFile), text, privateFile)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "BACKUP belongs to"},
	} {
		t.Run(name, func(t *testing.T) {
			backup, made := backedUp(t, dir)
			c.spoil(t, backup)
			_, looked := Inspect(backup)
			target := filepath.Join(t.TempDir(), "restored")
			got, err := Restore(t.Context(), backup, target, Identity{})
			if c.want == "" {
				if err = errors.Join(err, looked); err != nil || got.Last != made.Last {
					t.Fatalf("%+v, %v; want events up to %d", got, err, made.Last)
				}
				checkRestored(t, target, got.Snapshot, made.Last)
				return
			}
			for _, err := range []error{looked, err} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			}
			nothingIn(t, filepath.Dir(target))
		})
	}
}

// Of a directory with one damaged small file, Inspect shows what the other files say.
func TestInspectShowsWhatADamagedFileDoesNotSay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	for range 3 {
		commit(t, j.Writer(), 15)
		install(t, j, j.Writer().Persisted())
	}
	mustClose(t, j)
	backup, _ := backedUp(t, dir)
	for _, damaged := range []struct{ dir, file string }{
		{backup, backupFile}, {backup, formatFile}, {backup, incarnationFile},
		{dir, formatFile}, {dir, incarnationFile},
	} {
		want, err := Inspect(damaged.dir)
		if err != nil {
			t.Fatal(err)
		}
		if damaged.file == incarnationFile { // it alone says this
			want.EndMark, want.Closed = 0, false
		}
		flip(t, filepath.Join(damaged.dir, damaged.file), 3)
		got, err := Inspect(damaged.dir)
		flip(t, filepath.Join(damaged.dir, damaged.file), 3)
		if !errors.Is(err, ErrCorrupt) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s damaged in %s: %v\n got %+v\nwant %+v", damaged.file, damaged.dir, err, got, want)
		}
	}
}
