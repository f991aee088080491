package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/telemetry"
	"sluice/transport"
)

// newest is the last event of the newest snapshot on disk; 0 if there is none.
func newest(t *testing.T, cfg *bookConfig) uint64 {
	t.Helper()
	log, err := journal.Inspect(filepath.Join(cfg.DataDir, journalFolder))
	if err != nil {
		t.Fatal(err)
	}
	if len(log.Snapshots) == 0 {
		return 0
	}
	return uint64(log.Snapshots[0].Seq)
}

// buy sends n orders from number first on, and waits for the responses.
func buy(t *testing.T, at []string, first, n uint64) {
	t.Helper()
	c := dial(t, "tcp", at[0])
	for id := first; id < first+n; id++ {
		c.command(order(1, id, orderbook.Buy, 100, 1))
		c.next()
		c.expect("end")
	}
}

// halt ends a node without a drain, so without a snapshot.
func halt(t *testing.T, s *bookNode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// The next start after a drain replays nothing.
func TestDrainTakesSnapshot(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		cfg := config(t.TempDir(), mode, &lines{})
		for run := uint64(0); run < 3; run++ {
			s, at := serve(t, cfg)
			if r := s.store.recovery; uint64(r.Last) != 5*run || r.SnapshotSeq != r.Last {
				t.Fatalf("run %d begins with snapshot %d of %d events", run, r.SnapshotSeq, r.Last)
			}
			buy(t, at, 1+5*run, 5)
			drain(t, s)
			if got := newest(t, &cfg); got != 5*run+5 {
				t.Errorf("run %d left a snapshot of event %d", run, got)
			}
		}
		s, _ := serve(t, cfg)
		drain(t, s)
		if got := newest(t, &cfg); got != 15 {
			t.Errorf("a run without events left a snapshot of event %d", got)
		}
		if got := s.store.snapshots.read().taken; got != 0 {
			t.Errorf("a run without events took %d snapshots", got)
		}
	})
}

// A drain takes one if the last one failed, even though no event came after it.
func TestDrainTakesSnapshotAfterFailedOne(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.SnapshotEvents = 3
	var refuses atomic.Bool
	s := serveFaulty(t, cfg, &faulty{refuse: func() error {
		if refuses.Load() {
			return errors.New("planted")
		}
		return nil
	}})
	refuses.Store(true)
	buy(t, s.Addresses(), 1, 3)
	until(t, "a failure", func() bool { return s.store.snapshots.read().failing > 0 })
	refuses.Store(false)
	drain(t, s)
	if got := newest(t, &cfg); got != uint64(s.sequencer.Sequenced()) {
		t.Errorf("a snapshot of event %d of %d", got, s.sequencer.Sequenced())
	}
}

// serveFaulty is serve with an application that a test spoils.
func serveFaulty(t *testing.T, cfg bookConfig, app *faulty) *bookNode {
	t.Helper()
	cfg.Application = app.factory()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Stop(ctx) // tests that care look at it themselves
	})
	return s
}

// A server that never reaches the threshold in one run, and ends without a drain, takes one too.
func TestEventsOfEarlierRunsCountForSnapshot(t *testing.T) {
	for what, limit := range map[string]func(*bookConfig){
		"events": func(c *bookConfig) { c.SnapshotEvents = 12 },
		"bytes": func(c *bookConfig) {
			one := sequencer.EventHeader + len(body(order(1, 1, orderbook.Buy, 100, 1)))
			c.SnapshotBytes = uint64(12 * one)
		},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			limit(&cfg)
			for run := uint64(0); run < 2; run++ {
				s, at := serve(t, cfg)
				buy(t, at, 1+5*run, 5)
				halt(t, s)
				if got := newest(t, &cfg); got != 0 {
					t.Fatalf("run %d left a snapshot of event %d", run, got)
				}
			}
			s, at := serve(t, cfg)
			buy(t, at, 11, 2)
			until(t, "a snapshot", func() bool { return newest(t, &cfg) == 12 })
			halt(t, s)
		})
	}
}

// After a replay of as many events, a snapshot is taken before the first request.
func TestLongReplayIsFollowedBySnapshot(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	s, at := serve(t, cfg)
	buy(t, at, 1, 9)
	halt(t, s)
	cfg.SnapshotEvents = 9
	s, _ = serve(t, cfg)
	until(t, "a snapshot", func() bool { return newest(t, &cfg) == 9 })
	halt(t, s)
}

// A snapshot that hangs at the end is given up after a quarter of the drain, with a warning and without
// an error: the journal has everything.
func TestDrainGivesUpHangingSnapshot(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		log, stuck := &lines{}, make(chan struct{})
		defer close(stuck)
		cfg := config(t.TempDir(), mode, log)
		var hangs atomic.Bool
		s := serveFaulty(t, cfg, &faulty{snapshot: func() {
			if hangs.Load() {
				<-stuck
			}
		}})
		buy(t, s.Addresses(), 1, 3)
		hangs.Store(true)
		const deadline = 8 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		began := time.Now()
		if err := s.Drain(ctx); err != nil {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > 3*deadline/4 {
			t.Errorf("a drain of %v took %v, want a quarter of that", deadline, took)
		}
		if !strings.Contains(log.String(), "snapshot at the end given up") {
			t.Errorf("no warning:\n%s", log)
		}
		n, _ := serve(t, cfg) // the lock is free
		if r := n.store.recovery; r.SnapshotSeq != 0 || r.Last != s.sequencer.Sequenced() || r.Interrupted {
			t.Errorf("recovered snapshot %d of %d events, interrupted %v", r.SnapshotSeq, r.Last,
				r.Interrupted)
		}
		halt(t, n)
	})
}

// A snapshot that is being written while a node stops costs it no error, even if it never ends.
func TestStopGivesUpHangingSnapshot(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, left := range []time.Duration{patience, 20 * time.Millisecond, -1} { // of the time for the end
		dir := t.TempDir()
		s, err := openStore(dir, false, Journal{}, log)
		if err != nil {
			t.Fatal(err)
		}
		s.grace = patience // the disk of a test may be slow
		close(s.committed)
		ctx, cancel := context.WithTimeout(context.Background(), left)
		if err := s.close(ctx, make(chan struct{})); err != nil {
			t.Errorf("%v left: error %v", left, err)
		}
		cancel()
		if s, err = openStore(dir, true, Journal{}, log); err != nil {
			t.Fatal(err)
		}
		if s.recovery.Interrupted {
			t.Error("the journal was not closed")
		}
		if err := s.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A snapshot that was given up is not installed once the journal is closed, which may be in use by
// another node.
func TestLateSnapshotIsDiscarded(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	s, at := serve(t, cfg)
	buy(t, at, 1, 1)
	prepared, err := s.store.journal.PrepareSnapshot(1, func(io.Writer) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	halt(t, s)
	if err := s.store.install(prepared); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, journalFolder, "snap", "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("files %v, %v", files, err)
	}
}

// The first failure is logged, then at most one a minute with the number of failures, and the end of
// them.
func TestFailingSnapshotsAreLoggedOnceAMinute(t *testing.T) {
	log := &lines{}
	r := newSnapshotRecord(slog.New(slog.NewTextHandler(log, nil)))
	now := time.Now()
	r.now = func() time.Time { return now }
	for range 180 {
		r.failed(errors.New("planted"))
		now = now.Add(time.Second)
	}
	for _, want := range []string{"failures=1 ", "failures=61 ", "failures=121 "} {
		if !strings.Contains(log.String(), "snapshot failed; journal keeps growing until one succeeds\" "+want) {
			t.Errorf("no line with %q", want)
		}
	}
	r.start(7)
	now = now.Add(time.Second)
	r.succeeded(7)
	if n := strings.Count(log.String(), "\n"); n != 4 || !strings.Contains(log.String(), "again\" failures=180") {
		t.Errorf("%d lines:\n%s", n, log)
	}
	r.failed(errors.New("planted")) // the first one of another time
	if n := strings.Count(log.String(), "\n"); n != 5 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	want := snapshotFigures{event: 7, since: now, duration: time.Second, taken: 1, failures: 181, failing: 1}
	if got := r.read(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Observers see the snapshots of a node, and the disk.
func TestSnapshotsAreMeasured(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.SnapshotEvents = 3
	var refuses atomic.Bool
	s := serveFaulty(t, cfg, &faulty{refuse: func() error {
		if refuses.Load() {
			return errors.New("planted")
		}
		return nil
	}})
	read := func() map[telemetry.GaugeID]float64 {
		out := map[telemetry.GaugeID]float64{}
		s.Collector().Gauges(func(g telemetry.Gauge, v float64) { out[g.ID] = v })
		return out
	}
	got := read()
	if got[telemetry.JournalSize] < float64(cfg.Journal.SegmentBytes) || got[telemetry.DiskFree] <= 0 {
		t.Errorf("size %v, free %v", got[telemetry.JournalSize], got[telemetry.DiskFree])
	}
	buy(t, s.Addresses(), 1, 3)
	until(t, "a snapshot", func() bool { return read()[telemetry.SnapshotsTaken] >= 1 })
	got = read()
	if event := got[telemetry.SnapshotLastEvent]; event < 3 || event > got[telemetry.JournalLastEvent] ||
		got[telemetry.SnapshotDuration] <= 0 || got[telemetry.SnapshotAge] < 0 {
		t.Errorf("%v", got)
	}
	refuses.Store(true)
	buy(t, s.Addresses(), 4, 3)
	until(t, "a failure", func() bool { return read()[telemetry.SnapshotFailing] > 0 })
	refuses.Store(false)
	failures := read()[telemetry.SnapshotFailures]
	buy(t, s.Addresses(), 7, 3)
	until(t, "a success", func() bool { return read()[telemetry.SnapshotFailing] == 0 })
	if got = read(); got[telemetry.SnapshotFailures] < failures || got[telemetry.SnapshotsTaken] < 2 {
		t.Errorf("%v", got)
	}
	halt(t, s)
}

// The size of the journal and the free space are looked at again and again.
func TestUsageFollowsDisk(t *testing.T) {
	dir := t.TempDir()
	var u Usage
	u.look(dir)
	write(t, filepath.Join(dir, journalFolder, "wal", "a"), "twelve bytes")
	write(t, filepath.Join(dir, journalFolder, "snap", "b"), "eight by")
	write(t, filepath.Join(dir, "elsewhere"), "not of the journal")
	u.look(dir)
	if got := u.size.Load(); got != 20 {
		t.Errorf("size %d", got)
	}
	at := filepath.Join(dir, journalFolder)
	if err := os.Rename(at, at+".away"); err != nil {
		t.Fatal(err)
	}
	if u.look(dir); u.size.Load() != 20 {
		t.Errorf("size %d of a journal that cannot be read, want that of the last look", u.size.Load())
	}
	free, err := freeBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.free.Load(); got <= 0 || got > 2*free+1<<30 {
		t.Errorf("free %d, then %d", got, free)
	}
}
