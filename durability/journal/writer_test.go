package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"

	"sluice/durability"
)

// failingLog forwards calls until armed; then Save calls the function of its field.
type failingLog struct {
	appendLog
	save  func() error
	calls []string
}

func (f *failingLog) Save(st *raftpb.HardState, e []*raftpb.Entry) error {
	f.calls = append(f.calls, "save")
	if f.save != nil {
		return f.save()
	}
	return f.appendLog.Save(st, e)
}

func (f *failingLog) SetUnsafeNoFsync() {
	f.calls = append(f.calls, "no sync")
	f.appendLog.SetUnsafeNoFsync()
}

// intercept puts a failingLog between writer and log.
func intercept(j *Journal) *failingLog {
	f := &failingLog{appendLog: j.writer.log}
	j.writer.log = f
	return f
}

func TestFailurePoisonsPermanently(t *testing.T) {
	lg := quietLogger(slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		name string
		fail func() error
		text string
	}{
		{"a failed sync", func() error { return syscall.EIO }, "input/output error"},
		{"a full disk",
			func() error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} },
			"is full: free space"},
		{"a panic in the log", func() error { panic("slice bounds") }, "slice bounds"},
		{"an error that the log treats as fatal for the process",
			func() error { lg.Fatal("cannot parse name"); return nil }, "cannot parse name"},
		{"an error the log panics about", func() error { lg.Panic("cannot close"); return nil },
			"cannot close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, dir)
			w := j.Writer()
			commit(t, w, 2)
			log := intercept(j)
			log.save = c.fail
			w.Append([]byte("lost"))
			last, first := w.Commit()
			if last != 2 || !errors.Is(first, ErrPoisoned) ||
				!strings.Contains(first.Error(), c.text) || !strings.Contains(first.Error(), dir) {
				t.Fatalf("Commit: %d, %v", last, first)
			}
			log.save = func() error { return nil } // the disk works again, which must not matter
			_, appendErr := w.Append([]byte("more"))
			last, commitErr := w.Commit()
			installErr := w.Install(&Snapshot{seq: 1})
			if last != 2 || appendErr != first || commitErr != first || installErr != first {
				t.Fatalf("after the failure: %d, %v, %v, %v; want the first error each time", last,
					appendErr, commitErr, installErr)
			}
			mustClose(t, j)
			if got := strings.Join(log.calls, ","); got != "save,no sync" {
				t.Fatalf("calls %q: a failed write or sync must not be followed by another", got)
			}
			j, r := mustOpen(t, dir)
			checkEvents(t, r.Events(), 1, 2)
			mustClose(t, j)
		})
	}
}

// syncs returns the number of file syncs from the log's own metric.
func syncs(t *testing.T) uint64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("the log has no metric of its syncs any more")
	return 0
}

func TestEachCommitSyncsExactlyOnce(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	w := j.Writer()
	commit(t, w, 1)
	for n := range 5 {
		before := syncs(t)
		commit(t, w, n)
		want := uint64(1)
		if n == 0 {
			want = 0 // an empty batch writes nothing
		}
		if got := syncs(t) - before; got != want {
			t.Fatalf("%d syncs for a commit of %d events, want %d", got, n, want)
		}
	}
}

func TestCommittedEventsAreInTheFile(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	defer mustClose(t, j)
	for n := 1; n < 60; n++ { // several segments
		last := commit(t, j.Writer(), n%7+1)
		log, err := Inspect(dir)
		if err != nil || log.Last != last || log.Torn != "" {
			t.Fatalf("a second reader sees event %v (%v) after Commit returned %d", log, err, last)
		}
	}
}

// mountSmallDisk mounts a small tmpfs, or skips the test with the reason.
func mountSmallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("needs to mount a small tmpfs to fill it, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	disk := mountSmallDisk(t, 512<<10)
	dir := filepath.Join(disk, "journal")
	j, _ := mustOpen(t, dir)
	w := j.Writer()
	var acknowledged durability.Seq
	var failure error
	for failure == nil && acknowledged < 100_000 {
		if _, failure = w.Append(payloadOf(w.Persisted() + 1)); failure == nil {
			var last durability.Seq
			if last, failure = w.Commit(); failure == nil {
				acknowledged = last
			}
		}
	}
	if !errors.Is(failure, ErrPoisoned) || !errors.Is(failure, syscall.ENOSPC) ||
		!strings.Contains(failure.Error(), dir+" is full") {
		t.Fatalf("after %d events: %v; want a poisoned journal that names the full disk",
			acknowledged, failure)
	}
	var poison *PoisonError
	if !errors.As(failure, &poison) || poison.Persisted != acknowledged || acknowledged < 100 {
		t.Fatalf("%+v: want %d events persisted, and at least 100", poison, acknowledged)
	}
	if _, err := w.Commit(); err != failure {
		t.Fatalf("second Commit: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if full, r, err := Open(testOptions(dir)); err == nil { // there may be enough room to open; then nothing is missing
		if r.Last < acknowledged {
			t.Fatalf("last event %d, acknowledged %d", r.Last, acknowledged)
		}
		if err := full.Close(); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Open on the full disk: %v, want ENOSPC or success", err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT,
		fmt.Sprintf("size=%d", 4<<20)); err != nil {
		t.Fatalf("enlarging the disk: %v", err)
	}
	j, r := mustOpen(t, dir)
	if r.Last < acknowledged || r.Last > acknowledged+1 {
		t.Fatalf("last event %d, acknowledged %d", r.Last, acknowledged)
	}
	checkEvents(t, r.Events(), 1, r.Last)
	commit(t, j.Writer(), 10)
	mustClose(t, j)
}

// A signal that interrupts the sync of a commit or of a rollover ends nothing.
func TestInterruptedSyncIsRepeated(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	w := j.Writer()
	var last durability.Seq
	interrupted := 0
	for range 60 { // several segments
		log := &interruptedLog{appendLog: w.log, left: 2, count: &interrupted}
		w.log = log
		last = commit(t, w, 15)
		if w.log == log {
			w.log = log.appendLog
		}
	}
	w.log = &interruptedLog{appendLog: w.log, left: 2, count: &interrupted}
	mustClose(t, j)
	if interrupted < 120 {
		t.Fatalf("%d syncs were interrupted", interrupted)
	}
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err != nil || len(segments) < 3 {
		t.Fatal(len(segments), err)
	}
	j, r := mustOpen(t, dir)
	defer mustClose(t, j)
	if r.Interrupted || len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
	checkEvents(t, r.Events(), 1, last)
}

// interruptedLog is a log whose next syncs are interrupted by a signal.
type interruptedLog struct {
	appendLog
	left  int
	count *int
}

func (l *interruptedLog) interrupts() bool {
	l.left--
	if l.left >= 0 {
		*l.count++
	}
	return l.left >= 0
}

func (l *interruptedLog) Save(st *raftpb.HardState, e []*raftpb.Entry) error {
	if err := l.appendLog.Save(st, e); err != nil || !l.interrupts() {
		return err
	}
	return syscall.EINTR
}

func (l *interruptedLog) Sync() error {
	if l.interrupts() {
		return syscall.EINTR
	}
	return l.appendLog.Sync()
}

func (l *interruptedLog) Close() error {
	if l.interrupts() {
		return syscall.EINTR
	}
	return l.appendLog.Close()
}
