package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/durability"
)

// backedUp takes a backup and checks that what it says is what it has.
func backedUp(t *testing.T, dir string) (target string, c Copied) {
	t.Helper()
	target = filepath.Join(t.TempDir(), "backup")
	c, err := Backup(t.Context(), dir, target)
	if err != nil {
		t.Fatal(err)
	}
	log, err := Inspect(target)
	if err != nil {
		t.Fatal(err)
	}
	if log.First != c.First || log.Last != c.Last || log.Torn != "" || log.Directory != c.Directory {
		t.Fatalf("the backup has events %d to %d, torn %q, and says %+v", log.First, log.Last, log.Torn, c)
	}
	return target, c
}

func restored(t *testing.T, backup string) (dir string, c Copied) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "restored")
	c, err := Restore(t.Context(), backup, dir, Identity{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

// checkRestored opens a directory that was restored, and continues it.
func checkRestored(t *testing.T, dir string, snapshot, last durability.Seq) *Recovery {
	t.Helper()
	j, r := mustOpen(t, dir)
	defer mustClose(t, j)
	checkRecovery(t, r, snapshot, last)
	if r.Interrupted || len(r.Notes) > 0 {
		t.Fatalf("%+v, want an orderly end", r)
	}
	if next := commit(t, j.Writer(), 3); next != last+3 {
		t.Fatalf("the next events end at %d, want %d", next, last+3)
	}
	return r
}

// Backups are taken while events are committed, segments begin, and snapshots remove segments. Each
// must hold what was committed before it began.
func TestBackupsOfBusyJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 1)
	var persisted atomic.Uint64
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			persisted.Store(uint64(commit(t, j.Writer(), 1+n%40)))
			if n%7 == 0 {
				install(t, j, j.Writer().Persisted())
			}
		}
	})
	defer writing.Wait()
	defer sync.OnceFunc(func() { close(stop) })()
	var log Identity
	var purged bool
	for range 30 {
		before := durability.Seq(persisted.Load())
		backup, c := backedUp(t, dir)
		if c.Last < before {
			t.Fatalf("the backup ends at event %d, and %d was committed before", c.Last, before)
		}
		purged = purged || c.First > 1
		again, made := restored(t, backup)
		if made.Directory == c.Directory || made.Log == c.Log || made.Log == log || made.Last != c.Last ||
			made.First != c.First || made.Snapshot != c.Snapshot || !made.Taken.Equal(c.Taken) {
			t.Fatalf("restored %+v from %+v", made, c)
		}
		log = made.Log
		if r := checkRestored(t, again, c.Snapshot, c.Last); r.Incarnation != 2+restoredAhead {
			t.Fatalf("incarnation %d", r.Incarnation)
		}
	}
	if !purged {
		t.Error("no segment was removed: the test is meant to meet that")
	}
}

// afterChunk is a context that is asked after each chunk that was copied.
type afterChunk struct {
	context.Context
	do func()
}

func (c afterChunk) Err() error { c.do(); return nil }

// A write that is under way may be copied with its pages in any order, even so that a later one is
// there and an earlier one is not. It is copied again.
func TestBackupCopiesAWriteUnderWayAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 5)
	last := commit(t, j.Writer(), 5)
	mustClose(t, j)
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err != nil {
		t.Fatal(err)
	}
	found, err := scan(segments, nil)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "backup")
	s, err := stage(target)
	if err != nil {
		t.Fatal(err)
	}
	b := &backup{source: &directory{path: dir}, to: &s.directory}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	defer b.close()
	newest := segments[0].path
	whole, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	hole := clone(whole)
	for i := 600; i < 1000; i++ { // within the records, and intact ones follow
		hole[i] = 0
	}
	if err := os.WriteFile(newest, hole, privateFile); err != nil {
		t.Fatal(err)
	}
	if _, err := scan(segments, nil); !errors.Is(err, ErrCorrupt) || found.end < 1100 {
		t.Fatalf("%v, records end at %d: the test is meant to make a hole", err, found.end)
	}
	goesOn := sync.OnceFunc(func() {
		if err := os.WriteFile(newest, whole, privateFile); err != nil {
			t.Error(err)
		}
	})
	b.ctx = afterChunk{t.Context(), goesOn}
	head, err := b.source.readFormat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.copyLog(head)
	if err != nil || got.last != last {
		t.Fatalf("copied up to event %d, %v, want %d", got.last, err, last)
	}
}

// The remains of an unfinished write are left out, as a start does.
func TestBackupAfterPowerLoss(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	last := commit(t, j.Writer(), 5)
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err != nil {
		t.Fatal(err)
	}
	end := j.writer.tailBytes
	commit(t, j.Writer(), 5)
	j.writer.log.SetUnsafeNoFsync()
	_ = j.writer.log.Close() // without an end mark
	if err := j.dir.unlock(); err != nil {
		t.Fatal(err)
	}
	found, err := scan(segments, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(segments[0].path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 512), (found.end-512)/512*512)
		err = errors.Join(err, f.Close())
	}
	if err != nil || end >= found.end {
		t.Fatal(err, end, found.end)
	}
	backup, c := backedUp(t, dir)
	if c.Last != last {
		t.Fatalf("the last event is %d, want %d", c.Last, last)
	}
	again, _ := restored(t, backup)
	checkRestored(t, again, 0, last)
}

func TestBackupRefusesDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string, segments []segment){
		"an older segment": func(t *testing.T, _ string, segments []segment) { flip(t, segments[0].path, 700) },
		"the first record of the newest one": func(t *testing.T, _ string, segments []segment) {
			flip(t, segments[len(segments)-1].path, 300)
		},
		"the newest one": func(t *testing.T, _ string, segments []segment) { flip(t, segments[len(segments)-1].path, 700) },
		"a missing segment": func(t *testing.T, _ string, segments []segment) {
			remove(t, segments[1].path)
		},
		"a missing last segment": func(t *testing.T, _ string, segments []segment) {
			remove(t, segments[len(segments)-1].path)
		},
		"a cut segment": func(t *testing.T, _ string, segments []segment) {
			if err := os.Truncate(segments[len(segments)-1].path, 8<<10); err != nil {
				t.Fatal(err)
			}
		},
		"the end mark": func(t *testing.T, dir string, _ []segment) { flip(t, filepath.Join(dir, incarnationFile), 40) },
		"the format":   func(t *testing.T, dir string, _ []segment) { flip(t, filepath.Join(dir, formatFile), 40) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			j, _ := mustOpen(t, dir)
			for range 12 {
				commit(t, j.Writer(), 15)
			}
			mustClose(t, j)
			segments, err := listSegments(filepath.Join(dir, walFolder))
			if err != nil || len(segments) < 3 {
				t.Fatal(len(segments), err)
			}
			damage(t, dir, segments)
			target := filepath.Join(t.TempDir(), "backup")
			_, err = Backup(t.Context(), dir, target)
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), dir) ||
				strings.Contains(err.Error(), "partial") {
				t.Errorf("%v, want damage with the place in %s", err, dir)
			}
			nothingIn(t, filepath.Dir(target))
		})
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		text[at] ^= 1
		err = os.WriteFile(path, text, privateFile)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Every way in which a backup is not whole is noticed before anything is restored.
func TestRestoreRefusesAnIncompleteBackup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	for range 12 {
		commit(t, j.Writer(), 15)
	}
	install(t, j, j.Writer().Persisted())
	commit(t, j.Writer(), 200)
	mustClose(t, j)
	_, c := backedUp(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || c.Snapshot == 0 {
		t.Fatal(c, err)
	}
	files = append(files, filepath.Join(dir, formatFile), filepath.Join(dir, incarnationFile), filepath.Join(dir, backupFile))
	for _, path := range files {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		backup, _ := backedUp(t, dir)
		remove(t, filepath.Join(backup, name))
		target := filepath.Join(t.TempDir(), "restored")
		if _, err := Restore(t.Context(), backup, target, Identity{}); err == nil {
			t.Errorf("restored without %s", name)
		}
		nothingIn(t, filepath.Dir(target))
	}
}

func TestBackupIsNotOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 5)
	mustClose(t, j)
	backup, _ := backedUp(t, dir)
	before := listing(t, backup)
	if _, _, err := Open(testOptions(backup)); !errors.Is(err, ErrBackup) {
		t.Errorf("Open: %v", err)
	}
	if _, err := Lock(backup); !errors.Is(err, ErrBackup) {
		t.Errorf("Lock: %v", err)
	}
	if _, err := Backup(t.Context(), backup, filepath.Join(t.TempDir(), "b")); !errors.Is(err, ErrBackup) {
		t.Errorf("Backup: %v", err)
	}
	if after := listing(t, backup); after != before {
		t.Errorf("it was changed:\n%s\n%s", before, after)
	}
	if _, err := Restore(t.Context(), dir, filepath.Join(t.TempDir(), "r"), Identity{}); err == nil ||
		!strings.Contains(err.Error(), "not a complete backup") {
		t.Errorf("Restore of a journal that is no backup: %v", err)
	}
}

func TestPlacesOfBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 5)
	mustClose(t, j)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		t.TempDir():                               "exists already",
		filepath.Join(dir, "backup"):              "is within",
		filepath.Join(link, "wal", "backup"):      "is within",
		filepath.Join(t.TempDir(), "not", "here"): "no such file",
	} {
		if _, err := Backup(t.Context(), dir, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	target := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(ended, dir, target); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled backup: %v", err)
	}
	nothingIn(t, filepath.Dir(target))
	backup, c := backedUp(t, dir)
	target = filepath.Join(t.TempDir(), "restored")
	if _, err := Restore(ended, backup, target, Identity{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled restore: %v", err)
	}
	nothingIn(t, filepath.Dir(target))
	if _, err := Restore(t.Context(), backup, filepath.Join(backup, "r"), Identity{}); err == nil {
		t.Error("restored into the backup")
	}
	made, err := Restore(t.Context(), backup, target, c.Log)
	if err != nil || made.Log != c.Log || made.Directory == c.Directory {
		t.Errorf("a named log: %+v, %v", made, err)
	}
}
