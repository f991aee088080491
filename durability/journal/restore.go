package journal

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/proto"
)

// restoredAhead is how far a restored directory is ahead of its backup in numbers of openings. The
// directory of which the backup is can be opened that often before the two give out one connection id
// twice.
const restoredAhead = 1024

// Restore makes a journal in dir, which must not exist, from a backup. The journal has the events and
// snapshots of the backup and an identity of its own: the directory from which the backup was taken may
// still be in use, and from the last event of the backup on the two have different events of the same
// numbers. So no file of the one is accepted by the other. log is the identity of the log, as
// Options.Log; zero gives it a new one.
//
// The backup is verified before anything is written, and the result afterwards. dir gets its name once
// everything is on disk; after an error nothing is left.
//
// Errors: those of Open that concern the contents of a directory, that of ctx, and those of the file
// system.
func Restore(ctx context.Context, backup, dir string, log Identity) (c Copied, err error) {
	source := &directory{path: backup}
	manifest, head, x, err := examineBackup(source)
	if err != nil {
		return c, err
	}
	if err := Outside(backup, dir); err != nil {
		return c, err
	}
	s, err := stage(dir)
	if err != nil {
		return c, err
	}
	size := Copied{}
	size.describe(head, &x)
	if err := room(s.path, "the restored journal", size.Bytes); err != nil {
		return c, errors.Join(fmt.Errorf("journal: %w", err), s.discard())
	}
	r := &restoring{ctx: ctx, from: &x, to: &s.directory, head: header{newIdentity(), log}}
	if log == (Identity{}) {
		r.head.log = r.head.directory
	}
	if err := r.run(head.log); err != nil {
		err = Short(err, s.path, "the restored journal", size.Bytes)
		return c, errors.Join(err, s.discard())
	}
	c = r.result
	c.Source, c.Taken = manifest.Directory, manifest.Taken
	return c, s.commit()
}

// restoring is a directory that is made from a backup.
type restoring struct {
	ctx    context.Context
	from   *findings
	to     *directory
	head   header // of the new directory
	result Copied
}

func (r *restoring) run(log Identity) error {
	for _, s := range r.from.snapshots {
		if s.damaged { // examine found another one
			r.result.Notes = append(r.result.Notes,
				fmt.Sprintf("snapshot %s is damaged and was left out", s.path))
			continue
		}
		if err := r.snapshot(s.snapshotFile, log); err != nil {
			return fmt.Errorf("journal: restoring %s: %w", s.path, err)
		}
	}
	var sum uint32
	var size int64
	var err error
	for _, s := range r.from.segments {
		if sum, size, err = r.segment(s.path, sum); err != nil {
			return fmt.Errorf("journal: restoring %s: %w", s.path, err)
		}
	}
	mark := r.from.previous
	mark.directory, mark.number, mark.least = r.head.directory, mark.number+restoredAhead, size
	if err := errors.Join(r.to.writeIncarnation(mark), r.to.writeFormat(r.head)); err != nil {
		return err
	}
	x, err := examine(r.to, r.head)
	if err == nil && (x.first != r.from.first || x.last != r.from.last || x.index != r.from.index) {
		err = fmt.Errorf("%w: events %d to %d were restored as %d to %d", ErrCorrupt, r.from.first,
			r.from.last, x.first, x.last)
	}
	r.result.describe(r.head, &x)
	return err
}

// snapshot writes a snapshot under the identity of the new log.
func (r *restoring) snapshot(s snapshotFile, log Identity) error {
	in, err := openSnapshot(s, log)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := os.OpenFile(snapshotPath(r.to.snap(), s.seq), os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		return err
	}
	err = writeSnapshot(f, r.head.log, s.seq, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return errors.Join(err, r.ctx.Err())
	})
	return errors.Join(err, f.Close())
}

// segment writes the records of a segment of the backup under the new header. All checksums of the log
// are one chain, so those of the records after it change as well: sum is where the chain stands before
// and after. The checksums within entries stay, and with them the proof that no event has changed.
func (r *restoring) segment(path string, sum uint32) (after uint32, size int64, err error) {
	in, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer in.Close()
	decoder, err := newDecoder(in)
	if err != nil {
		return 0, 0, err
	}
	out, err := os.OpenFile(filepath.Join(r.to.wal(), filepath.Base(path)),
		os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		return 0, 0, err
	}
	buffered := bufio.NewWriterSize(out, 1<<18)
	record := &walpb.Record{}
	for err == nil {
		if err = decoder.Decode(record); err != nil {
			break
		}
		switch record.GetType() {
		case wal.CrcType:
			decoder.UpdateCRC(record.GetCrc())
		case wal.MetadataType:
			record.Data = []byte(r.head.String())
		}
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), record.GetData())
		record.Crc = new(sum)
		var n int
		n, err = writeFrame(buffered, record)
		size += int64(n)
		err = errors.Join(err, r.ctx.Err())
	}
	if errors.Is(err, io.EOF) { // the backup was verified
		err = nil
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = out.Sync()
	}
	return sum, size, errors.Join(err, out.Close())
}

// writeFrame writes a record as the underlying log does, see frameHeaderBytes, and returns its size.
func writeFrame(w io.Writer, record *walpb.Record) (int, error) {
	data, err := proto.Marshal(record)
	if err != nil {
		return 0, err
	}
	field, padding := uint64(len(data)), -len(data)&7
	if padding != 0 {
		field |= uint64(0x80|padding) << 56
	}
	frame := binary.LittleEndian.AppendUint64(make([]byte, 0, frameHeaderBytes+len(data)+padding), field)
	frame = append(append(frame, data...), make([]byte, padding)...)
	return w.Write(frame)
}
