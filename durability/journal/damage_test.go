package journal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"

	"sluice/durability"
)

// specimen is a closed journal and the bytes of its last segment.
type specimen struct {
	dir   string
	path  string
	bytes []byte
	ends  []int64          // the end of each record of the last segment
	last  []durability.Seq // last event after each of these records
}

// makeSpecimen builds a journal of several segments whose last one holds many batches of different
// sizes.
func makeSpecimen(t *testing.T) *specimen {
	t.Helper()
	s := &specimen{dir: t.TempDir()}
	j, _ := mustOpen(t, s.dir)
	for n := 0; n < 200; n++ {
		commit(t, j.Writer(), n%4+1)
		segments, err := listSegments(j.dir.wal())
		if err != nil {
			t.Fatal(err)
		}
		s.path = segments[len(segments)-1].path
		s.measure(t)
		if len(segments) == 3 && len(s.ends) > 10 && s.ends[len(s.ends)-1] > testSegmentBytes/2 {
			break
		}
	}
	mustClose(t, j)
	s.measure(t)
	return s
}

func (s *specimen) measure(t *testing.T) {
	t.Helper()
	var err error
	if s.bytes, err = os.ReadFile(s.path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.ends, s.last = nil, nil
	decoder, record := wal.NewDecoder(fileutil.NewFileReader(f)), &walpb.Record{}
	var last durability.Seq
	for decoder.Decode(record) == nil {
		if record.GetType() == wal.CrcType {
			decoder.UpdateCRC(record.GetCrc())
		}
		if record.GetType() == wal.EntryType {
			if b, ok := intactEntry(record.GetData()); ok {
				last = b.last()
			}
		}
		s.ends, s.last = append(s.ends, decoder.LastOffset()), append(s.last, last)
	}
}

func (s *specimen) end() int64          { return s.ends[len(s.ends)-1] }
func (s *specimen) seq() durability.Seq { return s.last[len(s.last)-1] }

// read replaces the last segment with changed bytes and scans the whole log: all events found must
// be correct.
func (s *specimen) read(t *testing.T, changed []byte) (contents, error) {
	t.Helper()
	if err := os.WriteFile(s.path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	segments, err := listSegments(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	next := durability.Seq(1)
	found, err := scan(segments, func(e Event) bool {
		if e.Seq != next || string(e.Payload) != string(payloadOf(e.Seq)) {
			t.Fatalf("event %d (want %d) is wrong: damaged data was served", e.Seq, next)
		}
		next++
		return true
	})
	if err != nil && !errors.Is(err, ErrCorrupt) {
		t.Fatalf("error %v, want ErrCorrupt", err)
	}
	return found, err
}

// reopen opens the directory with Open, checks all events, appends some and opens it again.
func (s *specimen) reopen(t *testing.T, changed []byte) (*Recovery, error) {
	t.Helper()
	return s.reopenAt(t, changed, testSegmentBytes)
}

// reopenAt does so for a newest segment that had at least that many bytes.
func (s *specimen) reopenAt(t *testing.T, changed []byte, least int64) (*Recovery, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, walFolder, filepath.Base(s.path))
	d := &directory{path: dir}
	owner := must(d.readFormat())(t).directory
	if err := errors.Join(os.WriteFile(path, changed, 0o600), d.writeIncarnation(
		incarnation{directory: owner, number: 1, least: least, state: stillOpen})); err != nil {
		t.Fatal(err)
	}
	j, r, err := Open(testOptions(dir))
	if err != nil {
		return nil, err
	}
	checkEvents(t, r.Events(), 1, r.Last)
	last := commit(t, j.Writer(), 3)
	mustClose(t, j)
	j, again := mustOpen(t, dir)
	if len(again.Notes) != 0 {
		t.Fatalf("second recovery still has something to repair: %v", again.Notes)
	}
	checkEvents(t, again.Events(), 1, last)
	mustClose(t, j)
	return r, nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

func TestTruncationAtAnyByteIsPrefixOrError(t *testing.T) {
	s := makeSpecimen(t)
	near := s.ends[len(s.ends)-4]
	for size := int64(0); size < s.end(); size++ {
		if size < near && size%11 != 0 {
			continue // every byte of the last three records, a sample before
		}
		found, err := s.read(t, s.bytes[:size])
		want := durability.Seq(0)
		for i, end := range s.ends {
			if end <= size {
				want = max(want, s.last[i])
			}
		}
		if err == nil && want != 0 && found.last != want {
			t.Fatalf("cut at byte %d: events up to %d, want %d", size, found.last, want)
		}
		if err != nil && size >= s.ends[1] {
			t.Fatalf("cut at byte %d: %v; want the events before it", size, err)
		}
	}
}

func TestBitFlipsNeverChangeOrHideAnEvent(t *testing.T) {
	s := makeSpecimen(t)
	rng := rand.New(rand.NewPCG(2, 2))
	detected, harmless := 0, 0
	for at := rng.Int64N(3); at < s.end(); at += 3 {
		changed := clone(s.bytes)
		changed[at] ^= 1 << rng.IntN(8)
		found, err := s.read(t, changed)
		switch {
		case err != nil:
			detected++
		case found.last == s.seq() && found.torn == nil:
			harmless++ // padding between records
		default:
			t.Fatalf("flip in byte %d: %d events of %d, torn: %v; a complete write was taken for "+
				"an unfinished one",
				at, found.last, s.seq(), found.torn)
		}
	}
	t.Logf("%d flips detected, %d harmless", detected, harmless)
	if detected < 9*harmless {
		t.Errorf("%d flips detected, %d harmless: more than padding can explain", detected, harmless)
	}
	for range 10 {
		changed := clone(s.bytes)
		at := rng.Int64N(s.end())
		changed[at] ^= 1 << rng.IntN(8)
		if r, err := s.reopen(t, changed); err == nil && r.Last != s.seq() {
			t.Fatalf("flip in byte %d: Open lost events", at)
		} else if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("flip in byte %d: %v", at, err)
		}
	}
}

// The log's checksum covers neither a record's length and padding nor its kind, which are in its
// first 16 bytes.
func TestEveryBitOfEveryEnvelope(t *testing.T) {
	s := makeSpecimen(t)
	for i := len(s.ends) - 6; i < len(s.ends); i++ {
		for bit := range int64(16 * 8) {
			changed := clone(s.bytes)
			changed[s.ends[i-1]+bit/8] ^= 1 << (bit % 8)
			if found, err := s.read(t, changed); err == nil &&
				(found.last != s.seq() || found.torn != nil) {
				t.Fatalf("record %d of %d, bit %d: events up to %d of %d, torn: %v", i, len(s.ends),
					bit, found.last, s.seq(), found.torn)
			}
		}
	}
}

func TestBitFlipsInEarlierSegmentsAreDamage(t *testing.T) {
	s := makeSpecimen(t)
	segments, err := listSegments(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile(segments[1].path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	s.path = segments[1].path
	whole := s.seq()
	for range 1500 {
		changed := clone(original)
		at := rng.IntN(len(changed))
		changed[at] ^= 1 << rng.IntN(8)
		if found, err := s.read(t, changed); err == nil && found.last != whole {
			t.Fatalf("flip in byte %d: events up to %d of %d without an error", at, found.last, whole)
		}
	}
	if _, err := s.read(t, original[:len(original)-8]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("shortened segment: %v", err)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	var damage *CorruptError
	if _, err := Inspect(s.dir); !errors.As(err, &damage) ||
		!strings.Contains(err.Error(), "is missing before it") {
		t.Errorf("missing segment: %v", err)
	}
}

// A power loss during a write leaves any subset of its sectors unwritten (zero).
func TestPowerLossDropsOnlyTheUnfinishedWrite(t *testing.T) {
	s := makeSpecimen(t)
	rng := rand.New(rand.NewPCG(4, 4))
	torn := 0
	for i := len(s.ends) - 8; i < len(s.ends); i++ {
		from, to := s.ends[i-1], s.ends[i]
		disk := clone(s.bytes)
		clear(disk[to:]) // the disk while record i is being written
		for mask := range uint(64) {
			changed := clone(disk)
			lost := zeroSectors(changed, from, to, mask^uint(rng.IntN(64)))
			found, err := s.read(t, changed)
			if err != nil {
				t.Fatalf("record %d at %d..%d, sectors lost %d: %v; a crash must not be reported "+
					"as damage", i, from, to, lost, err)
			}
			want := s.last[i]
			if lost > 0 {
				want = s.last[i-1]
			}
			if found.last != want {
				t.Fatalf("record %d, sectors lost %d: events up to %d, want %d", i, lost,
					found.last, want)
			}
			if found.torn != nil {
				torn++
				if mask < 2 {
					if r, err := s.reopen(t, changed); err != nil || r.Last != want ||
						len(r.Notes) != 1 {
						t.Fatalf("record %d: %+v, %v", i, r, err)
					}
				}
			}
		}
	}
	if torn == 0 {
		t.Error("no case left a torn record, so the test proves nothing")
	}
}

// zeroSectors clears the sectors of from..to selected by a mask, and counts those that were not
// zero.
func zeroSectors(b []byte, from, to int64, mask uint) (lost int) {
	for n, at := 0, from; at < to; n++ {
		end := min(at-at%sectorBytes+sectorBytes, to)
		if mask>>(n%6)&1 == 1 && !allZero(b[at:end]) {
			clear(b[at:end])
			lost++
		}
		at = end
	}
	return lost
}

func TestDamageBeforeIntactEventsIsNeverRepaired(t *testing.T) {
	s := makeSpecimen(t)
	middle := len(s.ends) / 2
	from, to := s.ends[middle-1], s.ends[middle]
	for _, c := range []struct {
		name   string
		change func(b []byte)
	}{
		{"a sector that reads as zeroes", func(b []byte) { zeroSectors(b, from, to, ^uint(0)) }},
		{"an erased length", func(b []byte) { clear(b[from : from+8]) }},
		{"a length beyond the end of the file", func(b []byte) { b[from+3] = 0x7f }},
		{"a length that includes the next records", func(b []byte) { b[from+1] += 2 }},
		{"a changed byte", func(b []byte) { b[to-9] ^= 0x40 }},
		{"everything from there erased up to the last record",
			func(b []byte) { clear(b[from:s.ends[len(s.ends)-2]]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := clone(s.bytes)
			c.change(changed)
			_, err := s.reopen(t, changed)
			var damage *CorruptError
			if !errors.As(err, &damage) {
				t.Fatalf("Open: %v, want damage", err)
			}
			if filepath.Base(damage.File) != filepath.Base(s.path) || damage.Offset != from ||
				damage.Good != s.last[middle-1] {
				t.Fatalf("%v; want byte %d of %s and events up to %d", err, from, s.path,
					s.last[middle-1])
			}
			if !strings.Contains(err.Error(), "restore the directory") ||
				!strings.Contains(err.Error(), "nothing was changed") {
				t.Fatalf("%v: does not say what to do", err)
			}
		})
	}
}

// Payloads full of zeroes look like unwritten sectors. With intact events after them they must not
// be taken for a torn write.
func TestZeroPayloadsAreNotTakenForUnwrittenSectors(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	w := j.Writer()
	for range 3 {
		w.Append(make([]byte, 3000))
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	segments, _ := listSegments(j.dir.wal())
	mustClose(t, j)
	b, err := os.ReadFile(segments[0].path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 200; at < 5000; at += 97 { // within the first two of three batches
		changed := clone(b)
		changed[at] ^= 1
		if err := os.WriteFile(segments[0].path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := scan(segments, nil); err == nil && (found.torn != nil || found.last != 3) {
			t.Fatalf("flip in byte %d: %+v", at, found)
		}
	}
}

func TestLogThatEndsBeforeItsSnapshotIsDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	commit(t, j.Writer(), 2)
	commit(t, j.Writer(), 2)
	segments, _ := listSegments(j.dir.wal())
	install(t, j, 4)
	mustClose(t, j)
	s := &specimen{path: segments[0].path}
	s.measure(t)
	clear(s.bytes[s.ends[len(s.ends)-2]:]) // the second batch
	if err := os.WriteFile(s.path, s.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	i := must(j.dir.readIncarnation())(t)
	i.last, i.state = 2, stillOpen // the end mark alone would find it too
	if err := j.dir.writeIncarnation(i); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(testOptions(dir)); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "the end of the log was lost") {
		t.Fatalf("Open: %v", err)
	}
}
