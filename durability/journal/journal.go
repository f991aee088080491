package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

const (
	// DefaultSegmentBytes is the size of a file of the log.
	DefaultSegmentBytes = 64 << 20
	// MinSegmentBytes keeps a segment larger than its own header.
	MinSegmentBytes = 4 << 10
	// DefaultBatchBytes is the size at which a group commit ends.
	DefaultBatchBytes = 1 << 20
	// maxBatchLimit is the largest batch size that may be configured; a reader rejects records far
	// above it.
	maxBatchLimit = 16 << 20
)

// Options configure Open.
type Options struct {
	// Dir is the journal's directory; it is created if missing, and belongs to the journal alone.
	Dir string
	// SegmentBytes is the size of a file of the log, 0 for DefaultSegmentBytes. The next file is
	// allocated in full in advance, so a full disk is detected before a batch is half written. All
	// journals open in one process must use the same size: the underlying log keeps it in a package
	// variable, which Open sets. So the first journal of a process is opened before others are.
	SegmentBytes int64
	// Log is the identity of the log, which its snapshots carry. It is written when the directory is
	// created and compared later. Zero at the creation: the identity of the directory, which is
	// right for a log with one copy. Zero later: that of the creation.
	Log Identity
	// Logger receives the log's own messages and repairs; nil for none.
	Logger *slog.Logger
	// BeforeSync, if not nil, is called on the writer's goroutine before a batch is written and
	// synced. Tests use it to delay the disk.
	BeforeSync func()
}

// Journal is an open directory. Close it after its writer's goroutine has ended.
type Journal struct {
	dir    *directory
	head   header
	writer *Writer
}

// Open locks, verifies and if necessary repairs the directory, and makes the next incarnation
// durable. It verifies the whole log before it returns, so that damage is found here and not in the
// middle of Recovery's events. Errors: those of the options, of a directory that is used for something
// else, ErrLocked, ErrBackup, ErrNewerFormat, ErrOlderFormat, ErrForeign (as *ForeignError), ErrCorrupt (as
// *CorruptError if the place is known), ErrMoved, a full disk (as *SpaceError), and those of the file system.
func Open(o Options) (*Journal, *Recovery, error) {
	if err := o.complete(); err != nil {
		return nil, nil, err
	}
	d, err := lockDirectory(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	j, r, err := open(d, o)
	if err != nil {
		return nil, nil, errors.Join(err, d.unlock())
	}
	return j, r, nil
}

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("journal: Options.Dir is empty; name the directory for the journal")
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < MinSegmentBytes {
		return fmt.Errorf("journal: Options.SegmentBytes is %d; use at least %d, or 0 for %d",
			o.SegmentBytes, MinSegmentBytes,
			DefaultSegmentBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	// A setting of the process, written only when it changes: journals with equal settings race only while the
	// first of them is opened.
	if wal.SegmentSizeBytes != o.SegmentBytes {
		wal.SegmentSizeBytes = o.SegmentBytes
	}
	return nil
}

func open(d *directory, o Options) (*Journal, *Recovery, error) {
	lg := quietLogger(o.Logger)
	head, err := prepare(d, lg, o.Log)
	if err != nil {
		return nil, nil, err
	}
	found, r, err := recoverLog(d, lg, head)
	if err != nil {
		return nil, nil, err
	}
	if err := d.roomToRun(&found, r.snapshot, o.SegmentBytes); err != nil {
		return nil, nil, err
	}
	log, err := openLog(d, lg)
	if err != nil {
		return nil, nil, err
	}
	newest := found.segments[len(found.segments)-1]
	mark := incarnation{head.directory, r.Incarnation, o.SegmentBytes, newest.number, found.last, stillOpen}
	err = d.restoreLength(o.SegmentBytes)
	if err == nil {
		err = d.writeIncarnation(mark)
	}
	if err == nil && !d.has(formatFile) {
		err = d.writeFormat(head)
	}
	var tail place
	if err == nil {
		err = d.remember()
	}
	if err == nil {
		tail, err = placeOf(newest.path)
	}
	if err != nil {
		log.SetUnsafeNoFsync() // nothing was appended, and a failed sync is not repeated
		return nil, nil, errors.Join(err, guard(log.Close))
	}
	for _, note := range r.Notes {
		o.Logger.Warn("journal recovered", "dir", d.path, "note", note)
	}
	w := &Writer{dir: d, log: log, lg: o.Logger, beforeSync: o.BeforeSync, term: r.Incarnation,
		mark: mark, segmentBytes: o.SegmentBytes, tail: tail, tailNumber: newest.number, tailBytes: found.end,
		index: found.index, persisted: r.Last, newest: r.SnapshotSeq}
	return &Journal{dir: d, head: head, writer: w}, r, nil
}

// prepare checks the format, creates what is missing, and returns the header of the directory. The
// FORMAT file is written last, by open: without it the directory is treated as new, and its header
// is that of its first segment; with it, a missing log is damage.
func prepare(d *directory, lg *zap.Logger, log Identity) (header, error) {
	head, err := d.readFormat()
	if err != nil {
		return head, err
	}
	segments, err := listSegments(d.wal())
	if err != nil {
		return head, err
	}
	initialised := d.has(formatFile)
	if !initialised && len(segments) > 0 {
		if head, _, err = segmentHeader(segments[0].path); err != nil {
			return head, err
		}
	} else if !initialised {
		if head = (header{newIdentity(), log}); log == (Identity{}) {
			head.log = head.directory
		}
	}
	if err := d.checkLog(head, log); err != nil {
		return head, err
	}
	if err := checkOwners(segments, head); err != nil {
		return head, err
	}
	if len(segments) > 0 {
		if err := refuseUsed(segments[len(segments)-1]); err != nil { // before anything is removed
			return head, err
		}
	}
	if err := os.MkdirAll(d.snap(), privateFolder); err != nil {
		return head, fmt.Errorf("journal: creating the snapshots' directory: %w", err)
	}
	switch {
	case len(segments) > 0:
		return head, settle(d, segments[len(segments)-1])
	case initialised:
		return head, &CorruptError{File: d.wal(), Offset: -1, Why: "the log is missing"}
	default:
		return head, createLog(d, lg, head)
	}
}

// settle makes the newest segment, its name and those of snapshots durable before they are read. A
// process that was killed leaves writes and new names in the kernel's memory: they read as if they were
// on disk, and a power loss after the restart would undo events that the restart counted as
// persisted, or remove the snapshot that it began with. Only the newest segment can contain such writes,
// because a rollover syncs the previous one. Then the kernel is asked to drop its copy: after a failed sync
// it may keep pages that never reached the disk and mark them clean.
func settle(d *directory, newest segment) error {
	f, err := os.OpenFile(newest.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal: opening a segment: %w", err)
	}
	if err = f.Sync(); err == nil {
		forget(f)
		err = syncDirectory(d.wal())
	}
	if err == nil {
		err = syncDirectory(d.snap())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("journal: making the end of the log durable: %w", err)
	}
	return nil
}

func createLog(d *directory, lg *zap.Logger, head header) error {
	if err := d.removeBroken(); err != nil {
		return err
	}
	err := guard(func() error {
		log, err := wal.Create(lg, d.wal(), []byte(head.String()))
		if err != nil {
			return err
		}
		return log.Close()
	})
	if err == nil {
		err = errors.Join(syncDirectory(d.wal()), syncDirectory(d.path))
	}
	if err != nil {
		return fmt.Errorf("journal: creating the log in %s: %w", d.wal(), Short(err, d.path,
			"the first two segments", 2*wal.SegmentSizeBytes))
	}
	return nil
}

// recoverLog verifies the log, repairs an unfinished last write, and chooses the snapshot.
func recoverLog(d *directory, lg *zap.Logger, head header) (contents, *Recovery, error) {
	r := &Recovery{Directory: head.directory, Log: head.log}
	x, err := examine(d, head)
	if err != nil {
		return contents{}, nil, err
	}
	found, previous := x.contents, x.previous
	if err := d.removeTemporary(); err != nil {
		return found, nil, err
	}
	// From here on the newest segment may be found shorter, see incarnation.
	if err := d.writeIncarnation(incarnation{head.directory, previous.number, found.end,
		found.segments[len(found.segments)-1].number, found.last, stillOpen}); err != nil {
		return found, nil, err
	}
	if found.torn != nil {
		if err := repair(d, lg, &found); err != nil {
			return found, nil, err
		}
		r.Notes = append(r.Notes, previous.dropped(&found))
	}
	for _, s := range x.snapshots {
		if !s.damaged {
			continue
		}
		if err := os.Rename(s.path, s.path+damagedExtension); err != nil {
			return found, nil, fmt.Errorf("journal: setting a damaged snapshot aside: %w", err)
		}
		r.Notes = append(r.Notes,
			fmt.Sprintf("snapshot %s is damaged and was set aside", s.path))
	}
	r.Incarnation, r.Last, r.SnapshotSeq = previous.number+1, found.last, x.chosen.seq
	r.EndMark = previous.last
	r.Interrupted = previous.number > 0 && previous.state != closedInOrder
	r.snapshot, r.segments = x.chosen, found.segments
	return found, r, nil
}

// repair cuts an unfinished write off the end of the log, and verifies that nothing else was
// removed.
func repair(d *directory, lg *zap.Logger, found *contents) error {
	err := guard(func() error {
		if !wal.Repair(lg, d.wal()) {
			return errors.New("not repairable")
		}
		// If the missing sector contained the length, the log sees its end there and leaves the
		// rest; opening it clears the rest.
		log, err := openLog(d, lg)
		if err != nil {
			return err
		}
		return log.Close()
	})
	if err != nil {
		return fmt.Errorf("journal: repairing the %s: %w", found.torn, err)
	}
	after, err := scan(found.segments, nil)
	if err != nil {
		return err
	}
	if after.last != found.last || after.index != found.index || after.torn != nil {
		return fmt.Errorf("%w: the repair of the %s left events up to %d instead of %d; the copy "+
			"beside it has the former content",
			ErrCorrupt, found.torn, after.last, found.last)
	}
	return nil
}

// openLog opens the log for appending. The underlying log reads everything from the segment that holds
// the entry to start at, and keeps all entries after it in memory. So it is given an entry after all
// others: it reads the newest segment and keeps nothing.
func openLog(d *directory, lg *zap.Logger) (log *wal.WAL, err error) {
	end := &walpb.Snapshot{Index: new(uint64(math.MaxUint64))}
	err = guard(func() error {
		if log, err = wal.Open(lg, d.wal(), end); err != nil {
			return err
		}
		if _, _, _, err = log.ReadAll(); err != nil {
			return errors.Join(err, log.Close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal: opening the log in %s: %w", d.wal(), err)
	}
	return log, nil
}

// Writer is the one writer of this journal.
func (j *Journal) Writer() *Writer { return j.writer }

// Close ends the log and releases the lock. A pending batch is not written. After a failure nothing
// is synced again.
func (j *Journal) Close() error {
	return errors.Join(j.writer.close(), j.dir.unlock())
}

var _ io.Closer = (*Journal)(nil)
