package cluster

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// bulkNode is a bulk with what surrounds it: a snapshot on disk, a link to one other node, and the node
// that receives.
type bulkNode struct {
	t *testing.T
	*bulk
	self peer.Sender
	dir  string
	out  chan []byte // frames to the other node; as many as its queue has room for
	meta raftlog.Meta
	disk []byte // state of the snapshot

	mu       sync.Mutex
	reports  []bool
	received []raftlog.Received
	frames   []string // that came with them
	log      bytes.Buffer
}

func newBulkNode(t *testing.T, number uint8, size int) *bulkNode {
	t.Helper()
	n := &bulkNode{t: t, self: peer.Sender{Node: number, Incarnation: 1}, out: make(chan []byte, 3),
		dir: filepath.Join(t.TempDir(), "incoming"),
		meta: raftlog.Meta{Term: 3, Index: 40, Seq: 99, HardTerm: 4, Commit: 41,
			Members: raftlog.FirstMembers(raftlog.Member{ID: 1}, raftlog.Member{ID: 2})}}
	n.disk = make([]byte, size)
	seed := rand.NewChaCha8([32]byte{number})
	_, _ = seed.Read(n.disk) // never fails
	n.restart()
	return n
}

// restart makes the bulk of a new process.
func (n *bulkNode) restart() {
	n.t.Helper()
	var err error
	n.bulk, err = newBulk(bulkOptions{dir: n.dir,
		send: func(to uint8, frame []byte) bool {
			select {
			case n.out <- slices.Clone(frame):
				return true
			default:
				return false
			}
		},
		newest: func(read func(*raftlog.Meta, io.Reader) error) error { return read(&n.meta, bytes.NewReader(n.disk)) },
		report: func(to uint64, sent bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.reports = append(n.reports, sent)
		},
		receive: func(from peer.Sender, frame []byte, content raftlog.Received) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.received = append(n.received, content)
			n.frames = append(n.frames, fmt.Sprintf("%v %s", from, frame))
			return nil
		},
		log: slog.New(slog.NewTextHandler(&n.log, nil)),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.Close)
}

// carry delivers what a node sends, up to a number of frames, or until it has nothing more to send.
// change may drop, repeat or damage frames.
func (n *bulkNode) carry(to *bulkNode, most int, change func(i int, frame []byte) [][]byte) (frames int) {
	for frames < most {
		synctest.Wait()
		select {
		case f := <-n.out:
			all := [][]byte{f}
			if change != nil {
				all = change(frames, f)
			}
			for _, f := range all {
				to.Receive(n.self, f)
			}
			frames++
		default:
			if sleep(n.t.Context(), 20*time.Millisecond); len(n.out) == 0 { // the time of the bubble
				return frames
			}
		}
	}
	return frames
}

// state reads a received snapshot.
func (n *bulkNode) state(i int) []byte {
	n.t.Helper()
	var b bytes.Buffer
	if err := n.received[i].Content(&b); err != nil {
		n.t.Fatal(err)
	}
	return b.Bytes()
}

// holds fails the test unless the n-th snapshot that was received is that of a node.
func (n *bulkNode) holds(i int, of *bulkNode, frame string) {
	n.t.Helper()
	if len(n.received) != i+1 {
		n.t.Fatalf("%d snapshots were received, want %d:\n%s", len(n.received), i+1, n.log.String())
	}
	want := fmt.Sprintf("%v %s", of.self, frame)
	if !bytes.Equal(n.state(i), of.disk) || n.frames[i] != want || n.received[i].Meta.Index != of.meta.Index ||
		!reflect.DeepEqual(n.received[i].Meta.Members, of.meta.Members) {
		n.t.Fatalf("received %+v, frame %q, want that of node %d with %q", n.received[i].Meta, n.frames[i],
			of.self.Node, want)
	}
	if left := files(n.t, n.dir); len(left) > 0 {
		n.t.Fatalf("the directory still has %v", left)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// reported waits for a report, for so long that every limit of time has passed.
func (n *bulkNode) reported(want ...bool) {
	n.t.Helper()
	sleep(n.t.Context(), 5*time.Minute) // the time of the bubble
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.reports, want) {
		n.t.Fatalf("reports %v, want %v:\n%s", n.reports, want, n.log.String())
	}
}
