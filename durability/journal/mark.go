package journal

import (
	"errors"
	"math"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"sluice/durability"
)

// headBytes is more than the records at the head of a segment have.
const headBytes = 512

// frameBytes is the size of an entry in the log. It may be a few bytes more than that.
func frameBytes(e *raftpb.Entry) int64 {
	const sum = 1 << 31 // checksums of most records are as long
	empty := &walpb.Record{Type: new(wal.EntryType), Crc: new(uint32(sum)), Data: []byte{}}
	n := proto.Size(e)
	return frameHeaderBytes + int64(proto.Size(empty)+n+8+7)/8*8
}

// look returns ErrMoved if the directory or the newest segment is no longer where it was opened. It
// looks if it must, and otherwise once in a while.
func (w *Writer) look(must bool) error {
	now := time.Now()
	if !must && now.Sub(w.looked) < lookEvery {
		return nil
	}
	w.looked = now
	if err := w.dir.check(); err != nil {
		return err
	}
	return w.tail.check()
}

// rolled takes notice of a new segment, if the last commit began one, and replaces the end mark before
// event last, which is on disk, is acknowledged.
func (w *Writer) rolled(last durability.Seq) error {
	segments, err := listSegments(w.dir.wal())
	if err != nil || len(segments) == 0 || segments[len(segments)-1].number == w.tailNumber {
		return nil // the next commit looks again
	}
	newest := segments[len(segments)-1]
	if w.tail, err = placeOf(newest.path); err != nil {
		return err
	}
	w.tailNumber, w.tailBytes = newest.number, headBytes
	// The underlying log keeps a descriptor of each segment for its lock. LOCK guards the others.
	if err := guard(func() error { return w.log.ReleaseLockTo(math.MaxUint64) }); err != nil {
		return err
	}
	return w.writeMark(last, stillOpen)
}

// writeMark replaces the end mark: the log reaches event last. The error is a failed sync. After any
// other failure the former mark stays, which says less.
func (w *Writer) writeMark(last durability.Seq, state ending) error {
	i := w.mark
	i.segment, i.last, i.state = w.tailNumber, last, state
	if i == w.mark || w.unmarkable {
		return nil
	}
	err := w.dir.writeIncarnation(i)
	switch {
	case err == nil:
		w.mark = i
	case errors.Is(err, errSync):
		w.unmarkable = true
		return err
	default:
		w.lg.Warn("end mark not written; until the next one, a loss of the log's end may not be noticed",
			"error", err)
	}
	return nil
}
