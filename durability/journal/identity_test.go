package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/durability"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	j, first := mustOpen(t, dir)
	if first.Directory == (Identity{}) || first.Log != first.Directory {
		t.Fatalf("directory %s, log %s; want a random identity for both", first.Directory, first.Log)
	}
	for range 30 { // over several segments
		commit(t, j.Writer(), 10)
	}
	mustClose(t, j)
	for range 2 {
		j, r := mustOpen(t, dir)
		if r.Directory != first.Directory || r.Log != first.Log {
			t.Errorf("directory %s and log %s, before it was %s", r.Directory, r.Log, first.Directory)
		}
		mustClose(t, j)
	}
	log, err := Inspect(dir)
	if err != nil || log.Directory != first.Directory || log.Identity != first.Log {
		t.Fatalf("Inspect: %+v, %v", log, err)
	}
	for _, s := range log.segments {
		if h, ok, err := segmentHeader(s.path); h.directory != first.Directory || !ok || err != nil {
			t.Errorf("%s: %v, %v, %v", s.path, h, ok, err)
		}
	}
	j, other := mustOpen(t, t.TempDir())
	mustClose(t, j)
	if other.Directory == first.Directory {
		t.Error("two directories have one identity")
	}
}

// A crash before FORMAT is written leaves the identity in the log.
func TestIdentityIsKeptByCrashDuringCreation(t *testing.T) {
	dir := t.TempDir()
	j, first := mustOpen(t, dir)
	mustClose(t, j)
	if err := os.Remove(filepath.Join(dir, formatFile)); err != nil {
		t.Fatal(err)
	}
	j, r := mustOpen(t, dir)
	if r.Directory != first.Directory {
		t.Errorf("directory %s, before it was %s", r.Directory, first.Directory)
	}
	mustClose(t, j)
}

func TestLogIdentityIsCompared(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Log = Identity{7}
	for _, given := range []Identity{{7}, {7}, {}} { // created, named again, not named
		o.Log = given
		j, r, err := Open(o)
		if err != nil || r.Log != (Identity{7}) || r.Directory == r.Log {
			t.Fatalf("log %s given: %+v, %v", given, r, err)
		}
		mustClose(t, j)
	}
	o.Log = Identity{8}
	_, _, err := Open(o)
	var foreign *ForeignError
	if !errors.As(err, &foreign) || foreign.Kind != "log" || foreign.Found != (Identity{7}) ||
		foreign.Want != o.Log || foreign.File != filepath.Join(o.Dir, formatFile) {
		t.Errorf("another log: %v", err)
	}
}

// twins returns two closed directories with the same events, entries, file names and snapshot.
func twins(t *testing.T) (dirs [2]string, ids [2]Identity, segments []segment) {
	t.Helper()
	for i := range dirs {
		dirs[i] = t.TempDir()
		j, r := mustOpen(t, dirs[i])
		ids[i] = r.Directory
		for n := 1; n <= 30; n++ {
			last := commit(t, j.Writer(), 10)
			if n == 15 || n == 20 {
				install(t, j, last)
			}
		}
		mustClose(t, j)
	}
	log, err := Inspect(dirs[1])
	if err != nil || len(log.segments) < 3 {
		t.Fatalf("%+v, %v", log, err)
	}
	return dirs, ids, log.segments
}

func TestForeignFilesAreRefusedByName(t *testing.T) {
	dirs, ids, segments := twins(t)
	snapshot := snapshotPath("", must(Inspect(dirs[0]))(t).Snapshots[0].Seq)
	older := snapshotPath("", must(Inspect(dirs[0]))(t).Snapshots[1].Seq)
	names := []string{filepath.Join(snapFolder, snapshot), formatFile, filepath.Join(snapFolder, older),
		incarnationFile}
	for _, s := range segments {
		names = append(names, filepath.Join(walFolder, filepath.Base(s.path)))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(dirs[0])); err != nil {
				t.Fatal(err)
			}
			kind, file, found, want := "directory", filepath.Join(dir, name), ids[1], ids[0]
			switch {
			case name == formatFile: // it disagrees with every segment: the first one is named
				file, found, want = filepath.Join(dir, names[4]), ids[0], ids[1]
			case strings.HasPrefix(name, snapFolder):
				kind = "log"
			}
			from := name
			if name == names[0] {
				from = names[2] // under the name of another event
			}
			data := must(os.ReadFile(filepath.Join(dirs[1], from)))(t)
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			for who, open := range map[string]func() error{
				"Open":    func() error { _, _, err := Open(testOptions(dir)); return err },
				"Inspect": func() error { _, err := Inspect(dir); return err },
			} {
				err := open()
				var foreign *ForeignError
				if !errors.As(err, &foreign) || *foreign != (ForeignError{file, kind, found, want}) ||
					!errors.Is(err, ErrForeign) || errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: %v; want %s of %s %s in %s", who, err, file, kind, found, want)
				}
			}
			if after := listing(t, dir); after != before {
				t.Errorf("refused and changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// listing is the content of a directory without LOCK.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == lockFile {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s: %d bytes, sum %08x\n", path, len(data), checksum(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Every bit of the small files and of a snapshot: it is refused, or nothing changes.
func TestEveryBitOfFormatIncarnationAndSnapshot(t *testing.T) {
	dir := t.TempDir()
	j, opened := mustOpen(t, dir)
	for range 2 {
		last := commit(t, j.Writer(), 3)
		s, err := j.PrepareSnapshot(last, func(w io.Writer) error {
			_, err := w.Write([]byte("state"))
			return err
		})
		if err == nil {
			err = j.Writer().Install(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, j)
	d, at := &directory{path: dir}, durability.Seq(6)
	for _, c := range []struct {
		path string
		read func() (same bool, err error)
	}{
		{d.file(formatFile), func() (bool, error) {
			h, err := d.readFormat()
			return h == header{opened.Directory, opened.Log}, err
		}},
		{d.file(incarnationFile), func() (bool, error) {
			i, err := d.readIncarnation()
			return i == incarnation{opened.Directory, 1, testSegmentBytes, 0, at, closedInOrder}, err
		}},
		{snapshotPath(d.snap(), at), func() (bool, error) {
			f, err := openSnapshot(snapshotFile{snapshotPath(d.snap(), at), at}, opened.Log)
			if err != nil {
				return false, err
			}
			defer f.Close()
			state, err := io.ReadAll(f)
			return string(state) == "state", err
		}},
	} {
		origin := must(os.ReadFile(c.path))(t)
		if same, err := c.read(); !same || err != nil {
			t.Fatalf("%s: %v, %v", c.path, same, err)
		}
		flips, detections := 0, 0
		for bit := range len(origin) * 8 {
			changed := clone(origin)
			changed[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(c.path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			same, err := c.read()
			flips++
			if err != nil {
				detections++
			} else if !same && c.path != d.file(formatFile) {
				t.Errorf("bit %d of byte %d of %s is not noticed", bit%8, bit/8, c.path)
			} else if !same { // another identity, which no segment has
				if _, _, err := Open(testOptions(dir)); !errors.Is(err, ErrForeign) {
					t.Errorf("bit %d of byte %d of %s: %v", bit%8, bit/8, c.path, err)
				}
				detections++
			}
		}
		if err := os.WriteFile(c.path, origin, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bits flipped, %d detected", filepath.Base(c.path), flips, detections)
		if detections != flips {
			t.Errorf("%s: %d of %d flips detected", c.path, detections, flips)
		}
	}
}
