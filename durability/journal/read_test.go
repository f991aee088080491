package journal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// readChecked reads events and checks them. It returns the number of those that were right.
func readChecked(t testing.TB, dir string, directory Identity, from, to durability.Seq) (durability.Seq,
	error) {
	next := from
	err := Read(dir, directory, from, to, func(e Event) error {
		if e.Seq != next || string(e.Payload) != string(payloadOf(e.Seq)) {
			t.Errorf("event %d (want %d) is wrong", e.Seq, next)
		}
		next++
		return nil
	})
	return next - from, err
}

// While the journal commits and begins segments, everything up to the persisted event can be read; if
// snapshots remove segments as well, what is removed is an ErrRemoved.
func TestReadBesideWriter(t *testing.T) {
	for name, snapshots := range map[string]bool{"no snapshots": false, "snapshots": true} {
		t.Run(name, func(t *testing.T) {
			dir := fastFolder(t)
			j, r := mustOpen(t, dir)
			var persisted atomic.Uint64
			persisted.Store(uint64(commit(t, j.Writer(), 3)))
			stop, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- commitUntil(t, j, stop, &persisted, snapshots) }()
			rng := rand.New(rand.NewPCG(9, 9))
			whole, gone := 0, 0
			for read := 0; read < 300 || snapshots && gone == 0; read++ {
				to := durability.Seq(persisted.Load())
				from := to - min(to-1, durability.Seq(rng.Uint64N(2000)))
				n, err := readChecked(t, dir, r.Directory, from, to)
				switch {
				case err == nil && n == to-from+1:
					whole++
				case snapshots && errors.Is(err, ErrRemoved):
					gone++
				default:
					t.Fatalf("events %d to %d: %d events, %v", from, to, n, err)
				}
			}
			close(stop)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			mustClose(t, j)
			t.Logf("%d events, %d reads whole, %d of removed events", persisted.Load(), whole, gone)
			if whole == 0 {
				t.Error("nothing could be read")
			}
		})
	}
}

func commitUntil(t *testing.T, j *Journal, stop chan struct{}, persisted *atomic.Uint64,
	snapshots bool) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		for range 1 + n%7 {
			if _, err := j.Writer().Append(payloadOf(j.Writer().Persisted() +
				durability.Seq(j.Writer().count) + 1)); err != nil {
				return err
			}
		}
		last, err := j.Writer().Commit()
		if err != nil {
			return err
		}
		persisted.Store(uint64(last))
		if snapshots && n%40 == 39 {
			if err := j.Writer().Install(takeSnapshot(t, j, last)); err != nil {
				return err
			}
		}
	}
}

// Behind the last event that is wanted nothing is looked at: it may be half written.
func TestReadIgnoresUnfinishedWrite(t *testing.T) {
	dir := t.TempDir()
	j, r := mustOpen(t, dir)
	commit(t, j.Writer(), 4)
	last := commit(t, j.Writer(), 4)
	segments := must(listSegments(j.dir.wal()))(t)
	s := &specimen{path: segments[0].path}
	s.measure(t)
	f := must(os.OpenFile(s.path, os.O_RDWR, 0))(t)
	_, err := f.WriteAt([]byte("half of a record, and not the first half"), s.end())
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := readChecked(t, dir, r.Directory, 1, last); n != last || err != nil {
		t.Errorf("%d events, %v", n, err)
	}
	if _, err := readChecked(t, dir, r.Directory, 1, last+1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an event that is not there: %v", err)
	}
	mustClose(t, j)
}

func TestReadNamesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	j, r := mustOpen(t, dir)
	defer mustClose(t, j)
	_, last := commitSegments(t, j, 4)
	read := func(from, to durability.Seq) error {
		_, err := readChecked(t, dir, r.Directory, from, to)
		return err
	}
	if err := read(last, last-1); err != nil {
		t.Errorf("no events: %v", err)
	}
	if err := read(0, last); err == nil {
		t.Error("event 0 was read")
	}
	broken := errors.New("the reader's own")
	if err := Read(dir, r.Directory, 1, last, func(Event) error { return broken }); err != broken {
		t.Errorf("error of visit: %v", err)
	}
	var foreign *ForeignError
	if _, err := readChecked(t, dir, Identity{1}, 1, last); !errors.As(err, &foreign) {
		t.Errorf("another directory: %v", err)
	}
	segments := must(listSegments(j.dir.wal()))(t)
	if err := os.Remove(segments[1].path); err != nil {
		t.Fatal(err)
	}
	first := must(firstEvent(segments[2].path))(t)
	if err := read(first, last); err != nil {
		t.Errorf("after a removed segment: %v", err)
	}
	if err := read(first-1, last); !errors.Is(err, ErrRemoved) {
		t.Errorf("events that a listing made during a removal lacks: %v", err)
	}
	if err := os.Remove(segments[0].path); err != nil {
		t.Fatal(err)
	}
	if err := read(first-1, last); !errors.Is(err, ErrRemoved) {
		t.Errorf("removed events: %v", err)
	}
}

// Earlier versions wrote a marker with each snapshot, those of two runs sometimes for one entry.
func TestMarkersOfEarlierVersionsAreRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	for term := range uint64(2) {
		j, r := mustOpen(t, dir)
		checkEvents(t, r.Events(), 1, durability.Seq(10*term))
		if term == 0 {
			commit(t, j.Writer(), 10)
		}
		marker := &walpb.Snapshot{Index: new(j.writer.index), Term: new(term + 1), ConfState: &raftpb.ConfState{}}
		if err := j.writer.log.(*wal.WAL).SaveSnapshot(marker); err != nil {
			t.Fatal(err)
		}
		mustClose(t, j)
	}
	j, r := mustOpen(t, dir)
	checkEvents(t, r.Events(), 1, 10)
	last := commit(t, j.Writer(), 10)
	mustClose(t, j)
	j, r = mustOpen(t, dir)
	checkEvents(t, r.Events(), 1, last)
	mustClose(t, j)
}
