package raftlog

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability/journal"
)

// installing is a store whose journal has one record, and snapshots of it.
type installing struct {
	*JournalStore
	t    *testing.T
	dir  string
	done chan error // result of each offer
}

func newInstalling(t *testing.T) *installing {
	i := &installing{t: t, dir: t.TempDir(), done: make(chan error, 2)}
	j, found, err := journal.Open(journal.Options{Dir: i.dir})
	if err != nil {
		t.Fatal(err)
	}
	i.JournalStore = NewJournalStore(j, found, nil)
	t.Cleanup(func() { j.Close() })
	i.write(10)
	return i
}

// write queues a write of an entry with some bytes of data.
func (i *installing) write(bytes int) {
	i.Write(Write{Sync: true, Done: func(error) {}, Entries: []*pb.Entry{{Term: new(uint64(1)),
		Index: new(uint64(firstIndex + 1)), Type: pb.EntryNormal.Enum(), Data: make([]byte, bytes)}}})
}

func (i *installing) offer() {
	i.t.Helper()
	p, err := i.prepare(1, &Meta{Term: 1, Index: firstIndex + 1}, func(io.Writer) error { return nil })
	if err != nil {
		i.t.Fatal(err)
	}
	i.Install(p, func(err error) { i.done <- err })
}

// result is that of the first offer whose result is known.
func (i *installing) result() error {
	i.t.Helper()
	select {
	case err := <-i.done:
		return err
	default:
		i.t.Fatal("done was not called")
		return nil
	}
}

func (i *installing) files(pattern string) int {
	found, err := filepath.Glob(filepath.Join(i.dir, "snap", pattern))
	if err != nil {
		i.t.Fatal(err)
	}
	return len(found)
}

// Whatever becomes of a snapshot, the one who offered it is told, and what is not installed leaves no file.
func TestResultOfASnapshotIsAlwaysTold(t *testing.T) {
	for name, c := range map[string]struct {
		happens   func(i *installing)
		want      error
		installed int
	}{
		"the store is closed behind it": {func(i *installing) { i.offer(); i.Close(); _ = i.Run() }, nil, 1},
		"the store was closed":          {func(i *installing) { i.Close(); i.offer() }, errStoreClosed, 0},
		"the store has ended": {func(i *installing) {
			i.Close()
			_ = i.Run()
			i.offer()
		}, errStoreClosed, 0},
		"a write before it fails": {func(i *installing) {
			i.write(journal.MaxPayloadBytes)
			i.offer()
			_ = i.Run()
		}, journal.ErrTooLarge, 0},
		"a write fails while it waits": {func(i *installing) {
			i.Write(Write{Done: func(error) {}, Snapshot: &Received{Content: func(io.Writer) error {
				i.offer() // of a goroutine that comes meanwhile
				return io.ErrNoProgress
			}}})
			_ = i.Run()
		}, io.ErrNoProgress, 0},
		"the store has failed": {func(i *installing) {
			i.write(journal.MaxPayloadBytes)
			_ = i.Run()
			i.offer()
		}, errStoreClosed, 0},
		"a newer one replaces it": {func(i *installing) { i.offer(); i.offer(); i.Close() }, errReplaced, 0},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstalling(t)
			c.happens(i)
			if err := i.result(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.want == errReplaced { // the newer one is installed
				_ = i.Run()
				if err := i.result(); err != nil {
					t.Error(err)
				}
				c.installed = 1
			}
			if n, left := i.files("*.snap"), i.files("*.tmp"); n != c.installed || left != 0 {
				t.Errorf("%d snapshots are installed, want %d; %d temporary files are left", n, c.installed, left)
			}
		})
	}
}
