package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What follows an unreadable place is read without the unused part of the segment, but with all zeroes that
// an intact record there may have.
func TestRestOfSegmentIsReadAsFarAsRecordsGo(t *testing.T) {
	const segmentBytes = 256 << 20
	path := filepath.Join(t.TempDir(), "sparse")
	if err := errors.Join(os.WriteFile(path, []byte("begin"), 0o600), os.Truncate(path, segmentBytes)); err != nil {
		t.Fatal(err)
	}
	f := must(os.Open(path))(t)
	defer f.Close()
	used := must(usedFrom(f, 0))(t)
	rest := must(readFrom(f, 0, used))(t)
	if used < 5 || len(rest) < maxRecordBytes || len(rest) > maxRecordBytes+1<<20 {
		t.Errorf("used up to byte %d: %d bytes read", used, len(rest))
	}

	j, _, err := Open(Options{Dir: filepath.Join(t.TempDir(), "j"), SegmentBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := j.Writer().Append(make([]byte, MaxPayloadBytes)); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Writer().Commit(); err != nil {
			t.Fatal(err)
		}
	}
	segments := must(listSegments(j.dir.wal()))(t)
	mustClose(t, j)
	s := &specimen{path: segments[0].path}
	s.measure(t)
	first := s.ends[len(s.ends)-3] // of the first entry
	clear(s.bytes[first : first+sectorBytes-first%sectorBytes])
	if err := os.WriteFile(s.path, s.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := scan(segments, nil); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "intact events 2 to 2 follow") {
		t.Errorf("scan: %v", err)
	}
}
