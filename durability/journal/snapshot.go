package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"

	"sluice/durability"
)

// A snapshot file is the application's bytes followed by a trailer, little-endian:
//
//	offset  size  field
//	0       8     "sluices2"
//	8       16    identity of the log
//	24      8     sequence number of the last event it includes
//	32      8     bytes before the trailer
//	40      4     CRC-32C of these bytes and of the trailer up to here
//
// The size is known only at the end, hence a trailer. The name is the sequence number in 16
// hexadecimal digits.
const (
	snapshotMagic     = "sluices2"
	snapshotTrailer   = 44
	snapshotsKept     = 2
	snapshotExtension = ".snap"
	damagedExtension  = ".damaged"
)

type snapshotFile struct {
	path string
	seq  durability.Seq
}

func snapshotPath(folder string, seq durability.Seq) string {
	return filepath.Join(folder, fmt.Sprintf("%016x%s", uint64(seq), snapshotExtension))
}

// listSnapshots returns the installed snapshots, newest first.
func listSnapshots(folder string) ([]snapshotFile, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("journal: reading the snapshots' directory: %w", err)
	}
	var out []snapshotFile
	for _, e := range entries {
		var seq uint64
		if n, err := fmt.Sscanf(e.Name(), "%016x.snap", &seq); n != 1 || err != nil ||
			filepath.Ext(e.Name()) != snapshotExtension {
			continue
		}
		out = append(out, snapshotFile{path: filepath.Join(folder, e.Name()), seq: durability.Seq(seq)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].seq > out[j].seq })
	return out, nil
}

// Snapshot is a snapshot that is on disk under a temporary name. It takes effect when the writer
// installs it.
type Snapshot struct {
	temporary string
	seq       durability.Seq
}

// Seq is the last event the snapshot includes.
func (s *Snapshot) Seq() durability.Seq { return s.seq }

// Discard removes the temporary file of a snapshot that will not be installed.
func (s *Snapshot) Discard() error { return os.Remove(s.temporary) }

// PrepareSnapshot writes the application's state as of event seq to a temporary file and syncs it.
// Any goroutine may call it, including several at a time. Normally the application's goroutine
// does, because only it knows which events its state includes. Pass the result to Committer.Offer
// or Writer.Install. An error leaves the journal unchanged.
func (j *Journal) PrepareSnapshot(seq durability.Seq, write func(io.Writer) error) (*Snapshot, error) {
	if seq == 0 {
		return nil, errors.New("journal: a snapshot of no events (seq 0) has no use; take one " +
			"after the first event")
	}
	if err := j.dir.check(); err != nil {
		return nil, err
	}
	if err := j.dir.awaitDescriptors(j.writer.lg, "a snapshot"); err != nil {
		return nil, fmt.Errorf("journal: creating a snapshot: %w", err)
	}
	f, err := os.CreateTemp(j.dir.snap(), fmt.Sprintf("%016x-*.tmp", uint64(seq)))
	if err != nil {
		return nil, fmt.Errorf("journal: creating a snapshot: %w", err)
	}
	err = writeSnapshot(f, j.head.log, seq, write)
	info, _ := f.Stat()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		if info != nil {
			err = Short(err, j.dir.path, "a snapshot", info.Size()+4<<10) // more than what found room
		}
		return nil, errors.Join(fmt.Errorf("journal: writing snapshot %d in %s: %w", seq,
			j.dir.snap(), err), os.Remove(f.Name()))
	}
	return &Snapshot{temporary: f.Name(), seq: seq}, nil
}

// summed forwards writes, and computes their checksum and size.
type summed struct {
	to    io.Writer
	sum   hash.Hash32
	bytes uint64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.sum.Write(p[:n])
	s.bytes += uint64(n)
	return n, err
}

func writeSnapshot(f *os.File, log Identity, seq durability.Seq,
	write func(io.Writer) error) error {
	buffered := bufio.NewWriterSize(f, 1<<18)
	body := &summed{to: buffered, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	if err := write(body); err != nil {
		return err
	}
	trailer := append(make([]byte, 0, snapshotTrailer), snapshotMagic...)
	trailer = append(trailer, log[:]...)
	trailer = binary.LittleEndian.AppendUint64(trailer, uint64(seq))
	trailer = binary.LittleEndian.AppendUint64(trailer, body.bytes)
	body.sum.Write(trailer)
	trailer = binary.LittleEndian.AppendUint32(trailer, body.sum.Sum32())
	if _, err := buffered.Write(trailer); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// openSnapshot verifies a whole snapshot and returns a reader of the application's bytes. A snapshot
// of another log than owner is a ForeignError.
func openSnapshot(s snapshotFile, owner Identity) (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	size, seq, log, err := verifySnapshot(f)
	switch {
	case err != nil:
	case log != owner:
		err = &ForeignError{s.path, "log", log, owner}
	case seq != s.seq:
		err = errBadSnapshot
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &snapshotReader{Reader: io.NewSectionReader(f, 0, size), Closer: f}, nil
}

type snapshotReader struct {
	io.Reader
	io.Closer
}

var errBadSnapshot = errors.New("checksum, size or name is wrong")

// verifySnapshot returns the number of the application's bytes, the last event that they include, and the
// log that they belong to.
func verifySnapshot(f *os.File) (size int64, seq durability.Seq, log Identity, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, log, err
	}
	size = info.Size() - snapshotTrailer
	if size < 0 {
		return 0, 0, log, errBadSnapshot
	}
	trailer := make([]byte, snapshotTrailer)
	if _, err := f.ReadAt(trailer, size); err != nil {
		return 0, 0, log, err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size+snapshotTrailer-4)); err != nil {
		return 0, 0, log, err
	}
	u64 := binary.LittleEndian.Uint64
	if string(trailer[:8]) != snapshotMagic || u64(trailer[32:]) != uint64(size) ||
		binary.LittleEndian.Uint32(trailer[40:]) != sum.Sum32() {
		return 0, 0, log, errBadSnapshot
	}
	return size, durability.Seq(u64(trailer[24:])), Identity(trailer[8:24]), nil
}
