package inspect_test

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cespare/xxhash/v2"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// section writes a snapshot of an application without bytes: the sequencer's part, as of event last.
func section(last durability.Seq) func(io.Writer) error {
	return func(w io.Writer) error {
		sum, err := xxhash.New().MarshalBinary()
		if err != nil {
			return err
		}
		payload := le.AppendUint64(nil, uint64(last))
		payload = append(payload, make([]byte, 8+4+1)...)
		payload = append(payload, sum...)
		payload = append(payload, make([]byte, 8+4*4)...)
		b := le.AppendUint32([]byte("sluicesq"), 2)
		b = le.AppendUint64(b, uint64(len(payload)))
		b = append(b, payload...)
		b = le.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		_, err = w.Write(b)
		return err
	}
}

// busy is a server that writes as fast as it can, with a new segment every few commits, and a snapshot,
// which removes segments, every few segments.
func busy(dir string, stop *atomic.Bool, persisted *atomic.Uint64) (err error) {
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 32 << 10})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := os.WriteFile(filepath.Join(dir, "genesis"), journal.AppendOwned(nil, r.Directory, nil),
		0o600); err != nil {
		return err
	}
	w := j.Writer()
	ev := request(0, 0x10, make([]byte, 700)...)
	event := sequencer.AppendEvent(nil, &ev)
	for n := 1; !stop.Load(); n++ {
		for range 1 + n%5 {
			if _, err := w.Append(event); err != nil {
				return err
			}
		}
		last, err := w.Commit()
		if err != nil {
			return err
		}
		persisted.Store(uint64(last))
		if n%60 != 0 {
			continue
		}
		s, err := j.PrepareSnapshot(last, section(last))
		if err == nil {
			err = w.Install(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Beside a running server everything that was complete before is verified, and nothing is called
// damage that is a write, a rollover or a removal under way.
func TestVerifyBesideBusyServer(t *testing.T) {
	runs := 200
	if testing.Short() {
		runs = 40
	}
	dir := t.TempDir()
	var stop atomic.Bool
	var persisted atomic.Uint64
	ended := make(chan error, 1)
	go func() { ended <- busy(dir, &stop, &persisted) }()
	for persisted.Load() == 0 && len(ended) == 0 {
		runtime.Gosched()
	}
	removed := false
	for run := 0; run < runs || !removed; run++ {
		before := persisted.Load()
		j, err := inspect.Open(dir, counter{})
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		s, err := j.Verify()
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		if !s.Writing || s.Last < before || s.Torn != "" ||
			!strings.Contains(s.String(), "a server is writing to it") {
			t.Fatalf("run %d: event %d was on disk before\n%s", run, before, s)
		}
		removed = removed || s.First > 1
		var list strings.Builder
		if err := j.List(&list, inspect.Options{}); err != nil && !errors.Is(err, journal.ErrRemoved) {
			t.Fatalf("run %d: listing: %v", run, err)
		}
	}
	stop.Store(true)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s, err := opened(t, dir, counter{}).Verify()
	if err != nil || s.Writing || !s.Closed || s.Last != persisted.Load() {
		t.Errorf("after the end: %+v, %v", s, err)
	}
}

// Verify begins again when the server has removed segments and snapshots since Open.
func TestVerifyStartsOverAfterRemoval(t *testing.T) {
	dir, persisted := t.TempDir(), atomic.Uint64{}
	var stop atomic.Bool
	stop.Store(true)
	if err := busy(dir, &stop, &persisted); err != nil { // creates the directory
		t.Fatal(err)
	}
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var last durability.Seq
	run := func(snapshots int) {
		t.Helper()
		for range snapshots {
			if last, err = writeAndInstall(j); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(2)
	looked := opened(t, dir, counter{})
	run(3)
	if err := looked.List(io.Discard, inspect.Options{}); !errors.Is(err, journal.ErrRemoved) ||
		!strings.Contains(err.Error(), "repeat the command") {
		t.Errorf("listing removed events: %v", err)
	}
	s, err := looked.Verify()
	if err != nil || s.Last != uint64(last) || s.First == 1 || !s.Writing {
		t.Errorf("%+v, %v; want events up to %d", s, err, last)
	}
}

// writeAndInstall commits until there are new segments, and installs a snapshot.
func writeAndInstall(j *journal.Journal) (last durability.Seq, err error) {
	ev := request(0, 0x10, make([]byte, 700)...)
	event := sequencer.AppendEvent(nil, &ev)
	for range 100 {
		if _, err = j.Writer().Append(event); err == nil {
			last, err = j.Writer().Commit()
		}
		if err != nil {
			return 0, err
		}
	}
	s, err := j.PrepareSnapshot(last, section(last))
	if err == nil {
		err = j.Writer().Install(s)
	}
	return last, err
}

// Damage in the log of a running server is still found.
func TestVerifyBesideServerFindsDamage(t *testing.T) {
	dir := t.TempDir()
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ev := request(0, 0x10, make([]byte, 700)...)
	for range 10 {
		if _, err := j.Writer().Append(sequencer.AppendEvent(nil, &ev)); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Writer().Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "genesis"), journal.AppendOwned(nil, r.Directory, nil),
		0o600); err != nil {
		t.Fatal(err)
	}
	opened(t, dir, counter{})
	names, err := filepath.Glob(filepath.Join(dir, "journal/wal/*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{0xff}, 3000)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := inspect.Open(dir, counter{}); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("error %v, want damage", err)
	}
}

// restorer is counter with a state that can be restored, once.
type restorer struct {
	counter
	calls  int
	refuse int // call that is refused, from 1
}

func (r *restorer) Restore(io.Reader) error {
	if r.calls++; r.calls == r.refuse {
		return errors.New("not my state")
	}
	return nil
}

// Verify gives the application the genesis file and the newest snapshot, as a start does.
func TestVerifyRestoresWhatAStartRestores(t *testing.T) {
	dir := t.TempDir()
	var stop atomic.Bool
	stop.Store(true)
	if err := busy(dir, &stop, new(atomic.Uint64)); err != nil { // creates the directory
		t.Fatal(err)
	}
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 32 << 10})
	if err == nil {
		_, err = writeAndInstall(j)
		err = errors.Join(err, j.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for refuse, want := range []string{"", "genesis: not my state", ".snap: not my state"} {
		app := &restorer{refuse: refuse}
		_, err := opened(t, dir, app).Verify()
		if want == "" && (err != nil || app.calls != 2) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("refused at call %d of %d: error %v, want %q", refuse, app.calls, err, want)
		}
	}
}
