package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/durability"
)

func stateOf(seq durability.Seq) string { return fmt.Sprintf("state after event %d", seq) }

func takeSnapshot(t testing.TB, j *Journal, seq durability.Seq) *Snapshot {
	t.Helper()
	s, err := j.PrepareSnapshot(seq, func(out io.Writer) error {
		_, err := io.WriteString(out, stateOf(seq))
		return err
	})
	if err != nil {
		t.Fatalf("PrepareSnapshot: %v", err)
	}
	return s
}

func install(t testing.TB, j *Journal, seq durability.Seq) {
	t.Helper()
	if err := j.Writer().Install(takeSnapshot(t, j, seq)); err != nil {
		t.Fatalf("Install: %v", err)
	}
}

// checkRecovery requires the snapshot's state and exactly the events after it.
func checkRecovery(t testing.TB, r *Recovery, snapshot, last durability.Seq) {
	t.Helper()
	if r.SnapshotSeq != snapshot || r.Last != last {
		t.Fatalf("snapshot %d and last event %d, want %d and %d (%v)", r.SnapshotSeq, r.Last,
			snapshot, last, r.Notes)
	}
	var state []byte
	if err := r.Restore(readAll(&state)); err != nil {
		t.Fatal(err)
	}
	if snapshot != 0 && string(state) != stateOf(snapshot) {
		t.Fatalf("restored %q, want %q", state, stateOf(snapshot))
	}
	checkEvents(t, r.Events(), snapshot+1, last)
}

func TestSnapshotAtEveryEventOfABatch(t *testing.T) {
	for seq := durability.Seq(1); seq <= 12; seq++ { // batches 1-4, 5-8, 9-12
		dir := t.TempDir()
		j, _ := mustOpen(t, dir)
		for range 3 {
			commit(t, j.Writer(), 4)
		}
		install(t, j, seq)
		mustClose(t, j)
		j, r := mustOpen(t, dir)
		checkRecovery(t, r, seq, 12)
		commit(t, j.Writer(), 4)
		mustClose(t, j)
		j, r = mustOpen(t, dir)
		checkRecovery(t, r, seq, 16)
		mustClose(t, j)
	}
}

func TestSnapshotsOfTwoIncarnationsWithoutEventBetween(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 10)
	install(t, j, 8)
	mustClose(t, j)
	for seq := durability.Seq(9); seq <= 10; seq++ {
		j, r := mustOpen(t, dir)
		checkRecovery(t, r, seq-1, 10)
		install(t, j, seq)
		mustClose(t, j)
	}
	j, r := mustOpen(t, dir)
	checkRecovery(t, r, 10, 10)
	commit(t, j.Writer(), 3)
	install(t, j, 12)
	mustClose(t, j)
	j, r = mustOpen(t, dir)
	checkRecovery(t, r, 12, 13)
	mustClose(t, j)
}

func TestSnapshotsBoundTheLog(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	var last, newest durability.Seq
	most := 0
	for round := range 40 {
		for range 10 {
			last = commit(t, j.Writer(), 8)
		}
		newest = last - durability.Seq(round%50) // mostly inside a batch, sometimes several batches back
		install(t, j, newest)
		segments, err := listSegments(j.dir.wal())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(segments))
		snapshots, err := listSnapshots(j.dir.snap())
		if err != nil || len(snapshots) > snapshotsKept {
			t.Fatalf("%d snapshots, %v", len(snapshots), err)
		}
		if round%7 == 6 { // including restarts
			mustClose(t, j)
			var r *Recovery
			j, r = mustOpen(t, dir)
			checkRecovery(t, r, newest, last)
		}
	}
	// Two rounds of 80 events of 400 bytes on average take about 4 segments, the first and last of
	// which they share.
	if most > 7 {
		t.Errorf("up to %d segments of 16 KiB for two rounds of 32 kB", most)
	}
	log, err := Inspect(dir)
	if err != nil || log.First == 1 || log.Last != last {
		t.Fatalf("%+v, %v: old events must be gone", log, err)
	}
	checkEvents(t, log.Events(), log.First, last)
	mustClose(t, j)
}

// journalWithSnapshots returns a journal of many segments whose oldest ones were removed.
func journalWithSnapshots(t *testing.T) (dir string, snapshots []snapshotFile, last durability.Seq) {
	t.Helper()
	dir = t.TempDir()
	j, _ := mustOpen(t, dir)
	for range 4 {
		for range 20 {
			last = commit(t, j.Writer(), 7)
		}
		install(t, j, last-3)
	}
	last = commit(t, j.Writer(), 7)
	snapshots, err := listSnapshots(j.dir.snap())
	if err != nil || len(snapshots) != 2 {
		t.Fatalf("%v, %v", snapshots, err)
	}
	mustClose(t, j)
	return dir, snapshots, last
}

func damage(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedSnapshotFallsBackToPreviousOne(t *testing.T) {
	for _, c := range []struct {
		name string
		how  func([]byte) []byte
	}{
		{"a changed byte of state", func(b []byte) []byte { b[3] ^= 1; return b }},
		{"a changed byte of the trailer", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }},
		{"cut short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"cut to less than a trailer", func(b []byte) []byte { return b[:5] }},
		{"empty", func([]byte) []byte { return nil }},
		{"longer", func(b []byte) []byte { return append(b, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, snapshots, last := journalWithSnapshots(t)
			damage(t, snapshots[0].path, c.how)
			j, r := mustOpen(t, dir)
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], snapshots[0].path) {
				t.Errorf("notes %q, want one that names the file", r.Notes)
			}
			checkRecovery(t, r, snapshots[1].seq, last)
			// The damaged snapshot is not one of the two kept: install two more, each with the log
			// after it.
			install(t, j, last)
			mustClose(t, j)
			damage(t, snapshotPath(filepath.Join(dir, snapFolder), last), c.how)
			j, r = mustOpen(t, dir)
			checkRecovery(t, r, snapshots[1].seq, last)
			mustClose(t, j)
		})
	}
}

func TestNoIntactSnapshotIsAnErrorAfterPurge(t *testing.T) {
	dir, snapshots, _ := journalWithSnapshots(t)
	for _, s := range snapshots {
		damage(t, s.path, func(b []byte) []byte { b[0] ^= 1; return b })
	}
	_, _, err := Open(testOptions(dir))
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "no intact snapshot reaches") {
		t.Fatalf("Open: %v", err)
	}
	if _, err := os.Stat(snapshots[0].path); err != nil {
		t.Errorf("an Open that fails must change nothing: %v", err)
	}
}

func TestDamagedFirstSnapshotFallsBackToWholeLog(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	for range 40 {
		commit(t, j.Writer(), 5)
	}
	install(t, j, 150)
	mustClose(t, j)
	damage(t, snapshotPath(filepath.Join(dir, snapFolder), 150),
		func(b []byte) []byte { b[0] ^= 1; return b })
	j, r := mustOpen(t, dir)
	checkRecovery(t, r, 0, 200)
	mustClose(t, j)
}

func TestInstallRejectsOlderAndUnpersistedSnapshots(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	w := j.Writer()
	commit(t, w, 5)
	install(t, j, 4)
	older := takeSnapshot(t, j, 3)
	if err := w.Install(older); err != nil {
		t.Fatal(err)
	}
	if left, _ := listSnapshots(j.dir.snap()); len(left) != 1 || left[0].seq != 4 {
		t.Errorf("%v: an older snapshot must not be installed over a newer", left)
	}
	if _, err := os.Stat(older.temporary); !os.IsNotExist(err) {
		t.Errorf("the older one's file is still there: %v", err)
	}
	if _, err := j.PrepareSnapshot(0, nil); err == nil {
		t.Error("a snapshot of no events was accepted")
	}
	broken := errors.New("application refused")
	_, err := j.PrepareSnapshot(5, func(io.Writer) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the application's", err)
	}
	if left, _ := filepath.Glob(filepath.Join(j.dir.snap(), "*.tmp")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	ahead := takeSnapshot(t, j, 6)
	defer func() {
		if r := recover(); r == nil ||
			!strings.Contains(fmt.Sprint(r), "snapshot of event 6, but only 5") {
			t.Errorf("panic %v, want one with both numbers", r)
		}
	}()
	_ = w.Install(ahead)
}
