package journal

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// appendLog is the part of the underlying log that the writer uses: *wal.WAL in production, a
// failing one in tests.
type appendLog interface {
	Save(*raftpb.HardState, []*raftpb.Entry) error
	Sync() error
	ReleaseLockTo(index uint64) error
	SetUnsafeNoFsync()
	Close() error
}

// Writer appends to the journal. It belongs to one goroutine.
type Writer struct {
	dir        *directory
	log        appendLog
	lg         *slog.Logger
	beforeSync func()
	term       uint64

	mark         incarnation // content of the INCARNATION file
	unmarkable   bool        // a sync of it failed: it is not written again
	segmentBytes int64       // at which the underlying log begins the next segment
	tail         place       // the newest segment
	tailNumber   uint64      // of the newest segment
	tailBytes    int64       // of its records, at most
	looked       time.Time   // when the places were looked at

	index     uint64         // of the last entry written
	persisted durability.Seq // last event known to be on disk
	batch     []byte         // the pending batch
	count     uint32         // events in it
	newest    durability.Seq // last event of the newest snapshot
	poison    *PoisonError   // set once, never cleared
}

// Append copies a payload into the pending batch and returns its sequence number, the next one.
// Nothing is written before Commit, which the caller calls before 16 MiB are Pending: Append panics
// then. Errors: ErrTooLarge, which changes nothing, and the PoisonError.
func (w *Writer) Append(payload []byte) (durability.Seq, error) {
	if w.poison != nil {
		return 0, w.poison
	}
	if len(payload) > MaxPayloadBytes {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayloadBytes)
	}
	if len(w.batch) >= maxBatchLimit {
		panic(fmt.Sprintf("journal: Append to a pending batch of %d bytes, Commit is required at %d", len(w.batch), maxBatchLimit))
	}
	if w.count == 0 {
		w.batch = startBatch(w.batch)
	}
	w.batch = appendEvent(w.batch, payload)
	w.count++
	return w.persisted + durability.Seq(w.count), nil
}

// Pending is the size of the pending batch in bytes, 0 if it is empty.
func (w *Writer) Pending() int {
	if w.count == 0 {
		return 0
	}
	return len(w.batch)
}

// Persisted is the last event known to be on disk.
func (w *Writer) Persisted() durability.Seq { return w.persisted }

// Commit writes the pending batch as one entry and returns the last event on disk after
// fdatasync(2) succeeded. If the batch is empty it writes nothing. The first failure poisons the
// journal: this call and every later one return the same PoisonError, and the events of that batch
// must be treated as not written, although a restart may find them.
func (w *Writer) Commit() (durability.Seq, error) {
	if w.poison != nil {
		return w.persisted, w.poison
	}
	if w.count == 0 {
		return w.persisted, nil
	}
	first, last := w.persisted+1, w.persisted+durability.Seq(w.count)
	sealBatch(w.batch, first, w.count)
	entry := &raftpb.Entry{Term: new(w.term), Index: new(w.index + 1), Data: w.batch}
	if w.beforeSync != nil {
		w.beforeSync()
	}
	size := frameBytes(entry)
	rolls := w.tailBytes+size >= w.segmentBytes
	if rolls {
		if err := w.dir.awaitDescriptors(w.lg, "the next segment"); err != nil {
			return w.persisted, w.fail(fmt.Sprintf("commit of events %d to %d", first, last), err)
		}
	}
	if err := w.look(rolls); err != nil {
		return w.persisted, w.fail(fmt.Sprintf("commit of events %d to %d", first, last), err)
	}
	if err := w.save(entry, rolls); err != nil {
		return w.persisted, w.fail(fmt.Sprintf("commit of events %d to %d", first, last), err)
	}
	w.index++
	w.tailBytes += size
	if rolls {
		if err := w.rolled(last); err != nil {
			return w.persisted, w.fail(fmt.Sprintf("the end mark after event %d", last), err)
		}
	}
	w.persisted = last
	w.count = 0
	return last, nil
}

func (w *Writer) fail(op string, cause error) error {
	cause = Short(cause, w.dir.path, "the next segment", w.segmentBytes)
	w.poison = &PoisonError{Dir: w.dir.path, File: w.dir.fileOf(cause), Op: op,
		Persisted: w.persisted, Cause: cause}
	w.lg.Error("journal poisoned: nothing more is acknowledged", "error", w.poison)
	return w.poison
}

// Install makes a prepared snapshot take effect: it renames it, moves the end mark, and removes files
// that neither this snapshot nor the previous one needs. The snapshot's events must be on disk
// (Persisted); otherwise Install panics, because after a crash the state would be ahead of the log.
// A snapshot that is not newer than the newest is discarded. A PoisonError means that the log is in
// doubt. After any other error the journal continues, with a longer log than necessary.
func (w *Writer) Install(s *Snapshot) error {
	if w.poison != nil {
		return w.poison
	}
	if s.seq > w.persisted {
		panic(fmt.Sprintf("journal: snapshot of event %d, but only %d is on disk", s.seq, w.persisted))
	}
	if s.seq <= w.newest {
		return s.Discard()
	}
	err := w.dir.awaitDescriptors(w.lg, "a snapshot")
	if err != nil {
		return errors.Join(fmt.Errorf("journal: installing snapshot %d: %w", s.seq, err), s.Discard())
	}
	if err := w.look(true); err != nil {
		return w.fail(fmt.Sprintf("installing snapshot %d", s.seq), err)
	}
	folder, err := os.Open(w.dir.snap()) // before the change, which can still be left out
	if err == nil {
		defer folder.Close()
		err = os.Rename(s.temporary, snapshotPath(w.dir.snap(), s.seq))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal: installing snapshot %d: %w", s.seq, err), s.Discard())
	}
	if err := syncOpen(folder); err != nil {
		return w.fail(fmt.Sprintf("installing snapshot %d", s.seq), err)
	}
	w.newest = s.seq
	if err := w.writeMark(w.persisted, stillOpen); err != nil {
		return w.fail(fmt.Sprintf("the end mark after snapshot %d", s.seq), err)
	}
	// The log's own rollover relies on syncs of the same directory, so a failed one here is as
	// final as one there.
	err = w.purge()
	if errors.Is(err, errSync) {
		return w.fail(fmt.Sprintf("removing files that snapshot %d made superfluous", s.seq), err)
	}
	return err
}

// close ends the log, and writes how it ended into the end mark. A poisoned one is closed without
// the sync that closing includes: a failed sync is not retried. If another log took its name, it stays
// open: closing it would remove the segment that the other's server has prepared.
func (w *Writer) close() error {
	moved := w.look(true)
	if w.dir.replaced() {
		if w.poison == nil {
			return w.fail("the end", cmp.Or(moved, error(ErrMoved)))
		}
		return nil
	}
	if w.poison != nil {
		w.log.SetUnsafeNoFsync()
		err := uninterrupted(w.log.Close)
		if err != nil {
			err = fmt.Errorf("journal: closing %s: %w", w.dir.wal(), err)
		}
		if moved == nil {
			_ = w.writeMark(w.persisted, closedFailed) // the first failure is the one to report
		}
		return err
	}
	if err := uninterrupted(w.log.Close); err != nil {
		return w.fail("the sync at the end", err)
	}
	if moved != nil {
		return w.fail("the end", moved)
	}
	if err := w.writeMark(w.persisted, closedInOrder); err != nil {
		return w.fail("the end mark", err)
	}
	return nil
}
