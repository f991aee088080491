package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
)

// copying is a Config.Application whose instances but the first one, which serves, are changed by edit.
func copying(edit func(copy *faulty)) func() bookApp {
	var made atomic.Int64
	return func() bookApp {
		app := &faulty{Book: newBook(orderbook.Config{})}
		if made.Add(1) > 1 {
			edit(app)
		}
		return app
	}
}

// openBook opens a node that is stopped at the end of the test.
func openBook(t *testing.T, cfg bookConfig) *bookNode {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = n.Stop(ctx) // tests that care look at it themselves
	})
	return n
}

// A copy that fails, panics, ends its goroutine or comes to other outputs is a failed snapshot: nothing
// is installed, clients are served, and the next copy is made.
func TestFailedCopyIsReported(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		planted := errors.New("planted error")
		for name, c := range map[string]struct {
			edit func(copy *faulty)
			want string
		}{
			"error":              {func(f *faulty) { f.refuse = func() error { return planted } }, "planted error"},
			"panic of apply":     {func(f *faulty) { f.apply = func() { panic("planted panic") } }, "planted panic"},
			"panic of snapshot":  {func(f *faulty) { f.snapshot = func() { panic("planted panic") } }, "the copy of the application panicked: planted panic"},
			"panic of restore":   {func(f *faulty) { f.restore = func() { panic("planted panic") } }, "planted panic"},
			"Goexit of apply":    {func(f *faulty) { f.apply = runtime.Goexit }, "Goexit"},
			"Goexit of snapshot": {func(f *faulty) { f.snapshot = runtime.Goexit }, "Goexit"},
			"other outputs":      {func(f *faulty) { f.other = true }, "the application is not deterministic"},
		} {
			t.Run(name, func(t *testing.T) {
				leaks(t)
				log := &lines{}
				cfg := config(t.TempDir(), mode, log)
				cfg.SnapshotEvents = 4
				var sick atomic.Bool
				sick.Store(true)
				cfg.Application = copying(func(f *faulty) {
					if sick.Load() {
						c.edit(f)
					}
				})
				n := openBook(t, cfg)
				buy(t, n.Addresses(), 1, 8)
				until(t, "a failure", func() bool { return n.store.snapshots.read().failing > 0 })
				until(t, "a line that says "+c.want, func() bool { // it is written after the failure is counted
					text := log.String()
					return strings.Contains(text, "snapshot failed; journal keeps growing") &&
						strings.Contains(text, c.want)
				})
				if got := newest(t, &cfg); got != 0 {
					t.Errorf("a snapshot of event %d", got)
				}
				sick.Store(false)
				for id := uint64(9); n.store.snapshots.read().failing > 0; id++ {
					buy(t, n.Addresses(), id, 1)
				}
				drain(t, n)
				same(t, cfg, n.app.(*faulty).Book)
			})
		}
	})
}

// same requires that a restart gives the book.
func same(t *testing.T, cfg bookConfig, book *orderbook.Book) {
	t.Helper()
	cfg.Application = newFull
	n := openBook(t, cfg)
	halt(t, n)
	if !bytes.Equal(bookBytes(t, n.app.(*orderbook.Book)), bookBytes(t, book)) {
		t.Error("the book is another one after the restart")
	}
}

// A run from which a replay differs leaves no snapshot at its end.
func TestDrainAfterOtherOutputsTakesNoSnapshot(t *testing.T) {
	log := &lines{}
	cfg := config(t.TempDir(), transport.ModePoll, log)
	cfg.SnapshotEvents = 4
	cfg.Application = copying(func(f *faulty) { f.other = true })
	n := openBook(t, cfg)
	buy(t, n.Addresses(), 1, 5)
	until(t, "a failure", func() bool { return n.store.snapshots.read().diverged })
	drain(t, n)
	if got := newest(t, &cfg); got != 0 || !strings.Contains(log.String(), "snapshot at the end failed") {
		t.Errorf("a snapshot of event %d:\n%s", got, log)
	}
}

// While a copy hangs, clients are served and no other copy is made. A drain ends it, and takes its
// snapshot without it.
func TestDrainDuringHangingCopy(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		for name, edit := range map[string]func(f *faulty, hang func()){
			"restore":  func(f *faulty, hang func()) { f.restore = hang },
			"apply":    func(f *faulty, hang func()) { f.apply = hang },
			"snapshot": func(f *faulty, hang func()) { f.snapshot = hang },
		} {
			t.Run(name, func(t *testing.T) {
				leaks(t)
				cfg := config(t.TempDir(), mode, &lines{})
				cfg.SnapshotEvents = 4
				entered, release := make(chan struct{}, 8), make(chan struct{})
				defer close(release)
				cfg.Application = copying(func(f *faulty) {
					edit(f, func() { entered <- struct{}{}; <-release })
				})
				n := openBook(t, cfg)
				buy(t, n.Addresses(), 1, 4)
				<-entered
				buy(t, n.Addresses(), 5, 20)
				if len(entered) > 0 {
					t.Error("a second copy was begun")
				}
				drain(t, n)
				if got := newest(t, &cfg); got != uint64(n.sequencer.Sequenced()) {
					t.Errorf("a snapshot of event %d of %d", got, n.sequencer.Sequenced())
				}
				same(t, cfg, n.app.(*faulty).Book)
			})
		}
	})
}

// A copy begins when the event is on disk, and a node that ends meanwhile does not wait for it.
func TestCopyWaitsForDisk(t *testing.T) {
	leaks(t)
	v := newValve()
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.SnapshotEvents, cfg.Journal.BeforeSync = 4, v.beforeSync
	var copies atomic.Int64
	cfg.Application = copying(func(*faulty) { copies.Add(1) })
	n := openBook(t, cfg)
	c := dial(t, "tcp", n.Addresses()[0])
	v.close()
	for id := range uint64(5) {
		c.command(order(1, id+1, orderbook.Buy, 100, 1))
	}
	until(t, "a snapshot that is due", func() bool { return n.store.wanted.Load() >= 4 })
	if copies.Load() > 0 || newest(t, &cfg) != 0 {
		t.Error("a copy was begun before the event was on disk")
	}
	v.open()
	until(t, "the snapshot", func() bool { return newest(t, &cfg) >= 4 })
	v.close()
	for id := range uint64(5) {
		c.command(order(1, id+6, orderbook.Buy, 100, 1))
	}
	until(t, "the next one", func() bool { return n.store.wanted.Load() > 5 })
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop(context.Background()) }()
	<-n.snapshots.Done()
	v.open()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A copy whose files are removed while it reads them is a failed snapshot; the next one begins with what
// is there then.
func TestFilesRemovedDuringCopy(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.SnapshotEvents = 4
	var removes atomic.Bool
	var removed []string
	cfg.Application = copying(func(f *faulty) {
		if !removes.CompareAndSwap(true, false) {
			return
		}
		files, err := filepath.Glob(filepath.Join(cfg.DataDir, journalFolder, "snap", "*.snap"))
		if err != nil || len(files) == 0 {
			t.Error(files, err)
		}
		for _, name := range files {
			removed = append(removed, name+".kept")
			if err := os.Rename(name, name+".kept"); err != nil {
				t.Error(err)
			}
		}
	})
	n := openBook(t, cfg)
	buy(t, n.Addresses(), 1, 4)
	until(t, "a snapshot", func() bool { return n.store.snapshots.read().taken == 1 })
	removes.Store(true)
	buy(t, n.Addresses(), 5, 4)
	until(t, "a failure", func() bool { return n.store.snapshots.read().failing == 1 })
	for _, name := range removed {
		if err := os.Rename(name, strings.TrimSuffix(name, ".kept")); err != nil {
			t.Fatal(err)
		}
	}
	buy(t, n.Addresses(), 9, 4)
	until(t, "the next snapshot", func() bool { return n.store.snapshots.read().taken == 2 })
	drain(t, n)
	same(t, cfg, n.app.(*faulty).Book)
}

// A copy has the configuration of the data directory, also where no output depends on it.
func TestCopyOfAnotherConfigurationIsRefused(t *testing.T) {
	log := &lines{}
	cfg := config(t.TempDir(), transport.ModePoll, log)
	cfg.SnapshotEvents = 4
	var made atomic.Int64
	cfg.Application = func() bookApp {
		return newBook(orderbook.Config{MaxOrders: 17 * int(made.Add(1))})
	}
	n := openBook(t, cfg)
	buy(t, n.Addresses(), 1, 5)
	until(t, "a failure", func() bool { return n.store.snapshots.read().failing > 0 })
	until(t, "its line in the log", func() bool {
		return strings.Contains(log.String(), "open with the configuration of the application")
	})
}

// A copy replays what the run skipped, introduced, ticked and observed: its snapshots are those of the
// run for every kind of event.
func TestCopiesOfALife(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, io.Discard)
	cfg.SnapshotEvents = 7
	n := open(t, cfg)
	for range 40 {
		m := join(t, dir, client.Options{})
		m.do(tagMark)
		m.conn.Close()
	}
	until(t, "snapshots", func() bool { return n.store.snapshots.read().taken > 3 })
	if f := n.store.snapshots.read(); f.failures > 0 {
		t.Errorf("%d snapshots failed", f.failures)
	}
	stop(t, n)
}

// A copy leaves out what the run left out.
func TestCopyLeavesOutSkippedEvents(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, io.Discard)
	n := open(t, cfg)
	m := join(t, dir, client.Options{})
	m.do(tagMark) // event 2
	m.do(tagFail) // event 3
	m.do(tagMark)
	stop(t, n)
	if err := Skip(cfg.DataDir, 3); err != nil {
		t.Fatal(err)
	}
	cfg.SnapshotEvents = 2
	cfg.Application = presenceWith(func(p *presence) { p.poisonous = true })
	n = open(t, cfg)
	until(t, "a snapshot", func() bool { return n.store.snapshots.read().taken > 0 })
	if f := n.store.snapshots.read(); f.failures > 0 {
		t.Errorf("%d snapshots failed", f.failures)
	}
	stop(t, n)
}
