package auditfile

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeIt(t *testing.T, f *File) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}

// read returns the objects of a file.
func read(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, one)
	}
	return all
}

// Lines are JSON objects with a time in UTC, what, and their fields, and nothing else. A second opening
// appends; the mode is 0600.
func TestLinesAreAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	for range 2 {
		f := open(t, path)
		f.Logger().Info("login", "name", "desk4")
		f.Logger().Warn("kick")
		closeIt(t, f)
	}
	all := read(t, path)
	if len(all) != 4 || len(all[0]) != 3 || all[0]["what"] != "login" || all[0]["name"] != "desk4" ||
		len(all[3]) != 2 || all[3]["what"] != "kick" {
		t.Errorf("%v", all)
	}
	at, err := time.Parse(time.RFC3339Nano, all[0]["time"].(string))
	if err != nil || at.Location() != time.UTC || time.Since(at) > time.Hour {
		t.Errorf("time %v, %v", at, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// After a rotation, Reopen makes a new file, and no line is lost or torn. Without one it changes nothing. If
// the name cannot be opened, the file before stays in use.
func TestReopenAfterRotation(t *testing.T) {
	dir := t.TempDir()
	path, rotated := filepath.Join(dir, "audit"), filepath.Join(dir, "audit.1")
	f := open(t, path)
	const each = 500
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range each {
			f.Logger().Info("login")
		}
	}()
	if err := os.Rename(path, rotated); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Reopen of a directory: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Reopen(); err != nil {
			t.Error(err)
		}
	}
	<-done
	f.Logger().Warn("kick")
	closeIt(t, f)
	before, after := read(t, rotated), read(t, path)
	if len(before)+len(after) != each+1 || f.Dropped() != 0 || after[len(after)-1]["what"] != "kick" {
		t.Errorf("%d and %d lines, %d dropped", len(before), len(after), f.Dropped())
	}
}

// A write under way is not a torn line for a Reopen without a rotation. The kernel shows the size of a file page
// by page, so a write of many pages is met in its middle.
func TestReopenBesideAWriteAddsNoLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := open(t, path)
	line := append([]byte(strings.Repeat("x", 1<<20)), '\n')
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 50 {
			if _, err := f.Write(line); err != nil {
				t.Error(err)
			}
		}
	}()
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
			if err := f.Reopen(); err != nil {
				t.Error(err)
			}
		}
	}
	closeIt(t, f)
	text, err := os.ReadFile(path)
	if err != nil || len(text) != 50*len(line) || strings.Contains(string(text), "\n\n") {
		t.Errorf("%d bytes, want %d: %v", len(text), 50*len(line), err)
	}
}

// Reopen returns no error of the file before, because the new one is in use. The log has it.
func TestReopenWhenTheFileBeforeFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	var log strings.Builder // the queue writes nothing until Reopen has returned, and nothing fails then
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil || !strings.Contains(log.String(), "before the rotation cannot be synced") {
		t.Errorf("Reopen: %v, log %q", err, &log)
	}
	f.Logger().Info("login")
	closeIt(t, f)
	if all := read(t, path); len(all) != 1 || f.Failed() != 0 {
		t.Errorf("%d lines, %d failed", len(all), f.Failed())
	}
}

// A line that a crash has torn is closed, so that the next one is whole.
func TestTornLineIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	if err := os.WriteFile(path, []byte(`{"time":"20`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	f.Logger().Info("login")
	closeIt(t, f)
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "{\"time\":\"20\n{\"time\":\"") ||
		strings.Count(string(text), "\n") != 2 {
		t.Errorf("%q, %v", text, err)
	}
}

// What cannot be written is counted, and the count is a line as soon as the file can be written again. The
// program's log has the error once, and its end.
func TestFullDiskIsCounted(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this machine has no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "audit")
	var log strings.Builder // written by the queue's goroutine until Close
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	good := f.file
	f.file = full
	f.mu.Unlock()
	const lost = 3
	began := time.Now()
	for n := range uint64(lost) {
		f.Logger().Info("login")
		for tick := time.NewTicker(time.Millisecond); f.Failed() != n+1; <-tick.C {
			if time.Since(began) > time.Minute {
				t.Fatalf("%d lines failed, want %d", f.Failed(), n+1)
			}
		}
	}
	f.mu.Lock()
	f.file = good
	f.mu.Unlock()
	f.Logger().Warn("kick")
	closeIt(t, f)
	full.Close()
	all := read(t, path)
	report := slices.IndexFunc(all, func(line map[string]any) bool { return line["what"] == "lines lost" })
	if len(all) != 2 || report < 0 || all[report]["write_failed"] != float64(lost) || all[1-report]["what"] != "kick" {
		t.Errorf("%v", all) // the report is tried again before or after the line
	}
	text := log.String()
	if strings.Count(text, "cannot be written") != 1 || strings.Count(text, "can be written again") != 1 ||
		!strings.Contains(text, "no space left") {
		t.Errorf("%s", text)
	}
}

// A write that does not return delays no caller, and operators have room when clients have used up theirs.
func TestHungDiskDelaysNoCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := open(t, path)
	f.mu.Lock() // as a write does that does not return
	for range lines {
		f.Logger().Info("login", "name", strings.Repeat("x", 40))
	}
	before := f.Dropped()
	f.Logger().Warn("kick")
	if before == 0 || f.Dropped() != before {
		t.Errorf("%d lines dropped, then %d", before, f.Dropped())
	}
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := f.queue.Close(short); err == nil {
		t.Error("Close beside a write that hangs returned nil")
	}
	f.mu.Unlock()
	closeIt(t, f)
	all := read(t, path)
	lost, kicks := 0.0, 0
	for _, one := range all {
		switch one["what"] {
		case "lines lost":
			lost += one["info"].(float64)
		case "kick":
			kicks++
		}
	}
	if lost != float64(before) || kicks != 1 {
		t.Errorf("the file has %v lost lines, want %d, and %d lines of an operator", lost, before, kicks)
	}
}

// What Open would reject, Check rejects, and makes nothing.
func TestCheckMakesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit")
	if err := Check(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("Check made the file")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{"other users may write": path,
		"not a directory":    filepath.Join(dir, "x", "y"),
		"not a regular file": dir} {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if f, err := Open(path, quiet()); err == nil {
			t.Errorf("%s was opened", path)
			closeIt(t, f)
		}
	}
}

// An error of a file that was exchanged meanwhile is not one of its successor.
func TestErrorOfTheFormerFileIsNotLogged(t *testing.T) {
	var log strings.Builder // the queue is idle: only this goroutine writes
	f, err := Open(filepath.Join(t.TempDir(), "audit"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f.judge(nil, syscall.EIO)
	if log.Len() > 0 {
		t.Errorf("%s", &log)
	}
	if f.judge(f.file, syscall.EIO); !strings.Contains(log.String(), "cannot be written") {
		t.Errorf("an error of the file in use is not logged: %q", &log)
	}
	closeIt(t, f)
}
