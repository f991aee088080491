package journal

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/durability"
)

// flipper is a private copy of a specimen whose bits are flipped in place, one after the other.
type flipper struct {
	dir, path string
	segments  []segment
	whole     durability.Seq // last event of the undamaged log
	origin    []byte         // of the segment under test
	ends      []int64        // of its records
	last      []durability.Seq
	payloads  []string // [seq]
}

// outcome of one flip.
type outcome int

const (
	detected outcome = iota // an error names the segment and a byte at or before the flip; earlier events are served
	same                    // all events are there; the bit is in padding or unused space
)

// read scans with one bit flipped and restores it. Only written events may be served, and none may
// be missing without an error.
func (f *flipper) read(bit int64) (outcome, string) {
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return 0, err.Error()
	}
	defer file.Close()
	at := bit / 8
	if _, err := file.WriteAt([]byte{f.origin[at] ^ 1<<(bit%8)}, at); err != nil {
		return 0, err.Error()
	}
	next := durability.Seq(1)
	wrong := ""
	found, err := scan(f.segments, func(e Event) bool {
		if e.Seq != next || string(e.Payload) != f.payloads[e.Seq] {
			wrong = "damaged data was served"
		}
		next++
		return wrong == ""
	})
	if _, werr := file.WriteAt(f.origin[at:at+1], at); werr != nil {
		return 0, werr.Error()
	}
	if wrong != "" {
		return 0, wrong
	}
	if err == nil {
		if found.last != f.whole || next != f.whole+1 {
			return 0, "events are missing without an error"
		}
		return same, ""
	}
	var damage *CorruptError
	if errors.As(err, &damage) && damage.Good != next-1 {
		return 0, "serves events that it does not report as intact: " + err.Error()
	}
	return f.checkError(err, at)
}

// checkError requires that the error names the file, and an offset at or before the damage, with
// all events before it intact.
func (f *flipper) checkError(err error, at int64) (outcome, string) {
	var damage *CorruptError
	if !errors.As(err, &damage) || !errors.Is(err, ErrCorrupt) {
		return 0, "not a CorruptError: " + err.Error()
	}
	if filepath.Dir(damage.File) != filepath.Dir(f.path) || damage.Offset < 0 {
		return 0, "does not name the place: " + err.Error()
	}
	if damage.File != f.path {
		// The flip is in the checksum that the next segment continues, or in the end of the
		// segment.
		if damage.File < f.path {
			return 0, "names an earlier segment: " + err.Error()
		}
		return detected, ""
	}
	if damage.Offset > at {
		return 0, "names a place after the damage: " + err.Error()
	}
	before := durability.Seq(0) // last event of the records that end before the damage
	for i, end := range f.ends {
		if end <= damage.Offset {
			before = f.last[i]
		}
	}
	if damage.Good < before {
		return 0, "reports intact events as lost: " + err.Error()
	}
	return detected, ""
}

// flipEveryBit tries all bits of a segment, with one goroutine for each processor, and returns the
// counts.
func flipEveryBit(t *testing.T, s *specimen, path string, stride int64) (flips, detections int64) {
	t.Helper()
	var next, found, total atomic.Int64
	var workers sync.WaitGroup
	origin, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	payloads := make([]string, s.seq()+1)
	for seq := range payloads {
		payloads[seq] = string(payloadOf(durability.Seq(seq)))
	}
	mine := &specimen{path: path}
	mine.measure(t)
	for range runtime.GOMAXPROCS(0) {
		dir := filepath.Join(fastFolder(t), "copy")
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		segments, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := &flipper{dir: dir, path: filepath.Join(dir, filepath.Base(path)), segments: segments,
			whole: s.seq(), origin: origin,
			ends: mine.ends, last: mine.last, payloads: payloads}
		workers.Go(func() {
			for !t.Failed() {
				bit := next.Add(stride) - stride
				if bit >= int64(len(origin))*8 {
					break
				}
				result, wrong := f.read(bit)
				if wrong != "" {
					t.Errorf("bit %d of byte %d of %s: %s", bit%8, bit/8, filepath.Base(path), wrong)
				}
				total.Add(1)
				if result == detected {
					found.Add(1)
				}
			}
		})
	}
	workers.Wait()
	return total.Load(), found.Load()
}

// TestEveryBitOfASegment flips each bit of the newest segment, including its unused space, and of
// an earlier one, and reads the log: 131,072 bits of 16 KiB each, `SLUICE_SOAK=1 go test -run
// TestEveryBitOfASegment -v ./durability/journal`; without the variable every fifty-third. Either
// all events are read as written, or an error names the place and nothing after it is served.
func TestEveryBitOfASegment(t *testing.T) {
	stride := int64(53)
	if os.Getenv("SLUICE_SOAK") != "" {
		stride = 1
	} else if testing.Short() {
		stride = 203
	}
	s := makeSpecimen(t)
	segments, err := listSegments(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range segments[1:] {
		which := "an earlier segment"
		if segment.path == s.path {
			which = "the newest segment"
		}
		flips, detections := flipEveryBit(t, s, segment.path, stride)
		t.Logf("%s, %d bytes: %d bits flipped, %d detected, %d changed nothing (padding, unused "+
			"space), 0 wrong, 0 missing",
			which, len(must(os.ReadFile(segment.path))(t)), flips, detections, flips-detections)
		if detections*3 < flips && !strings.Contains(which, "newest") {
			t.Errorf("only %d of %d flips detected in %s", detections, flips, which)
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
