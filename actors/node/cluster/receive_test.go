package cluster

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/transport/peer"
)

func TestFullDiskGivesTheTransferUp(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skipf("no device that is full: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
		missing := errors.New("no descriptor left")
		opened := 0
		b.in.create = func(path string) (*os.File, error) {
			if opened++; opened == 1 {
				return nil, missing
			}
			link := filepath.Join(filepath.Dir(path), "full.tmp")
			return os.OpenFile(link, os.O_RDWR, 0)
		}
		if err := os.Symlink("/dev/full", filepath.Join(b.dir, "full.tmp")); err != nil {
			t.Fatal(err)
		}
		a.Link(2, true)
		for i, want := range []string{missing.Error(), "no space left"} {
			a.Send(2, a.meta, nil)
			a.carry(b, 1000, nil)
			if log := b.log.String(); strings.Count(log, "snapshot not received") != i+1 || !strings.Contains(log, want) {
				t.Fatalf("want one line more, with %q:\n%s", want, log)
			}
		}
		b.in.create = createIncoming
		a.Send(2, a.meta, []byte("third"))
		a.carry(b, 1000, nil)
		b.holds(0, a, "third")
	})
}

// What the disk changed since it arrived is not given to the node.
func TestDamagedFileIsNotRead(t *testing.T) {
	for _, at := range []int64{70, 100} { // in the beginning that the log reads, and in the state
		synctest.Test(t, func(t *testing.T) {
			a, b := newBulkNode(t, 1, 1000), newBulkNode(t, 2, 0)
			var file *os.File
			b.in.create = func(path string) (_ *os.File, err error) {
				file, err = createIncoming(path)
				return file, err
			}
			a.Link(2, true)
			a.Send(2, a.meta, nil)
			a.carry(b, 1000, nil)
			if len(b.received) != 1 {
				t.Fatal("nothing arrived")
			}
			var one [1]byte
			if _, err := file.ReadAt(one[:], at); err != nil {
				t.Fatal(err)
			}
			one[0] ^= 1
			if _, err := file.WriteAt(one[:], at); err != nil {
				t.Fatal(err)
			}
			if err := b.received[0].Content(io.Discard); err == nil || !strings.Contains(err.Error(), "the disk changed it") {
				t.Fatalf("damage at byte %d: %v", at, err)
			}
		})
	}
}

func TestOldFilesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBulkNode(t, 1, 0)
		if err := errors.Join(os.WriteFile(filepath.Join(n.dir, "2-1-1.tmp"), []byte("half"), 0o600),
			os.WriteFile(filepath.Join(n.dir, "notes"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		n.restart()
		if left := files(t, n.dir); !slices.Equal(left, []string{"notes"}) {
			t.Fatalf("files %v", left)
		}
	})
}

// Frames that no node sends change nothing.
func TestWrongBulkFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBulkNode(t, 1, 0)
		whole := make([]byte, bulkHead+4)
		putBulkHead(whole, bulkEnd, 1, 0)
		wrong := [][]byte{nil, {2}, {2, 1}, {0, 1, 2}, whole[:bulkHead+3], make([]byte, 40)}
		for kind := range 4 {
			f := slices.Clone(whole)
			f[1] = byte(kind)
			if kind != bulkPiece && kind != bulkEnd {
				wrong = append(wrong, f)
			}
		}
		for _, f := range wrong {
			if err := n.in.frame(peer.Sender{Node: 2, Incarnation: 1}, f); err == nil {
				t.Errorf("% x was accepted", f)
			}
		}
		if got := files(t, n.dir); len(got) > 0 || len(n.received) > 0 {
			t.Fatalf("files %v", got)
		}
		// An end without pieces, and one whose snapshot is not of a node.
		for i, content := range []string{"", "not a snapshot of a node, although it is long enough to be one, and more than that"} {
			f := append(slices.Clone(whole), content...)
			transfer := uint64(i + 2)
			putBulkHead(f, bulkPiece, transfer, 0)
			if content != "" {
				_ = n.in.frame(peer.Sender{Node: 2, Incarnation: 1}, append(f[:bulkHead:bulkHead], content...))
			}
			putBulkHead(f, bulkEnd, transfer, uint64(len(content)))
			binary.LittleEndian.PutUint32(f[bulkHead:], checksum([]byte(content)))
			if err := n.in.frame(peer.Sender{Node: 2, Incarnation: 1}, f[:bulkHead+4]); err == nil ||
				!strings.Contains(err.Error(), "not written by a node") {
				t.Errorf("%q: %v", content, err)
			}
		}
		if got := files(t, n.dir); len(got) > 0 {
			t.Fatalf("files %v", got)
		}
	})
}
