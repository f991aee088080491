package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fill leaves n bytes free on a small disk.
func fill(t *testing.T, disk string, n int64) {
	t.Helper()
	free, ok := freeBytes(disk)
	if !ok || free < n {
		t.Fatalf("%d bytes free, want at least %d", free, n)
	}
	if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, free-n), privateFile); err != nil {
		t.Fatal(err)
	}
	if free, _ = freeBytes(disk); free > n {
		t.Fatalf("%d bytes free, want %d", free, n)
	}
}

// A journal on a nearly full disk is not opened: the first rollover would end it.
func TestFullDiskIsNoticedBeforeTheFirstEvent(t *testing.T) {
	for _, withSnapshot := range []bool{false, true} {
		disk := mountSmallDisk(t, 1<<20)
		dir := filepath.Join(disk, "journal")
		j, _ := mustOpen(t, dir)
		last := commit(t, j.Writer(), 10)
		free := int64(testSegmentBytes - 4096)
		if withSnapshot {
			install(t, j, last)
			free = testSegmentBytes // and none for a snapshot
		}
		mustClose(t, j)
		fill(t, disk, free)
		_, _, err := Open(testOptions(dir))
		var space *SpaceError
		if !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) || space.Free != free || space.Needed <= free {
			t.Fatalf("snapshot %v: %v, %+v", withSnapshot, err, space)
		}
		for _, want := range []string{"needs at least 1", " KiB for the next segment", " KiB are free on its disk", "free space"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
		if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
			t.Fatal(err)
		}
		j, r := mustOpen(t, dir)
		if r.Last != last {
			t.Errorf("last event %d, want %d", r.Last, last)
		}
		mustClose(t, j)
	}
}

// A disk without a free byte is named as such, although not even the count of starts can be written.
func TestFullestDiskIsNamed(t *testing.T) {
	disk := mountSmallDisk(t, 1<<20)
	dir := filepath.Join(disk, "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 10)
	mustClose(t, j)
	fill(t, disk, 0)
	_, _, err := Open(testOptions(dir))
	var space *SpaceError
	if !errors.As(err, &space) || space.Free != 0 || space.Needed == 0 ||
		!strings.Contains(err.Error(), incarnationFile) {
		t.Fatalf("%v, %+v", err, space)
	}
}

// A snapshot that finds no room needs more than what found room, and leaves nothing.
func TestSnapshotOnAFullDisk(t *testing.T) {
	disk := mountSmallDisk(t, 1<<20)
	dir := filepath.Join(disk, "journal")
	j, _ := mustOpen(t, dir)
	last := commit(t, j.Writer(), 10)
	awaitPrepared(t, dir) // which takes room, too
	fill(t, disk, 0)
	_, err := j.PrepareSnapshot(last, func(w io.Writer) error { _, err := w.Write(make([]byte, 64<<10)); return err })
	var space *SpaceError
	if !errors.As(err, &space) || space.Free != 0 || space.Needed < 4<<10 {
		t.Errorf("%v, %+v", err, space)
	}
	nothingIn(t, j.dir.snap())
	mustClose(t, j)
}

// A backup and a restore whose target fills up leave nothing, and say how much they need.
func TestBackupToFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	for range 20 {
		commit(t, j.Writer(), 15)
	}
	mustClose(t, j)
	whole, _ := backedUp(t, dir)
	disk := mountSmallDisk(t, 64<<10)
	for name, do := range map[string]func(target string) error{
		"backup":  func(target string) error { _, err := Backup(t.Context(), dir, target); return err },
		"restore": func(target string) error { _, err := Restore(t.Context(), whole, target, Identity{}); return err },
	} {
		var space *SpaceError
		err := do(filepath.Join(disk, "target"))
		if !errors.As(err, &space) || space.Needed < 64<<10 || space.Free < 32<<10 {
			t.Errorf("%s: %v", name, err)
		}
		nothingIn(t, disk)
	}
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err != nil {
		t.Fatal(err)
	}
	s, err := stage(filepath.Join(disk, "half"))
	if err != nil {
		t.Fatal(err)
	}
	b := &backup{ctx: t.Context(), to: &s.directory}
	err = nil
	for _, segment := range segments {
		f, openErr := os.Open(segment.path)
		if openErr != nil {
			t.Fatal(openErr)
		}
		defer f.Close()
		if _, err = b.copyFile(f, filepath.Join(s.wal(), filepath.Base(segment.path)), 0); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "are free on its disk") {
		t.Errorf("a disk that fills up half-way: %v", err)
	}
	if err := s.discard(); err != nil {
		t.Error(err)
	}
	nothingIn(t, disk)
}
