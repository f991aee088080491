package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"sluice/durability"
)

// forge writes a segment as the log does, with correct checksums, but from records that the log
// never writes: wrong kinds, order or numbers. Fuzzed bytes alone would rarely pass the checksums.
type forge struct {
	out []byte
	crc uint32
}

func (f *forge) record(kind int64, data []byte) {
	if kind != wal.CrcType {
		f.crc = crc32.Update(f.crc, crc32.MakeTable(crc32.Castagnoli), data)
	}
	record, err := proto.Marshal(&walpb.Record{Type: &kind, Crc: &f.crc, Data: data})
	if err != nil {
		panic(err)
	}
	padding := (8 - len(record)%8) % 8
	length := uint64(len(record))
	if padding != 0 {
		length |= uint64(0x80|padding) << 56
	}
	f.out = binary.LittleEndian.AppendUint64(f.out, length)
	f.out = append(append(f.out, record...), make([]byte, padding)...)
}

func (f *forge) message(kind int64, m proto.Message) {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	f.record(kind, data)
}

// forgeSegment makes a segment from a script with two bytes for each record: its kind and a detail.
// The script "e0e0e0" is a correct log of three batches.
func forgeSegment(script []byte) []byte {
	f := &forge{}
	f.record(wal.CrcType, nil)
	f.record(wal.MetadataType, []byte(forgedHeader.String()))
	marker := func(index, term uint64) {
		f.message(wal.SnapshotType, &walpb.Snapshot{Index: &index, Term: &term})
	}
	marker(0, 0)
	index, seq, term := uint64(0), durability.Seq(0), uint64(1)
	for ; len(script) >= 2 && len(f.out) < 100<<10; script = script[2:] {
		detail := script[1] - '0'
		count := 1 + int(detail%4)
		switch script[0] {
		case 'i': // the next entry is out of order
			index += uint64(detail)
		case 'n': // the next event's number is
			seq += durability.Seq(detail)
		case 't':
			term += uint64(detail) - 1
		case 'm':
			marker(index+uint64(detail)-1, term)
		case 'k': // a kind of record that the journal does not write
			f.record(int64(detail), []byte("what is this"))
		case 'z': // an end of the log in the middle
			f.out = append(f.out, make([]byte, 8*int(detail))...)
		case 'b': // an entry without a batch
			index++
			f.message(wal.EntryType, &raftpb.Entry{Term: &term, Index: &index,
				Data: fmt.Appendf(nil, "%d", detail)})
		default:
			var payloads [][]byte
			for n := range count {
				payloads = append(payloads, payloadOf(seq+1+durability.Seq(n)))
			}
			index++
			f.message(wal.EntryType, &raftpb.Entry{Term: &term, Index: &index,
				Data: encodeBatch(seq+1, payloads...)})
			seq += durability.Seq(count)
		}
	}
	return f.out
}

// FuzzRecovery opens a journal whose only segment is forged, with bytes changed and the end cut
// off: `go test -run xxx -fuzz FuzzRecovery ./durability/journal`. Open may reject it as damage
// without changing the log, or accept it; then the events have no gap and are those that were
// forged, a second Open finds the same, and appended events are kept.
func FuzzRecovery(f *testing.F) {
	for _, script := range []string{"", "e0", "e0e1e2e3", "e3e3m1e3", "e0i1e0", "e0n1e0",
		"e0t2e0t0e0", "e0k3", "e0k9e1", "e0z1e0", "e0b1", "m1e0m3e0"} {
		f.Add([]byte(script), uint16(0), byte(0), uint16(0), uint16(4096))
		f.Add([]byte(script), uint16(90), byte(1), uint16(0), uint16(0))
		f.Add([]byte(script), uint16(0), byte(0), uint16(9), uint16(0))
	}
	f.Fuzz(func(t *testing.T, script []byte, at uint16, xor byte, cut, unused uint16) {
		segment := forgeSegment(script)
		segment = segment[:max(len(segment)-int(cut), 0)]
		if int(at) < len(segment) {
			segment[at] ^= xor
		}
		segment = append(segment, make([]byte, unused)...)
		dir := forgeDirectory(t, segment)
		last, inc := durability.Seq(0), uint64(255)
		for round := range 3 {
			j, r, err := Open(testOptions(dir))
			if err != nil {
				refused(t, err, round, dir, segment)
				return
			}
			if round > 0 && r.Last != last || r.Incarnation != inc+1 {
				t.Fatalf("opening %d: event %d last, incarnation %d; before it was %d and %d",
					round, r.Last, r.Incarnation, last, inc)
			}
			checkEvents(t, r.Events(), 1, r.Last)
			last, inc = r.Last, r.Incarnation
			if round == 1 {
				last = commit(t, j.Writer(), 3)
			}
			mustClose(t, j)
		}
	})
}

// refused checks that only the first Open rejects the log, as damage, and leaves the segment
// unchanged.
func refused(t *testing.T, err error, round int, dir string, segment []byte) {
	t.Helper()
	if round > 0 || !errors.Is(err, ErrCorrupt) {
		t.Fatalf("opening %d: %v", round, err)
	}
	left, readErr := os.ReadFile(filepath.Join(dir, walFolder, forgedName))
	if readErr != nil || string(left) != string(segment) {
		t.Fatalf("refused (%v) and changed: %d bytes of %d, %v", err, len(left), len(segment), readErr)
	}
}

const forgedName = "0000000000000000-0000000000000000.wal"

var forgedHeader = header{Identity{1}, Identity{2}}

func forgeDirectory(t *testing.T, segment []byte) string {
	dir := filepath.Join(fastFolder(t), "journal")
	d := &directory{path: dir}
	err := errors.Join(os.MkdirAll(d.wal(), privateFolder), os.Mkdir(d.snap(), privateFolder),
		os.WriteFile(filepath.Join(d.wal(), forgedName), segment,
			privateFile), d.writeFormat(forgedHeader), d.writeIncarnation(incarnation{directory: forgedHeader.directory,
			number: 255, state: stillOpen}))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
