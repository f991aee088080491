package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// failingRemind is the time between two log lines about snapshots that keep failing.
const failingRemind = time.Minute

// snapshotRecord is how the snapshots of a run went, for the log and for observers. Any goroutine.
type snapshotRecord struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex // guards all below
	figures snapshotFigures
	writing durability.Seq // event of the last snapshot that was begun
	began   time.Time      // when its writing began
	logged  time.Time      // last line about a failure
}

// snapshotFigures are what observers see.
type snapshotFigures struct {
	event    durability.Seq // last event of the newest snapshot on disk, which may be of an earlier run
	since    time.Time      // when the last one succeeded; the start if none did
	duration time.Duration  // of the last one that succeeded, from when it was due to its installation
	taken    uint64         // in this run
	failures uint64         // in this run
	failing  uint64         // failures since one succeeded
	diverged bool           // a replay had other outputs than this run
}

func newSnapshotRecord(log *slog.Logger) *snapshotRecord {
	return &snapshotRecord{log: log, now: time.Now, figures: snapshotFigures{since: time.Now()}}
}

// recovered notes the snapshot with which the node began.
func (r *snapshotRecord) recovered(event durability.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.figures.event = event
}

// start notes that the snapshot of an event is being written from now on.
func (r *snapshotRecord) start(event durability.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing, r.began = event, r.now()
}

// failed counts a failure. The first one is logged, and then at most one in each failingRemind, with
// their number.
func (r *snapshotRecord) failed(err error) {
	r.mu.Lock()
	f := &r.figures
	f.failures++
	f.failing++
	f.diverged = f.diverged || errors.Is(err, sequencer.ErrDiverged)
	failing, now := f.failing, r.now()
	due := failing == 1 || now.Sub(r.logged) >= failingRemind
	if due {
		r.logged = now
	}
	r.mu.Unlock()
	if due {
		r.log.Error("snapshot failed; journal keeps growing until one succeeds", "failures", failing,
			"error", err)
	}
}

// succeeded notes that the snapshot of an event is installed.
func (r *snapshotRecord) succeeded(event durability.Seq) {
	r.mu.Lock()
	f := &r.figures
	failing := f.failing
	f.event, f.since, f.failing = event, r.now(), 0
	f.taken++
	if event == r.writing { // else the next one is being written already
		f.duration = f.since.Sub(r.began)
	}
	r.mu.Unlock()
	if failing > 0 {
		r.log.Info("snapshot succeeded again", "failures", failing)
	}
}

func (r *snapshotRecord) read() snapshotFigures {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.figures
}

// lastSnapshot takes a snapshot at the end of a drain, so that the next start has nothing to replay.
// It is worth ctx's time and no failure, because the journal has everything: when ctx ends first,
// what is under way is left behind.
func (n *Node[R, Q]) lastSnapshot(ctx context.Context) {
	if n.ending.first() != nil {
		return
	}
	done := make(chan error, 1)
	if ctx.Err() == nil {
		go func() { done <- n.takeLast() }()
	}
	select {
	case err := <-done:
		if errors.Is(err, journal.ErrPoisoned) {
			n.ending.keep(err)
		} else if err != nil {
			n.log.Warn("snapshot at the end failed; the next start replays the journal", "error", err)
		}
	case <-ctx.Done():
		n.store.gaveUp = true
		if unsaved := n.sequencer.Sequenced() - n.store.snapshots.read().event; unsaved > 0 {
			n.log.Warn("snapshot at the end given up; the next start replays the journal", "events",
				uint64(unsaved))
		}
	}
}

// takeLast takes a snapshot of the application itself, which the sequencer does not use any more, if
// events came after the last one.
func (n *Node[R, Q]) takeLast() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("node: the application panicked: %v\n%s", v, debug.Stack())
		}
	}()
	s := n.store
	<-s.committed
	at, figures := n.sequencer.Sequenced(), s.snapshots.read()
	switch {
	case figures.event == at || uint64(at) != s.persisted.Load():
		return nil
	case figures.diverged: // what is right is for an operator to decide
		return sequencer.ErrDiverged
	}
	prepared, err := s.journal.PrepareSnapshot(at, n.sequencer.WriteSnapshot)
	if err != nil {
		return err
	}
	return s.install(prepared)
}

// install is Writer.Install for the time after the journal's goroutine has ended.
func (s *store) install(prepared *journal.Snapshot) error {
	s.end.Lock()
	defer s.end.Unlock()
	if s.closed { // too late: the snapshot was given up
		return prepared.Discard()
	}
	return s.journal.Writer().Install(prepared)
}

// closeJournal closes the journal after its goroutine has ended.
func (s *store) closeJournal() error {
	s.end.Lock()
	defer s.end.Unlock()
	s.closed = true
	return s.journal.Close()
}

// awaitSnapshots waits for a snapshot that is being written, until ctx ends or returnGrace has passed.
// It cannot be installed any more, so nothing but its temporary file depends on it.
func awaitSnapshots(ctx context.Context, snapshots <-chan struct{}) {
	grace := time.NewTimer(returnGrace)
	defer grace.Stop()
	select {
	case <-snapshots:
	case <-ctx.Done():
	case <-grace.C:
	}
}
