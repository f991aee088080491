package flight

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start records with a clock that the test moves.
func start(t *testing.T, c Config) (r *Recorder, clock *time.Time) {
	t.Helper()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c.Dir, c.Now = filepath.Join(t.TempDir(), "traces"), func() time.Time { return at }
	c.Log = slog.New(slog.DiscardHandler)
	r, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r, &at
}

func saved(t *testing.T, r *Recorder) []string {
	t.Helper()
	r.saving.Wait()
	all, err := filepath.Glob(filepath.Join(r.cfg.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSlowResponseIsSaved(t *testing.T) {
	r, clock := start(t, Config{Slow: 50 * time.Millisecond, Keep: 2, Every: time.Minute})
	r.Look("answer", 50*time.Millisecond)
	if got := saved(t, r); len(got) != 0 {
		t.Fatalf("saved %v although nothing was slower than the limit", got)
	}
	r.Look("answer", 51*time.Millisecond)
	first := saved(t, r)
	if len(first) != 1 || filepath.Base(first[0]) != "flight-000001-20261123T120000.000Z-answer.trace" {
		t.Fatalf("saved %v", first)
	}
	text, err := os.ReadFile(first[0])
	if err != nil || !bytes.HasPrefix(text, []byte("go 1.")) {
		t.Fatalf("not a trace: %q..., %v", text[:min(len(text), 16)], err)
	}
	*clock = clock.Add(59 * time.Second)
	r.Look("gate", time.Hour)
	if got := saved(t, r); len(got) != 1 {
		t.Fatalf("saved a second one within a minute: %v", got)
	}
	for range 3 {
		*clock = clock.Add(time.Minute)
		r.Look("gate", time.Hour)
		r.saving.Wait()
	}
	got := saved(t, r)
	if len(got) != 2 || !strings.Contains(got[0], "120259") || !strings.Contains(got[1], "120359") {
		t.Fatalf("want the newest two, have %v", got)
	}
}

// A clock that was set back makes new recordings look old. They are kept all the same, and the first
// ones go, including those without a number.
func TestNewRecordingsAreKeptAfterTheClockWasSetBack(t *testing.T) {
	r, clock := start(t, Config{Slow: time.Millisecond, Keep: 2})
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	former := filepath.Join(r.cfg.Dir, "flight-20271123T120000.000Z-answer.trace")
	if err := os.WriteFile(former, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		*clock = clock.Add(-24 * time.Hour)
		r.mu.Lock()
		r.last = time.Time{} // the interval between recordings is measured by the monotonic clock
		r.mu.Unlock()
		if _, err := r.Save("gate"); err != nil {
			t.Fatal(err)
		}
	}
	got := saved(t, r)
	if len(got) != 2 || filepath.Base(got[0]) != "flight-000002-20261121T120000.000Z-gate.trace" ||
		filepath.Base(got[1]) != "flight-000003-20261120T120000.000Z-gate.trace" {
		t.Errorf("kept %v", got)
	}
}

func TestLongRecordingIsDiscarded(t *testing.T) {
	r, _ := start(t, Config{Slow: 1, Bytes: 1})
	if _, err := r.Save("now"); !errors.Is(err, errLong) {
		t.Fatalf("error %v", err)
	}
	if got := saved(t, r); len(got) != 0 {
		t.Fatalf("left %v behind", got)
	}
	if _, err := r.Save("now"); !errors.Is(err, ErrBusy) {
		t.Fatalf("a second one at once: %v", err)
	}
}

func TestOneRecorderPerProcess(t *testing.T) {
	start(t, Config{})
	if r, err := Start(Config{Dir: t.TempDir()}); err == nil {
		_ = r.Close(t.Context()) // it is a failure anyway
		t.Fatal("a second recorder started")
	}
}

// A slow reader gets a recording, and others get theirs meanwhile.
func TestRecordingsInParallel(t *testing.T) {
	r, _ := start(t, Config{Slow: 1})
	reader, writer := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		_, err := r.WriteTo(writer)
		slow <- errors.Join(err, writer.Close())
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(reader, head); err != nil || string(head) != "go 1." {
		t.Fatalf("%q, %v", head, err)
	}
	var other bytes.Buffer
	if n, err := r.WriteTo(&other); err != nil || n == 0 || n != int64(other.Len()) ||
		!bytes.HasPrefix(other.Bytes(), head) {
		t.Errorf("beside a slow reader: %d B, %v", n, err)
	}
	if _, err := r.Save("now"); err != nil {
		t.Errorf("beside a slow reader: %v", err)
	}
	if _, err := io.Copy(io.Discard, reader); err != nil {
		t.Error(err)
	}
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestCloseDoesNotWaitForHungDisk(t *testing.T) {
	r, _ := start(t, Config{})
	if !r.begin() { // a recording is under way, and stays so
		t.Fatal("no turn")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), r.cfg.Dir) {
		t.Errorf("closed: %v", err)
	}
	r.end()
}
