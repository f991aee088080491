package journal

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/durability"
)

// killed copies the directory of an open journal, as a kill would leave it.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// eraseBehind clears the newest segment from the end of the record that holds event last on.
func eraseBehind(t *testing.T, dir string, last durability.Seq) {
	t.Helper()
	segments := must(listSegments(filepath.Join(dir, walFolder)))(t)
	s := &specimen{path: segments[len(segments)-1].path}
	s.measure(t)
	for i, seq := range s.last {
		if seq == last {
			clear(s.bytes[s.ends[i]:])
			if err := os.WriteFile(s.path, s.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("event %d is not the last of a record of %s", last, s.path)
}

// bothRefuse requires damage with that text from Open and Inspect.
func bothRefuse(t *testing.T, dir string, good durability.Seq, text string) {
	t.Helper()
	before := listing(t, dir)
	for name, open := range map[string]func() error{
		"Open":    func() error { _, _, err := Open(testOptions(dir)); return err },
		"Inspect": func() error { _, err := Inspect(dir); return err },
	} {
		err := open()
		var damage *CorruptError
		if !errors.As(err, &damage) || damage.Good != good || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v; want damage after event %d, %q", name, err, good, text)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("refused and changed:\n%s\nbefore:\n%s", after, before)
	}
}

// commitSegments commits until the log has that many segments, and returns the last event of the
// newest but one and of all.
func commitSegments(t *testing.T, j *Journal, n int) (before, last durability.Seq) {
	t.Helper()
	for {
		segments := must(listSegments(j.dir.wal()))(t)
		if len(segments) == n {
			return last, commit(t, j.Writer(), 2)
		}
		last = commit(t, j.Writer(), 2)
	}
}

func TestRemovedNewestSegmentIsRefused(t *testing.T) {
	for _, end := range []string{"killed", "closed"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, dir)
			before, _ := commitSegments(t, j, 3)
			left := killed(t, dir)
			mustClose(t, j)
			if end == "closed" {
				left = dir
			}
			segments := must(listSegments(filepath.Join(left, walFolder)))(t)
			if err := os.Remove(segments[2].path); err != nil {
				t.Fatal(err)
			}
			bothRefuse(t, left, before, "segment 2 existed when the end mark was written")
		})
	}
}

// Whatever replaces the end mark makes the loss of what is before it damage.
func TestLogThatEndsBeforeItsMarkIsRefused(t *testing.T) {
	for name, mark := range map[string]func(*testing.T, *Journal) string{
		"opening": func(t *testing.T, j *Journal) string {
			mustClose(t, j)
			j, _ = mustOpen(t, j.dir.path)
			defer mustClose(t, j)
			return killed(t, j.dir.path)
		},
		"snapshot": func(t *testing.T, j *Journal) string {
			install(t, j, 5)
			defer mustClose(t, j)
			return killed(t, j.dir.path)
		},
		"close": func(t *testing.T, j *Journal) string { mustClose(t, j); return j.dir.path },
		"poison": func(t *testing.T, j *Journal) string {
			intercept(j).save = func() error { return syscall.EIO }
			if _, err := j.Writer().Append([]byte("lost")); err != nil {
				t.Fatal(err)
			}
			if _, err := j.Writer().Commit(); !errors.Is(err, ErrPoisoned) {
				t.Fatal(err)
			}
			mustClose(t, j)
			return j.dir.path
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, _ := mustOpen(t, t.TempDir())
			commit(t, j.Writer(), 4)
			commit(t, j.Writer(), 4)
			commit(t, j.Writer(), 4)
			left := mark(t, j)
			copied := killed(t, left)
			j, r := mustOpen(t, copied)
			if r.Last != 12 || r.EndMark != 12 || r.Interrupted != (name != "close") || r.Notes != nil {
				t.Errorf("nothing lost: %+v", r)
			}
			mustClose(t, j)
			eraseBehind(t, left, 8)
			bothRefuse(t, left, 8,
				"the log ends here, but events up to 12 were on disk when the end mark was written")
		})
	}
}

// What is lost behind the mark looks as if it had never been written; Recovery says that it may have been.
func TestLossBehindMarkIsReported(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 4)
	install(t, j, 4)
	commit(t, j.Writer(), 4)
	commit(t, j.Writer(), 300)
	left := killed(t, dir)
	mustClose(t, j)
	torn := killed(t, left)
	eraseBehind(t, left, 8)
	j, r := mustOpen(t, left)
	if r.Last != 8 || r.EndMark != 4 || !r.Interrupted || r.Notes != nil {
		t.Errorf("a loss at the end of a record: %+v", r)
	}
	mustClose(t, j)

	segments := must(listSegments(filepath.Join(torn, walFolder)))(t)
	s := &specimen{path: segments[0].path}
	s.measure(t)
	clear(s.bytes[s.end()-sectorBytes:])
	if err := os.WriteFile(s.path, s.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	j, r = mustOpen(t, torn)
	if r.Last != 8 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0],
		"events up to 4 were on disk at the end mark") || !strings.Contains(r.Notes[0],
		"not known whether events after 8 were acknowledged") {
		t.Errorf("a torn write: %+v", r)
	}
	mustClose(t, j)
}

func TestIncarnationOlderThanLogIsRefused(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	commit(t, j.Writer(), 4)
	mustClose(t, j)
	old := must(os.ReadFile(j.dir.file(incarnationFile)))(t)
	j, _ = mustOpen(t, j.dir.path)
	commit(t, j.Writer(), 1)
	mustClose(t, j)
	if err := os.WriteFile(j.dir.file(incarnationFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	bothRefuse(t, j.dir.path, 5, "it says 1, but the log was written by incarnation 2")
	i := must(j.dir.readIncarnation())(t)
	i.number = 2
	if err := j.dir.writeIncarnation(i); err != nil {
		t.Fatal(err)
	}
	bothRefuse(t, j.dir.path, 5, "the file is older than the log")
}

// A mark that cannot be written is tried again at the next occasion; commits go on.
func TestUnwritableMarkOnlySaysLess(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	blocked := j.dir.file(incarnationFile + ".tmp")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	commitSegments(t, j, 2)
	if i := must(j.dir.readIncarnation())(t); i.segment != 0 {
		t.Fatalf("the mark was written: %v", i)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	_, last := commitSegments(t, j, 3)
	if i := must(j.dir.readIncarnation())(t); i.segment != 2 || i.last == 0 || i.last >= last {
		t.Fatalf("after event %d the mark is %v", last, i)
	}
	mustClose(t, j)
}

// A commit that may begin a segment, a snapshot and the end look at once where the directory is.
func TestMovedDirectoryPoisons(t *testing.T) {
	moves := map[string]func(dir string) error{
		"renamed": func(dir string) error { return os.Rename(dir, dir+".moved") },
		"removed": os.RemoveAll,
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".moved"), os.CopyFS(dir, os.DirFS(dir+".moved")))
		},
		"LOCK removed": func(dir string) error { return os.Remove(filepath.Join(dir, lockFile)) },
		"log replaced": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, walFolder), dir+".wal"),
				os.CopyFS(filepath.Join(dir, walFolder), os.DirFS(dir+".wal")))
		},
		"newest segment removed": func(dir string) error {
			segments, err := listSegments(filepath.Join(dir, walFolder))
			return errors.Join(err, os.Remove(segments[len(segments)-1].path))
		},
	}
	for name, move := range moves {
		for when, act := range map[string]func(*testing.T, *Journal) error{
			"rollover": func(t *testing.T, j *Journal) (err error) {
				for range 1000 {
					if _, err = j.Writer().Append(payloadOf(1)); err == nil {
						_, err = j.Writer().Commit()
					}
				}
				return err
			},
			"commit after a while": func(t *testing.T, j *Journal) error {
				j.Writer().looked = time.Now().Add(-lookEvery)
				_, err := j.Writer().Append(payloadOf(1))
				if err == nil {
					_, err = j.Writer().Commit()
				}
				return err
			},
			"end": func(_ *testing.T, j *Journal) error { return j.Close() },
		} {
			t.Run(name+"/"+when, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "journal")
				j, _ := mustOpen(t, dir)
				commit(t, j.Writer(), 2)
				awaitPrepared(t, dir)
				j.Writer().looked = time.Now().Add(time.Hour)
				if err := move(dir); err != nil {
					t.Fatal(err)
				}
				before := listingOrNone(t, dir)
				if err := act(t, j); !errors.Is(err, ErrMoved) || !errors.Is(err, ErrPoisoned) {
					t.Errorf("error %v, want ErrMoved and ErrPoisoned", err)
				}
				if strings.HasSuffix(name, "replaced") && when != "rollover" { // it may write to the file until then
					if after := listingOrNone(t, dir); after != before {
						t.Errorf("wrote to\n%s\nbefore\n%s", after, before)
					}
				}
				if when != "end" {
					mustClose(t, j)
				}
			})
		}
	}
}

// awaitPrepared waits for the next segment, which the log prepares on a goroutine of its own.
func awaitPrepared(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		info, err := os.Stat(filepath.Join(dir, walFolder, "0.tmp"))
		if err == nil && info.Size() == testSegmentBytes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no segment is prepared")
		}
	}
}

func listingOrNone(t *testing.T, dir string) string {
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return listing(t, dir)
}

// Nothing of a snapshot is put into a directory that took the place of the journal's.
func TestSnapshotOfMovedDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 2)
	ready := takeSnapshot(t, j, 2)
	awaitPrepared(t, dir) // or it would be prepared in the other directory
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	other, _ := mustOpen(t, dir)
	commit(t, other.Writer(), 3)
	awaitPrepared(t, dir)
	before := listing(t, dir)
	if _, err := j.PrepareSnapshot(2, nil); !errors.Is(err, ErrMoved) {
		t.Errorf("PrepareSnapshot: %v", err)
	}
	if err := j.Writer().Install(ready); !errors.Is(err, ErrMoved) || !errors.Is(err, ErrPoisoned) {
		t.Errorf("Install: %v", err)
	}
	mustClose(t, j)
	if after := listing(t, dir); after != before {
		t.Errorf("wrote to the directory of another server:\n%s\nbefore:\n%s", after, before)
	}
	commitSegments(t, other, 2)
	mustClose(t, other)
	j, r := mustOpen(t, killed(t, dir+".moved")) // the first one keeps its files until the process ends
	checkEvents(t, r.Events(), 1, 2)
	mustClose(t, j)
}
