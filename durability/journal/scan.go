package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"sluice/durability"
)

// segment is one file of the log. The name contains its number and the index of its first entry.
type segment struct {
	path       string
	number     uint64
	firstIndex uint64
	first      durability.Seq // first event in it; 0 while unknown or if it has none
}

// contents is the result of a scan.
type contents struct {
	segments []segment
	first    durability.Seq // oldest event kept, 0 if there is none
	last     durability.Seq // newest event
	index    uint64         // of the newest entry
	term     uint64         // incarnation that wrote it
	end      int64          // of the records of the newest segment, bytes from its start
	torn     *tornTail      // the unfinished last write of a crash, nil if the log ends cleanly
}

// tornTail is the part of a never acknowledged write that is left after a crash.
type tornTail struct {
	path   string
	offset int64
	why    string
}

func (t *tornTail) String() string {
	return fmt.Sprintf("unfinished last write in %s at byte %d (%s)", t.path, t.offset, t.why)
}

// listSegments returns the files of the log in order. Other names are ignored.
func listSegments(folder string) ([]segment, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("journal: reading the log's directory: %w", err)
	}
	var out []segment
	for _, e := range entries {
		s := segment{path: filepath.Join(folder, e.Name())}
		if filepath.Ext(e.Name()) != ".wal" {
			continue
		}
		if n, err := fmt.Sscanf(e.Name(), "%016x-%016x.wal", &s.number, &s.firstIndex); n == 2 &&
			err == nil {
			out = append(out, s)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].number < out[j].number })
	return out, nil
}

// scanner reads the log from a segment on, in order, and verifies everything: checksum chain, entry
// order, event order, kinds of record and each batch's own checksum. The log's own reader accepts
// records whose kind was damaged, and takes any unreadable place in the last segment for the end.
type scanner struct {
	contents
	visit func(Event) bool // nil to verify only
	known bool             // an entry was seen, so order can be checked
	crc   uint32           // of the chain at the end of the last segment read
	done  bool             // visit returned false
}

// scan verifies the log in a folder and calls visit, if not nil, for each event.
func scan(segments []segment, visit func(Event) bool) (contents, error) {
	s := scanner{contents: contents{segments: append([]segment(nil), segments...)}, visit: visit}
	for i := range s.segments {
		if i > 0 && s.segments[i].number != s.segments[i-1].number+1 {
			return s.contents, s.corrupt(i, -1,
				fmt.Sprintf("segment %d is missing before it", s.segments[i-1].number+1))
		}
		if err := s.segment(i); err != nil || s.done {
			return s.contents, err
		}
	}
	return s.contents, nil
}

// newDecoder begins to read a segment. The underlying log panics if it cannot get the file's
// length.
func newDecoder(f *os.File) (decoder wal.Decoder, err error) {
	err = guard(func() error { decoder = wal.NewDecoder(fileutil.NewFileReader(f)); return nil })
	if err != nil {
		return nil, fmt.Errorf("journal: reading %s: %w", f.Name(), err)
	}
	return decoder, nil
}

func (s *scanner) corrupt(i int, offset int64, why string) error {
	return &CorruptError{File: s.segments[i].path, Offset: offset, Good: s.last, Why: why}
}

func (s *scanner) segment(i int) error {
	f, err := os.Open(s.segments[i].path)
	if err != nil {
		return gone(fmt.Errorf("journal: opening a segment: %w", err))
	}
	defer f.Close()
	// One decoder for each file, so that offsets and errors name the right file.
	decoder, err := newDecoder(f)
	if err != nil {
		return err
	}
	record := &walpb.Record{}
	for n := 0; !s.done; n++ {
		offset := decoder.LastOffset()
		if err := decoder.Decode(record); err != nil {
			s.crc, s.contents.end = decoder.LastCRC(), offset
			return s.end(i, f, offset, n, err)
		}
		why := ""
		switch {
		case n == 0:
			why = s.head(i, decoder, record)
		case n == 1:
			if _, ok := parseHeader(string(record.GetData())); !ok ||
				record.GetType() != wal.MetadataType {
				why = "the segment does not belong to a journal of this format"
			}
		default:
			why = s.body(i, record)
		}
		if why == "" && decoder.LastOffset()%8 != 0 {
			why = "impossible padding" // not covered by the checksum, and every later record would be misread
		}
		if why != "" {
			return s.corrupt(i, offset, why)
		}
	}
	return nil
}

// head checks that the segment continues the checksum chain of the previous one.
func (s *scanner) head(i int, decoder wal.Decoder, record *walpb.Record) string {
	if record.GetType() != wal.CrcType {
		return "the segment's header is damaged"
	}
	if i > 0 && record.GetCrc() != s.crc {
		return "the segment does not continue the one before it"
	}
	decoder.UpdateCRC(record.GetCrc())
	return ""
}

// body processes one record after the header. There are two kinds: entries, and markers, which only name
// an entry. The underlying log writes a marker when it is created; earlier versions of this package wrote
// one with each snapshot.
func (s *scanner) body(i int, record *walpb.Record) string {
	switch record.GetType() {
	case wal.EntryType:
		return s.entry(i, record.GetData())
	case wal.SnapshotType:
		var m walpb.Snapshot
		if err := proto.Unmarshal(record.GetData(), &m); err != nil {
			return "unreadable snapshot marker"
		}
		if m.GetIndex() > s.index && s.known {
			return fmt.Sprintf("snapshot marker for entry %d after entry %d", m.GetIndex(), s.index)
		}
		return ""
	default:
		return fmt.Sprintf("unexpected kind of record: %d", record.GetType())
	}
}

func (s *scanner) entry(i int, data []byte) string {
	var e raftpb.Entry
	if err := proto.Unmarshal(data, &e); err != nil {
		return "unreadable entry"
	}
	b, err := decodeBatch(e.GetData())
	if err != nil {
		return "unreadable batch"
	}
	seg := &s.segments[i]
	switch {
	case s.known && e.GetIndex() != s.index+1:
		return fmt.Sprintf("entry %d follows entry %d", e.GetIndex(), s.index)
	case s.known && b.first != s.last+1:
		return fmt.Sprintf("event %d follows event %d", b.first, s.last)
	case s.known && e.GetTerm() < s.term:
		return fmt.Sprintf("an entry of incarnation %d follows one of %d", e.GetTerm(), s.term)
	case !s.known && e.GetIndex() == 1 && b.first != 1:
		return fmt.Sprintf("the log begins with event %d", b.first)
	case seg.first == 0 && e.GetIndex() != max(seg.firstIndex, 1):
		return fmt.Sprintf("the segment begins with entry %d", e.GetIndex())
	}
	if !s.known {
		s.known, s.first = true, b.first
	}
	if seg.first == 0 {
		seg.first = b.first
	}
	s.index, s.term, s.last = e.GetIndex(), e.GetTerm(), b.last()
	if s.visit != nil && !b.events(s.visit) {
		s.done = true
	}
	return ""
}

// end decides why reading stopped after n intact records: the segment's end, the unfinished write
// of a crash, or damage.
func (s *scanner) end(i int, f *os.File, offset int64, n int, cause error) error {
	var refused *os.PathError
	if errors.As(cause, &refused) { // the read failed; the content is unknown, not damaged
		return fmt.Errorf("journal: reading a segment: %w", cause)
	}
	if n < 2 {
		return s.corrupt(i, offset, "the segment's header is incomplete")
	}
	used, err := usedFrom(f, offset)
	if err != nil {
		return fmt.Errorf("journal: reading a segment: %w", err)
	}
	if errors.Is(cause, io.EOF) && used == offset {
		return nil
	}
	if i != len(s.segments)-1 {
		return s.corrupt(i, offset, cause.Error())
	}
	rest, err := readFrom(f, offset, used)
	if err != nil {
		return fmt.Errorf("journal: reading a segment: %w", err)
	}
	torn, why := judgeTail(rest, offset)
	if !torn {
		return s.corrupt(i, offset, why)
	}
	s.torn = &tornTail{path: s.segments[i].path, offset: offset, why: why}
	return nil
}

// usedFrom returns where in a file the last chunk with a byte that is not zero ends, or offset if all
// bytes from there on are zero: the preallocated part of a segment.
func usedFrom(f *os.File, offset int64) (used int64, err error) {
	chunk := make([]byte, 256<<10)
	for used = offset; ; {
		n, err := f.ReadAt(chunk, offset)
		offset += int64(n)
		if !allZero(chunk[:n]) {
			used = offset
		}
		if errors.Is(err, io.EOF) {
			return used, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// readFrom returns the file from offset to its end. Of the zeroes behind used, it returns as many as the
// largest frame that began before them may have.
func readFrom(f *os.File, offset, used int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := min(info.Size(), used+frameHeaderBytes+maxRecordBytes+8)
	rest := make([]byte, max(size-offset, 0))
	n, err := f.ReadAt(rest, offset)
	if errors.Is(err, io.EOF) {
		err = nil // the file became shorter meanwhile: a live log read by a tool
	}
	return rest[:n], err
}
