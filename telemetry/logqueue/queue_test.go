package logqueue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a writer that can be shut, as a pipe is that nobody empties, or broken.
type gate struct {
	mu     sync.Mutex // held by a test while the gate is shut
	broken error      // guarded by mu
	text   bytes.Buffer
	writes int
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return 0, g.broken
	}
	g.writes++
	return g.text.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func asText(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
}

func closeIt(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Nothing waits for a writer that does not return. What was dropped is counted by kind, and reported
// once the writer takes lines again; what was queued is written in order.
func TestBlockedWriterDelaysNoCaller(t *testing.T) {
	g := &gate{}
	q := New(g, Config{Bytes: 8 << 10, Lines: 64})
	log := slog.New(q.Handler(asText)).With("from", "test")
	g.mu.Lock()
	log.Info("taken by the goroutine") // and perhaps still in the queue
	for i := range 1000 {
		log.Debug("debug", "n", i)
		log.Info("info", "n", i)
		log.Warn("warn", "n", i)
		log.Error("error", "n", i)
		if n, err := fmt.Fprintf(q, "text %d\n", i); n == 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lines not written") {
		t.Errorf("Close beside a blocked writer: %v", err)
	}
	g.mu.Unlock()
	closeIt(t, q)
	text := g.String()
	_, report, _ := strings.Cut(text, "msg=\"log lines dropped")
	report, _, more := strings.Cut(report, "\n")
	for k := range Kind(NumKinds) {
		written := strings.Count(text, "level="+strings.ToUpper(k.String())+" msg="+k.String())
		if k == Text {
			written = strings.Count(text, "text ")
		}
		if got := q.Dropped(k) + uint64(written); got != 1000 || q.Dropped(k) == 0 {
			t.Errorf("%s: %d written, %d dropped, want 1000 in all", k, written, q.Dropped(k))
		}
		if want := fmt.Sprintf(" %s=%d", k, q.Dropped(k)); !strings.Contains(report, want) {
			t.Errorf("the report lacks %q: %s", want, report)
		}
		last := -1
		for _, line := range strings.Split(text, "\n") {
			var n int
			if _, err := fmt.Sscanf(line[strings.LastIndex(line, " ")+1:], "n=%d", &n); err == nil &&
				strings.Contains(line, "msg="+k.String()) {
				if n <= last {
					t.Errorf("%s %d follows %d", k, n, last)
				}
				last = n
			}
		}
	}
	if e, w, i := q.Dropped(Error), q.Dropped(Warn), q.Dropped(Info); e >= w || w >= i {
		t.Errorf("dropped: %d errors, %d warnings, %d information", e, w, i)
	}
	if !more || !strings.Contains(report, "since=") || strings.Contains(report, "write_failed") ||
		strings.Count(text, "log lines dropped") != 1 {
		t.Errorf("the report is %q", report)
	}
	log.Error("after the end")
	if !strings.Contains(text, "from=test") || g.String() != text {
		t.Error("attributes are lost, or a line was written after Close")
	}
}

// A writer that is slow but not blocked, under permanent load: the loss is reported about once a
// second, and not only when the load ends.
func TestPermanentLossIsReportedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out gate
		slow := writer(func(p []byte) (int, error) {
			time.Sleep(100 * time.Millisecond)
			return out.Write(p)
		})
		q := New(slow, Config{Bytes: 16 << 10, Lines: 64})
		log := slog.New(q.Handler(asText))
		for range 10_000 {
			log.Info(strings.Repeat("x", 400))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := strings.Count(out.String(), "log lines dropped"); n < 7 || n > 12 {
			t.Errorf("%d reports in 10 s", n)
		}
		before := q.Dropped(Info)
		time.Sleep(time.Minute)
		closeIt(t, q)
		sum := uint64(0)
		for _, line := range strings.Split(out.String(), "\n") {
			if _, n, ok := strings.Cut(line, " info="); ok {
				var one uint64
				if _, err := fmt.Sscan(n, &one); err != nil {
					t.Fatal(err)
				}
				sum += one
			}
		}
		if sum != before || sum == 0 {
			t.Errorf("reported %d, dropped %d", sum, before)
		}
	})
}

// writer is a function as an io.Writer.
type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Lines whose write fails are counted, and reported when writing works again.
func TestFailedWritesAreReported(t *testing.T) {
	g := &gate{broken: errors.New("no space left on device")}
	tried := make(chan struct{}, 2) // a line, and a report of its loss
	q := New(writer(func(p []byte) (int, error) {
		defer func() {
			select {
			case tried <- struct{}{}:
			default:
			}
		}()
		return g.Write(p)
	}), Config{})
	log := slog.New(q.Handler(func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }))
	log.Info("one")
	<-tried
	<-tried
	g.mu.Lock()
	g.broken = nil
	g.mu.Unlock()
	log.Info("two")
	closeIt(t, q)
	lines := strings.Split(strings.TrimSpace(g.String()), "\n")
	// The report is the second line, unless the goroutine tried it once more before "two" came.
	at := slices.IndexFunc(lines, func(line string) bool { return !strings.Contains(line, `"two"`) })
	if at < 0 {
		t.Fatalf("no report of the loss:\n%s", g)
	}
	var report struct {
		Level       string
		WriteFailed int `json:"write_failed"`
		Since       time.Time
	}
	if err := json.Unmarshal([]byte(lines[at]), &report); err != nil || len(lines) != 2 ||
		report.WriteFailed != 1 || report.Level != "WARN" || time.Since(report.Since) > time.Minute {
		t.Errorf("%v\n%s", err, g)
	}
}

// Of a write that ends early, the lines that were written whole are not lost.
func TestPartlyWrittenLinesAreCounted(t *testing.T) {
	taken, hold := make(chan struct{}), make(chan struct{})
	q := New(writer(func(p []byte) (int, error) {
		if string(p) == "one\n" {
			close(taken)
			<-hold // until all lines are queued
		}
		if !strings.HasPrefix(string(p), "two") {
			return len(p), nil
		}
		return len("two\nthree\nfo"), errors.New("no space left on device")
	}), Config{})
	fmt.Fprintln(q, "one")
	<-taken
	for _, line := range []string{"two", "three", "four", "five"} {
		fmt.Fprintln(q, line)
	}
	close(hold)
	closeIt(t, q)
	if q.Failed() != 2 {
		t.Errorf("%d lines failed, want 2", q.Failed())
	}
}

// A line that the queue has no room for even when it is empty is reported too.
func TestTooLongLineIsReported(t *testing.T) {
	g := &gate{}
	q := New(g, Config{Bytes: 1 << 10})
	if _, err := q.Write(make([]byte, 600)); err != nil {
		t.Fatal(err)
	}
	closeIt(t, q)
	if !strings.Contains(g.String(), "log lines dropped") || !strings.Contains(g.String(), "text=1") {
		t.Errorf("%q", g)
	}
}

// After a line that found no room, shorter ones of its kind are dropped too, until the queue is
// taken; other kinds are not.
func TestQueueStaysShutForAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out gate
		read := make(chan struct{})
		q := New(writer(func(p []byte) (int, error) {
			<-read
			return out.Write(p)
		}), Config{Bytes: 1 << 10})
		log := slog.New(q.Handler(asText))
		log.Error("first")
		synctest.Wait() // for the write of it
		log.Info(strings.Repeat("x", 600))
		log.Info("short")
		log.Warn("another kind")
		close(read)
		closeIt(t, q)
		if text := out.String(); strings.Contains(text, "short") || !strings.Contains(text, "another kind") {
			t.Error(text)
		}
	})
}

// The values of a line are those of the call, also if they are changed afterwards; the lines of a
// burst share writes.
func TestLinesKeepTheirValues(t *testing.T) {
	g := &gate{}
	q := New(g, Config{})
	log := slog.New(q.Handler(asText)).WithGroup("all")
	value := []string{"first"}
	g.mu.Lock()
	for range 50 {
		log.Info("line", "value", value)
	}
	value[0] = "second"
	g.mu.Unlock()
	closeIt(t, q)
	if n := strings.Count(g.String(), "all.value=[first]"); n != 50 || g.writes > 10 {
		t.Errorf("%d lines in %d writes:\n%s", n, g.writes, g)
	}
}

// Any number of goroutines may log and close.
func TestConcurrentUse(t *testing.T) {
	g := &gate{}
	q := New(g, Config{Bytes: 4 << 10})
	log := slog.New(q.Handler(asText))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 500 {
				log.Info("line", "n", i)
			}
		})
	}
	all.Go(func() { closeIt(t, q) })
	all.Wait()
	closeIt(t, q)
	if n := strings.Count(g.String(), "msg=line"); uint64(n)+q.Dropped(Info) != 2000 {
		t.Errorf("%d lines written, %d dropped", n, q.Dropped(Info))
	}
}
