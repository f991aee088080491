package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A newest segment that is shorter than its full size was cut, wherever, and is refused by Open and
// Inspect, which change nothing. With its bytes back it is read again.
func TestCutSegmentIsRefused(t *testing.T) {
	s := makeSpecimen(t)
	full := int64(len(s.bytes))
	if full != testSegmentBytes {
		t.Fatalf("the newest segment has %d bytes, want its full size of %d", full, testSegmentBytes)
	}
	sizes := append([]int64{0, 1, full - 1, full - 512, s.end() + 8}, s.ends...)
	for size := int64(7); size < full; size += 531 {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		if err := os.Truncate(s.path, size); err != nil {
			t.Fatal(err)
		}
		for name, open := range map[string]func() error{
			"Open":    func() error { _, _, err := Open(testOptions(s.dir)); return err },
			"Inspect": func() error { _, err := Inspect(s.dir); return err },
		} {
			err := open()
			var damage *CorruptError
			if !errors.As(err, &damage) || damage.File != s.path || damage.Offset != size ||
				!strings.Contains(err.Error(), fmt.Sprintf("was cut: it has %d bytes, and had at "+
					"least %d", size, full)) {
				t.Fatalf("%s of a segment cut to %d bytes: %v", name, size, err)
			}
			for i, end := range s.ends {
				if end <= size && s.last[i] > damage.Good {
					t.Fatalf("%v; want events up to %d", err, s.last[i])
				}
			}
		}
		if info, err := os.Stat(s.path); err != nil || info.Size() != size {
			t.Fatalf("the segment has %d bytes after it was refused with %d", info.Size(), size)
		}
		if err := os.WriteFile(s.path, s.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, r := mustOpen(t, s.dir)
	checkEvents(t, r.Events(), 1, s.seq())
	mustClose(t, j)
}

// Segments of another size are accepted after the setting was changed, and a cut is noticed again.
func TestSegmentSizeCanBeChanged(t *testing.T) {
	dir := t.TempDir()
	last := 0
	for n, size := range []int64{16 << 10, 64 << 10, 8 << 10, 8 << 10, 32 << 10, 16 << 10} {
		j, r, err := Open(Options{Dir: dir, SegmentBytes: size})
		if err != nil {
			t.Fatalf("opening %d with %d bytes: %v", n, size, err)
		}
		checkEvents(t, r.Events(), 1, r.Last)
		for range 30 * n { // none and several segments
			last = int(commit(t, j.Writer(), 5))
		}
		mustClose(t, j)
		log, err := Inspect(dir)
		if err != nil || int(log.Last) != last {
			t.Fatalf("after opening %d with %d bytes: %+v, %v", n, size, log, err)
		}
		newest := log.segments[len(log.segments)-1].path
		info, err := os.Stat(newest)
		if err != nil || info.Size() < size {
			t.Fatalf("the newest segment has %d bytes, want %d or more", info.Size(), size)
		}
		whole := must(os.ReadFile(newest))(t)
		if err := os.Truncate(newest, size-1); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(dir); !errors.Is(err, ErrCorrupt) ||
			!strings.Contains(err.Error(), "was cut") {
			t.Errorf("after opening %d with %d bytes, the newest segment cut by one byte: %v", n,
				size, err)
		}
		if err := os.WriteFile(newest, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, formatFile)); err != nil {
		t.Fatal(err)
	}
}

// A kill while the log is opened may leave the newest segment shorter, with all its records.
func TestKillWhileOpeningLeavesShorterSegment(t *testing.T) {
	s := makeSpecimen(t)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		size := s.ends[2] + rng.Int64N(s.end()-s.ends[2])
		if _, err := s.reopenAt(t, s.bytes[:size], s.ends[2]); err != nil {
			t.Fatalf("%d bytes left: %v", size, err)
		}
	}
}
