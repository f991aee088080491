package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"sluice/durability"
)

// purge removes snapshots older than the newest two, and segments all of whose events the older of
// the two includes. If the newest snapshot turns out to be damaged, the older one and the log after
// it are still complete. The oldest segments are removed first: after a crash in between, the rest
// has no gap.
//
//	snapshots        A            B         C (new)
//	events      1 ..............................................
//	segments    [ 1 ][ 2 ][ 3 ][ 4 ][ 5 ][ 6 ][ 7 ]
//	removed      A, 1, 2, 3 (4 holds events after B)
func (w *Writer) purge() error {
	snapshots, err := listSnapshots(w.dir.snap())
	if err != nil || len(snapshots) < snapshotsKept {
		return err
	}
	oldest := snapshots[snapshotsKept-1].seq
	segments, err := listSegments(w.dir.wal())
	if err != nil {
		return err
	}
	unneeded := 0
	for unneeded+1 < len(segments) {
		next, err := firstEvent(segments[unneeded+1].path)
		if err != nil {
			return err
		}
		if next == 0 {
			next = w.persisted + 1 // the last segment, which has no entry yet
		}
		if next > oldest+1 {
			break
		}
		unneeded++
	}
	return errors.Join(w.removeSegments(segments[:unneeded]),
		w.removeSnapshots(snapshots[snapshotsKept:], oldest))
}

func (w *Writer) removeSegments(old []segment) error {
	if len(old) == 0 {
		return nil
	}
	folder, err := os.Open(w.dir.wal()) // before the first removal, which needs its sync
	if err != nil {
		return fmt.Errorf("journal: removing old segments: %w", err)
	}
	defer folder.Close()
	for _, s := range old {
		if err := os.Remove(s.path); err != nil {
			return fmt.Errorf("journal: removing an old segment: %w", err)
		}
		// Repair keeps a copy of a torn segment, which is removed with it. Usually there is none.
		if err := os.Remove(s.path + ".broken"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: removing an old copy: %w", err)
		}
		// One at a time: a power loss may undo any of several removals, and a gap in the log is
		// damage.
		if err := syncOpen(folder); err != nil {
			return fmt.Errorf("journal: removing an old segment: %w", err)
		}
	}
	return nil
}

func (w *Writer) removeSnapshots(old []snapshotFile, oldest durability.Seq) error {
	for _, s := range old {
		if err := os.Remove(s.path); err != nil {
			return fmt.Errorf("journal: removing an old snapshot: %w", err)
		}
	}
	damaged, err := filepath.Glob(filepath.Join(w.dir.snap(), "*"+snapshotExtension+damagedExtension))
	if err != nil {
		return fmt.Errorf("journal: looking for damaged snapshots: %w", err)
	}
	for _, path := range damaged {
		var seq uint64
		if n, _ := fmt.Sscanf(filepath.Base(path), "%016x", &seq); n != 1 ||
			durability.Seq(seq) >= oldest {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("journal: removing a damaged snapshot: %w", err)
		}
	}
	return nil
}

// firstEvent reads a segment up to its first entry; 0 if it has none.
func firstEvent(path string) (durability.Seq, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("journal: opening a segment: %w", err)
	}
	defer f.Close()
	decoder, err := newDecoder(f)
	if err != nil {
		return 0, err
	}
	record := &walpb.Record{}
	for decoder.Decode(record) == nil {
		switch record.GetType() {
		case wal.CrcType:
			decoder.UpdateCRC(record.GetCrc())
		case wal.EntryType:
			e := &raftpb.Entry{}
			if err := proto.Unmarshal(record.GetData(), e); err != nil {
				return 0, fmt.Errorf("journal: reading %s: %w", path, err)
			}
			b, err := decodeBatch(e.GetData())
			if err != nil {
				return 0, fmt.Errorf("journal: reading %s: %w", path, err)
			}
			return b.first, nil
		}
	}
	return 0, nil
}
