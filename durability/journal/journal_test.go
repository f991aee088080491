package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/durability"
)

// testSegmentBytes is the segment size of all tests: the underlying log keeps it in a package
// variable.
const testSegmentBytes = 16 << 10

func testOptions(dir string) Options { return Options{Dir: dir, SegmentBytes: testSegmentBytes} }

func mustOpen(t testing.TB, dir string) (*Journal, *Recovery) {
	t.Helper()
	j, r, err := Open(testOptions(dir))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return j, r
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// payloadOf is the payload of event seq in every test, so that it can be checked without keeping
// it. The lengths vary from 0 to about 1.5 sectors, and no byte is zero.
func payloadOf(seq durability.Seq) []byte {
	p := make([]byte, int(uint64(seq)*2654435761%800))
	for i := range p {
		p[i] = byte(uint64(seq)*31+uint64(i)*7)%255 + 1
	}
	if len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(seq)|1<<63|1<<32)
	}
	return p
}

// commit appends and commits n events in one batch.
func commit(t testing.TB, w *Writer, n int) durability.Seq {
	t.Helper()
	for range n {
		if _, err := w.Append(payloadOf(w.Persisted() + durability.Seq(w.count) + 1)); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
	last, err := w.Commit()
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return last
}

// checkEvents requires exactly the events from..to with their payloads.
func checkEvents(t testing.TB, events func(func(Event, error) bool), from, to durability.Seq) {
	t.Helper()
	next := from
	for e, err := range events {
		if err != nil {
			t.Fatalf("event %d: %v", next, err)
		}
		if e.Seq != next {
			t.Fatalf("event %d, want %d", e.Seq, next)
		}
		if !bytes.Equal(e.Payload, payloadOf(e.Seq)) {
			t.Fatalf("event %d has a changed payload", e.Seq)
		}
		next++
	}
	if next != to+1 {
		t.Fatalf("events end at %d, want %d", next-1, to)
	}
}

func TestReopenContinuesNumbersAndIncarnations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	var want durability.Seq
	for incarnation := uint64(1); incarnation <= 4; incarnation++ {
		j, r := mustOpen(t, dir)
		if r.Incarnation != incarnation || r.Last != want || len(r.Notes) != 0 {
			t.Fatalf("recovery %+v, want incarnation %d and last event %d, no notes", r,
				incarnation, want)
		}
		checkEvents(t, r.Events(), 1, want)
		for n := range 20 { // 20 batches of 0 to 19 events: several segments
			want = commit(t, j.Writer(), n)
		}
		if _, err := j.Writer().Append([]byte("never committed")); err != nil {
			t.Fatal(err)
		}
		mustClose(t, j)
	}
	log, err := Inspect(dir)
	if err != nil || log.First != 1 || log.Last != want || log.Torn != "" {
		t.Fatalf("Inspect: %+v, %v; want events 1 to %d", log, err, want)
	}
	checkEvents(t, log.Events(), 1, want)
	if len(log.segments) < 3 {
		t.Fatalf("%d segments: the test is meant to cross some", len(log.segments))
	}
}

func TestIncarnationIsOnDiskBeforeOpenReturns(t *testing.T) {
	dir := t.TempDir()
	for want := uint64(1); want <= 3; want++ {
		j, r := mustOpen(t, dir)
		onDisk, err := j.dir.readIncarnation()
		if err != nil || onDisk.number != want || r.Incarnation != want {
			t.Fatalf("on disk %v, returned %d, want %d (%v)", onDisk, r.Incarnation, want, err)
		}
		mustClose(t, j) // without a single event in between
	}
}

func TestOpenRejectsInvalidFiles(t *testing.T) {
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rewrite := func(change func(*incarnation)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			d := &directory{path: dir}
			i := must(d.readIncarnation())(t)
			change(&i)
			if err := d.writeIncarnation(i); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, string)
		is     error
		text   string
	}{
		{"a newer format", write(formatFile, "sluice journal 3\n"), ErrNewerFormat, "has format 3, this program reads format 2"},
		{"an older format", write(formatFile, "sluice journal 1\n"), ErrOlderFormat,
			"a program built from revision efff271 reads it"},
		{"a format file without identities", write(formatFile, "sluice journal 2\n"), ErrCorrupt,
			"not a format line"},
		{"a format file that is something else", write(formatFile, "hello"), ErrCorrupt, `"hello"`},
		{"a missing format file beside a log with events", remove(formatFile), ErrCorrupt, "FORMAT"},
		{"a missing log, which would begin at 1 again", remove(walFolder), ErrCorrupt,
			"the log is missing"},
		{"a missing incarnation, which would repeat connection ids", remove(incarnationFile),
			ErrCorrupt, "connection ids would repeat"},
		{"an older incarnation", rewrite(func(i *incarnation) { i.number = 0 }), ErrCorrupt, "it says 0"},
		{"a damaged incarnation", write(incarnationFile, "7 16384 00000000\n"), ErrCorrupt,
			"not an incarnation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, dir)
			commit(t, j.Writer(), 3)
			mustClose(t, j)
			c.change(t, dir)
			_, _, err := Open(testOptions(dir))
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) ||
				!strings.Contains(err.Error(), dir) {
				t.Fatalf("error %v; want %v, %q and the directory", err, c.is, c.text)
			}
		})
	}
}

func TestOpenRejectsForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(testOptions(dir)); err == nil ||
		!strings.Contains(err.Error(), `"thesis.tex"`) {
		t.Fatalf("error %v, want one that names thesis.tex", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("the directory was changed: %v", entries)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, _, err := Open(Options{}); err == nil || !strings.Contains(err.Error(), "Options.Dir") {
		t.Errorf("empty directory: %v", err)
	}
	if _, _, err := Open(Options{Dir: t.TempDir(), SegmentBytes: 100}); err == nil ||
		!strings.Contains(err.Error(), "4096") {
		t.Errorf("tiny segments: %v", err)
	}
}

func TestSecondServerIsRejected(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	_, _, err := Open(testOptions(dir))
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) ||
		!strings.Contains(err.Error(), "process ") {
		t.Fatalf("error %v, want ErrLocked with the directory and the process", err)
	}
	if _, err := Inspect(dir); err != nil {
		t.Fatalf("Inspect of a running journal: %v", err)
	}
	mustClose(t, j)
	j, r := mustOpen(t, dir)
	if r.Incarnation != 2 {
		t.Errorf("incarnation %d: the rejected attempt must not count", r.Incarnation)
	}
	mustClose(t, j)
}

// A server whose LOCK file was removed keeps the files it prepared: the second server is rejected
// before it removes any.
func TestSecondServerWithoutLockFileRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	prepared := func() (names []string) {
		names, err := filepath.Glob(filepath.Join(dir, walFolder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	var before []string // including the next segment, which the log prepares on a goroutine of its own
	for deadline := time.Now().Add(20 * time.Second); len(before) < 2; before = prepared() {
		if time.Now().After(deadline) {
			t.Fatalf("no segment is prepared: %v", before)
		}
		runtime.Gosched()
	}
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(testOptions(dir))
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "LOCK is free") {
		t.Errorf("error %v, want ErrLocked that names the removed file", err)
	}
	if after := prepared(); !slices.Equal(after, before) {
		t.Errorf("the rejected start left %v of %v", after, before)
	}
	if _, err := j.Writer().Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	j.Writer().looked = time.Time{}
	if last, err := j.Writer().Commit(); last != 0 || !errors.Is(err, ErrMoved) {
		t.Errorf("a server without its LOCK commits event %d: %v", last, err)
	}
	mustClose(t, j)
}

func TestCrashDuringTheFirstOpen(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	mustClose(t, j)
	for _, name := range []string{formatFile, incarnationFile, snapFolder} { // in reverse order of creation
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		j, r := mustOpen(t, dir)
		if r.Last != 0 {
			t.Fatalf("last event %d in a new journal", r.Last)
		}
		mustClose(t, j)
		if err := os.RemoveAll(filepath.Join(dir, formatFile)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeftoverTemporaryFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 2)
	mustClose(t, j)
	stale := []string{filepath.Join(dir, walFolder, "0.tmp"),
		filepath.Join(dir, snapFolder, "0000000000000001-7.tmp")}
	for _, name := range stale {
		if err := os.WriteFile(name, bytes.Repeat([]byte("stale"), 4000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, _ = mustOpen(t, dir)
	if _, err := os.Stat(stale[1]); !os.IsNotExist(err) {
		t.Errorf("temporary snapshot is still there: %v", err)
	}
	var last durability.Seq
	for range 30 { // past the segment that gets the stale file's name
		last = commit(t, j.Writer(), 5)
		if log, err := Inspect(dir); err != nil || log.Last != last || log.Torn != "" {
			t.Fatalf("after event %d: %+v, %v", last, log, err)
		}
	}
	mustClose(t, j)
	j, r := mustOpen(t, dir)
	checkEvents(t, r.Events(), 1, last)
	mustClose(t, j)
}

func TestAppendRejectsTooLargePayload(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	w := j.Writer()
	if _, err := w.Append(make([]byte, MaxPayloadBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("error %v, want ErrTooLarge", err)
	}
	if seq, err := w.Append(make([]byte, MaxPayloadBytes)); err != nil || seq != 1 {
		t.Fatalf("event %d, %v; the rejected one must not count", seq, err)
	}
	if last, err := w.Commit(); err != nil || last != 1 {
		t.Fatalf("Commit: %d, %v", last, err)
	}
}

// readAll returns a restore function that keeps the bytes.
func readAll(to *[]byte) func(io.Reader) error {
	return func(in io.Reader) (err error) { *to, err = io.ReadAll(in); return err }
}
