package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever stands in the last segment from some byte on: what is recovered are the events that were written, in order
// and without a gap, or it is said that the log is damaged. Scanning keeps no more than a batch in memory.
func FuzzRecovery(f *testing.F) {
	f.Add(uint32(0), uint32(0), []byte{})
	f.Add(uint32(300), uint32(0), []byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0})
	f.Add(uint32(16), uint32(700), []byte{})
	f.Add(uint32(1000), uint32(0), make([]byte, 512))
	home := filepath.Join(f.TempDir(), "log")
	var s *specimen
	f.Fuzz(func(t *testing.T, at, cut uint32, patch []byte) {
		if s == nil { // its own directory ends with the first call
			made := makeSpecimen(t)
			if err := os.CopyFS(home, os.DirFS(made.dir)); err != nil {
				t.Fatal(err)
			}
			made.dir, made.path = home, filepath.Join(home, walFolder, filepath.Base(made.path))
			s = made
		}
		changed := clone(s.bytes)
		copy(changed[int64(at)%s.end():], patch)
		if cut != 0 {
			changed = changed[:int64(cut)%s.end()]
		}
		found, err := s.read(t, changed) // fails if a wrong event is served
		if err == nil && found.last > s.seq() {
			t.Fatalf("%d events found, %d were written", found.last, s.seq())
		}
	})
}
