package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/mailbox"
	"sluice/telemetry"
)

// connBits is the width of the counter in a connection id; what is above it is the incarnation of
// the journal. So an id is never given out twice, and a report for a request of an earlier run
// reaches no other client. It leaves room for 16 million starts, and for 35 years of 1000
// connections a second in one run.
const connBits = 40

// store is the data directory of a node: the journal with its committer, and the snapshots.
//
// The first fields are what was opened and recovered. Those from committer to writing are the two
// goroutines that write, and their progress. The last ones are how the snapshots went, what is used of
// the disk, and who may use the journal at the end.
type store struct {
	log       *slog.Logger
	journal   *journal.Journal
	recovery  *journal.Recovery
	committer *journal.Committer
	committed chan struct{}  // closed when the journal's goroutine has ended
	grace     time.Duration  // for the disk, once the time of the end is up
	persisted atomic.Uint64  // last event on disk; written by the journal's goroutine, read by any
	commits   atomic.Uint64  // group commits begun; likewise
	beat      telemetry.Beat // of the journal's goroutine: a round is a group commit
	writing   telemetry.Beat // of the snapshots' goroutine: a round is a snapshot

	skips     []durability.Seq // that replays leave out
	wanted    atomic.Uint64    // event for which a copy waits; 0 if none does
	reached   chan struct{}    // gets a token when it is persisted
	installed chan struct{}    // gets a token when an offered snapshot was installed, or failed to be

	snapshots *snapshotRecord
	usage     *Usage
	gaveUp    bool       // a snapshot at the end was given up and may still be written; set before close
	end       sync.Mutex // guards closed, and the journal's writer after its goroutine has ended
	closed    bool       // the journal
}

// checkDataDir reports why a path cannot be a data directory. It may be missing. Others must not be
// able to write it: a file of theirs could be taken for a snapshot. Its group may, because volumes of
// containers are made like that.
func checkDataDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if target, linkErr := os.Readlink(dir); linkErr == nil {
			return fmt.Errorf("node: data directory: %s is a symbolic link to %s, which does not exist; "+
				"mount or create that: %w", dir, target, err)
		}
		return nil // it will be created
	}
	if err != nil {
		return fmt.Errorf("node: data directory: %w", err)
	}
	switch m := info.Mode(); {
	case !m.IsDir():
		return fmt.Errorf("node: data directory: %s is not a directory (%v); name another path", dir, m)
	case m.Perm()&0o002 != 0:
		return fmt.Errorf("node: data directory: every user may write %s (mode %v), and so replace "+
			"journal and snapshots; run chmod o-w on it", dir, m.Perm())
	}
	return nil
}

// Files of a data directory.
const (
	journalFolder = "journal"
	genesisFile   = "genesis"
	skipsFile     = "skips"
)

// checkParts refuses a data directory of which a part is missing, or all of it if mustExist is set:
// a journal that begins at event 1 must not stand in for one that is on a volume that is not mounted.
func checkParts(dir string, mustExist bool) error {
	path := filepath.Join(dir, journalFolder)
	exists, err := journal.Exists(path)
	if exists || err != nil {
		return err
	}
	if err := unfinished(dir); err != nil {
		return err
	}
	for _, name := range []string{genesisFile, skipsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("node: %s has a file %s, but there is no journal in %s; mount its volume, or "+
				"restore it from a backup, or name an empty directory to begin at event 1", dir, name, path)
		}
	}
	if mustExist {
		return fmt.Errorf("node: there is no journal in %s, and the data directory must exist "+
			"(DataDirMustExist); mount its volume, or open it once without that setting to create it", path)
	}
	return nil
}

// openStore opens the journal below dir and finds out what is in it.
func openStore(dir string, mustExist bool, j Journal, log *slog.Logger) (*store, error) {
	if err := notMember(dir, "its log is no journal of a single node", "open it with cluster.Open (sluice serve "+
		"--cluster)"); err != nil {
		return nil, err
	}
	if err := checkParts(dir, mustExist); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("node: creating the data directory: %w", err)
	}
	s := &store{log: log, grace: returnGrace, committed: make(chan struct{}), reached: make(chan struct{}, 1),
		installed: make(chan struct{}, 1), snapshots: newSnapshotRecord(log)}
	path := filepath.Join(dir, journalFolder)
	var err error
	s.journal, s.recovery, err = journal.Open(journal.Options{
		Dir: path, SegmentBytes: j.SegmentBytes, Logger: log,
		BeforeSync: func() {
			s.commits.Add(1)
			s.beat.Begin()
			if j.BeforeSync != nil {
				j.BeforeSync()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if n := s.recovery.Incarnation; n >= 1<<(64-connBits) {
		return s, fmt.Errorf("node: %s was opened %d times; connection ids have room for %d "+
			"starts; move the application to a new data directory",
			path, n, 1<<(64-connBits)-1)
	}
	return s, nil
}

// recover opens the journal and rebuilds the application from it. A panic of the application is an
// error, so that Open releases what it has opened.
func (n *Node[R, Q]) recover(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("node: recovering %s: the application panicked: %v\n%s",
				n.cfg.DataDir, v, debug.Stack())
		}
	}()
	began := time.Now()
	if n.store, err = openStore(n.cfg.DataDir, n.cfg.DataDirMustExist, n.cfg.Journal,
		n.log); err != nil {
		return err
	}
	if err := n.genesis(n.app); err != nil {
		return err
	}
	r := n.store.recovery
	if n.store.skips, err = inspect.ReadSkips(n.cfg.DataDir, r.Directory); err != nil {
		return err
	}
	var applied uint64
	n.state, applied, err = sequencer.Replay(ctx, n.app, n.cfg.Encoder, r, n.store.skips)
	var poison *sequencer.ReplayError
	if errors.As(err, &poison) {
		return fmt.Errorf("node: recovering %s: to leave event %d out, and with it what it caused, run "+
			"sluice journal --data-dir %s skip %d: %w", n.cfg.DataDir, poison.Seq, n.cfg.DataDir,
			poison.Seq, err)
	}
	if err != nil {
		return fmt.Errorf("node: recovering %s: %w", n.cfg.DataDir, err)
	}
	if at := n.state.Last(); at != r.Last {
		return fmt.Errorf("node: recovering %s: snapshot and journal lead to event %d, the "+
			"journal ends at %d", n.cfg.DataDir, at, r.Last)
	}
	n.identities = newIdentities(n.state.Keys(), n.cfg.Listen.Keys)
	n.base = r.Incarnation << IDBits
	n.ids.Store(n.base)
	n.store.persisted.Store(uint64(r.Last))
	n.store.snapshots.recovered(r.SnapshotSeq)
	n.store.usage = NewUsage(n.cfg.DataDir)
	n.cursors.SetPersisted(r.Last) // before the first slot: answers to queries wait for it
	n.log.Info("recovered", "dir", n.cfg.DataDir, "snapshot", uint64(r.SnapshotSeq), "applied",
		applied, "took", time.Since(began))
	return nil
}

// genesis is Genesis for a node's own application, or a copy of it.
func (n *Node[R, Q]) genesis(app sequencer.Application[R, Q]) error {
	return Genesis(n.cfg.DataDir, n.store.recovery.Directory, n.store.recovery.Last, app)
}

// Genesis compares the configuration of an application with the one that a data directory was made with,
// and keeps it if the directory has no event yet; last is its last event. The file is the snapshot of the
// empty application, which an application of another configuration refuses. Without it, a journal that
// has no snapshot yet could be replayed to another state. The application is empty, and stays so.
func Genesis[R, Q any](dataDir string, owner journal.Identity, last durability.Seq,
	app sequencer.Application[R, Q]) error {
	path := filepath.Join(dataDir, genesisFile)
	empty, err := journal.ReadOwned(path, owner)
	if err == nil {
		if err := app.Restore(bytes.NewReader(empty)); err != nil {
			return fmt.Errorf("node: %s: open with the configuration of the application that "+
				"this data directory was made with: %w", path, err)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node: reading the snapshot of the empty application: %w", err)
	}
	if last > 0 {
		return fmt.Errorf("node: %s is missing, so the configuration under which the %d events "+
			"of the journal were written is unknown; restore the whole directory from a backup, or replace the node "+
			"if it is a member of a cluster",
			path, last)
	}
	var b bytes.Buffer
	if err := app.Snapshot(&b); err != nil {
		return err
	}
	if err := writeDurably(path, journal.AppendOwned(nil, owner, b.Bytes())); err != nil {
		return fmt.Errorf("node: writing the snapshot of the empty application: %w", err)
	}
	return nil
}

// newCommitter makes the loop of the journal's goroutine. persisted is called on it with each event
// that is on disk.
func (s *store) newCommitter(events *mailbox.BytesReader, batchBytes int,
	persisted func(durability.Seq)) {
	idle := run.NewAdaptive()
	signal := mailbox.NewSignal(idle)
	events.SetSignal(signal)
	s.committer = journal.NewCommitter(journal.CommitterOptions{
		Writer: s.journal.Writer(), Input: events, MaxBatchBytes: batchBytes,
		Wait: func() {
			signal.Prepare()
			if events.Len() == 0 && !events.Done() && !s.committer.Offered() {
				s.beat.End()
				idle.Sleep(time.Minute)
				s.beat.Begin()
			}
			signal.Cancel()
		},
		Wake:        idle.Wake,
		OnPersisted: persisted,
		OnSnapshot: func(seq durability.Seq, err error) {
			defer token(s.installed)
			if err != nil {
				s.snapshots.failed(fmt.Errorf("installing the snapshot of event %d: %w", seq, err))
				return
			}
			s.snapshots.succeeded(seq)
		},
	})
}

// close waits until everything sequenced is on disk, then closes the journal. A sync that does not
// return cannot be ended: when ctx ends first, its goroutine is left behind, and the journal stays
// locked until it returns. A snapshot that is still being written is left behind as well, without an
// error, because the journal has everything.
func (s *store) close(ctx context.Context, snapshots <-chan struct{}) error {
	closed := make(chan error, 1)
	go func() {
		<-s.committed
		if !s.gaveUp {
			awaitSnapshots(ctx, snapshots)
		}
		closed <- s.closeJournal()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(s.grace) // for an end that has no time left: a healthy disk needs less
	defer grace.Stop()
	select {
	case err := <-closed:
		return err
	case <-grace.C:
		return fmt.Errorf("node: the disk has not answered in time; events up to %d are on it: %w",
			s.persisted.Load(), context.DeadlineExceeded)
	}
}

// writeDurably makes a file appear with all its bytes or not at all, including after a crash.
func writeDurably(path string, data []byte) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes names in a directory durable.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
