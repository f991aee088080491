package cluster

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

func TestSnapshotArrivesWhole(t *testing.T) {
	for _, size := range []int{0, 1, peer.MaxBulk - bulkHead - 70, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newBulkNode(t, 1, size), newBulkNode(t, 2, 0)
			a.Link(2, true)
			a.Send(2, a.meta, []byte("message"))
			a.carry(b, 1000, nil)
			b.holds(0, a, "message")
			a.reported(true)
		})
	}
}

// What is lost, repeated, damaged or in another order gives the transfer up. The next one succeeds.
func TestBrokenTransferIsNotTaken(t *testing.T) {
	keep := func(f []byte) [][]byte { return [][]byte{f} }
	lose := func(n int) func(i int, f []byte) [][]byte {
		return func(i int, f []byte) [][]byte {
			if i == n {
				return nil
			}
			return keep(f)
		}
	}
	var held []byte
	const early, late = "a part was lost, or came twice", "bytes with checksum"
	for _, tt := range []struct {
		name, want string
		change     func(i int, f []byte) [][]byte
	}{
		{"the first frame is lost", early, lose(0)},
		{"a frame is lost", early, lose(3)},
		{"a frame comes twice", early, func(i int, f []byte) [][]byte { return [][]byte{f, f}[:1+i%2] }},
		{"two frames are exchanged", early, func(i int, f []byte) [][]byte {
			switch i {
			case 1:
				held = f
				return nil
			case 2:
				return [][]byte{f, held}
			}
			return keep(f)
		}},
		{"a byte is wrong", late, func(i int, f []byte) [][]byte {
			if i == 2 {
				f[1000] ^= 1
			}
			return keep(f)
		}},
		{"the last piece is lost", late, func(i int, f []byte) [][]byte {
			if f[1] == bulkPiece && len(f) < peer.MaxBulk {
				return nil
			}
			return keep(f)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
				a.Link(2, true)
				a.Send(2, a.meta, []byte("first"))
				if n := a.carry(b, 1000, tt.change); n < 9 {
					t.Fatalf("%d frames", n)
				}
				if len(b.received) > 0 || len(files(t, b.dir)) > 0 {
					t.Fatalf("received %d, files %v", len(b.received), files(t, b.dir))
				}
				log := b.log.String()
				if strings.Count(log, "snapshot not received") != 1 || !strings.Contains(log, tt.want) {
					t.Fatalf("want one line, with %q:\n%s", tt.want, log)
				}
				a.Send(2, a.meta, []byte("second"))
				a.carry(b, 1000, nil)
				b.holds(0, a, "second")
			})
		})
	}
}

// The frames fit what Links really takes, and its queue paces the sender.
func TestSnapshotOverLinks(t *testing.T) {
	a, b := newBulkNode(t, 1, 8<<20), newBulkNode(t, 2, 0)
	arrived := make(chan struct{})
	take := b.in.o.receive
	b.in.o.receive = func(from peer.Sender, frame []byte, content raftlog.Received) error {
		defer close(arrived)
		return take(from, frame, content)
	}
	sockets := make([]net.Listener, 2)
	for i := range sockets {
		var err error
		if sockets[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Skipf("no loopback: %v", err)
		}
	}
	for i, n := range []*bulkNode{a, b} {
		other := uint8(2 - i)
		l, err := peer.New(peer.Config{Cluster: ID{1}, Node: n.self.Node, Incarnation: n.self.Incarnation,
			Socket: sockets[i], Peers: map[uint8]peer.Peer{other: {Address: sockets[1-i].Addr().String()}},
			Receive: func(from peer.Sender, _ peer.Lane, frame []byte) { n.Receive(from, frame) },
			OnState: func(to uint8, lane peer.Lane, up bool) {
				if lane == peer.Bulk {
					n.Link(to, up)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		n.bulk.out.o.send = func(to uint8, frame []byte) bool { return l.Send(to, peer.Bulk, frame) }
		defer l.Close()
		l.Start()
	}
	a.Send(2, a.meta, []byte("message"))
	<-arrived
	b.Close() // the frame has been taken in full
	b.holds(0, a, "message")
}

// A link that breaks ends the transfer, also after the last frame: it may not have arrived.
func TestCutLinkEndsTheTransfer(t *testing.T) {
	for _, frames := range []int{0, 1, 5, 1000} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
			a.Link(2, true)
			a.Send(2, a.meta, []byte("first"))
			a.carry(b, frames, nil)
			a.Link(2, false)
			synctest.Wait() // a frame may have been offered at the same time
			for len(a.out) > 0 {
				<-a.out
			}
			a.reported(false)
			a.Send(2, a.meta, []byte("second"))
			if synctest.Wait(); len(a.out) > 0 {
				t.Fatal("frames are sent while the link is down")
			}
			a.Link(2, true)
			a.carry(b, 1000, nil)
			if frames < 1000 {
				b.holds(0, a, "second")
			}
			a.reported(false, true)
		})
	}
}

func TestTransferWithoutProgressIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBulkNode(t, 1, 2<<20)
		a.Link(2, true)
		a.Send(2, a.meta, nil)
		a.reported(false) // three frames are queued, and nothing reads them
		a.Link(3, false)
		a.Send(3, a.meta, nil)
		a.reported(false, false)
	})
}

// The library asked for one snapshot, and a newer one was installed since: the message is of no use.
func TestOlderSnapshotIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBulkNode(t, 1, 1)
		a.Link(2, true)
		asked := a.meta
		a.meta.Index++
		a.Send(2, asked, nil)
		a.reported(false)
		if len(a.out) > 0 || !strings.Contains(a.log.String(), "of event 99 by now") {
			t.Fatalf("%d frames were sent:\n%s", len(a.out), a.log.String())
		}
	})
}

// Two nodes send at once, as when the leader changes.
func TestTwoNodesSendAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 3, 1<<20), newBulkNode(t, 2, 0)
		for _, n := range []*bulkNode{a, c} {
			n.Link(2, true)
			n.Send(2, n.meta, []byte("message"))
		}
		for a.carry(b, 1, nil)+c.carry(b, 1, nil) > 0 {
		}
		if len(b.received) != 2 || b.frames[0] != "{3 0 1} message" || b.frames[1] != "{1 0 1} message" {
			t.Fatalf("received %q:\n%s", b.frames, b.log.String())
		}
		if !bytes.Equal(b.state(0), c.disk) || !bytes.Equal(b.state(1), a.disk) {
			t.Fatal("the snapshots are mixed")
		}
	})
}

// What a sender left that died is removed when another one begins, and so is a transfer to this node that
// nobody goes on with.
func TestQuietTransferIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 3, 2<<20), newBulkNode(t, 2, 0)
		for i, n := range []*bulkNode{a, c} {
			n.Link(2, true)
			n.Send(2, n.meta, nil)
			n.carry(b, 2, nil)
			if got := files(t, b.dir); len(got) != 1 || got[0] != fmt.Sprintf("%d-0-1-1.tmp", 1+2*i) {
				t.Fatalf("files %v", got)
			}
			time.Sleep(time.Minute)
		}
	})
}

// The numbers of transfers begin anew with a process. Frames of the earlier one may still arrive.
func TestRestartedSenderBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
		a.Link(2, true)
		for range 2 { // the second one is number 2
			a.Send(2, a.meta, []byte("old"))
			a.carry(b, 2, nil)
		}
		a.Close()
		var late [][]byte
		for len(a.out) > 0 {
			late = append(late, <-a.out)
		}
		if len(late) == 0 {
			t.Fatal("no frames are on their way")
		}
		before := a.self
		a.self.Incarnation++
		a.restart()
		a.Link(2, true)
		a.Send(2, a.meta, []byte("new"))
		a.carry(b, 1000, func(i int, f []byte) [][]byte {
			if i > 0 && len(late) > 0 {
				b.Receive(before, late[0])
				late = late[1:]
			}
			return [][]byte{f}
		})
		b.holds(0, a, "new")
	})
}

// The starts of a node that was replaced count from 1 again. What its earlier directory sent may still arrive.
func TestReplacedSenderBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
		a.self.Incarnation = 5
		a.Link(2, true)
		a.Send(2, a.meta, []byte("old"))
		a.carry(b, 2, nil)
		late := <-a.out
		a.Close()
		next := newBulkNode(t, 1, 1<<20)
		next.self.Generation = 1
		next.Link(2, true)
		next.Send(2, next.meta, []byte("new"))
		next.carry(b, 1000, func(i int, f []byte) [][]byte {
			if got := files(t, b.dir); i == 1 && !slices.Equal(got, []string{"1-1-1-1.tmp"}) {
				t.Errorf("files %v", got)
			}
			b.Receive(a.self, late)
			return [][]byte{f}
		})
		b.holds(0, next, "new")
	})
}

// A later Send takes the place of the one before, which is not reported; Close ends all.
func TestReplacedTransferIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newBulkNode(t, 1, 2<<20), newBulkNode(t, 2, 0)
		a.Link(2, true)
		a.Send(2, a.meta, []byte("first"))
		a.carry(b, 2, nil)
		a.Send(2, a.meta, []byte("second"))
		a.carry(b, 1000, nil)
		b.holds(0, a, "second")
		a.reported(true)
		a.Send(2, a.meta, []byte("third"))
		a.carry(b, 3, nil)
		a.Close()
		b.Close()
		a.reported(true)
		if left := files(t, b.dir); len(left) > 0 {
			t.Fatalf("the directory still has %v", left)
		}
		a.Send(2, a.meta, []byte("fourth"))
		a.carry(b, 1000, nil)
		if len(b.received) != 1 {
			t.Fatal("a closed bulk received a snapshot")
		}
	})
}
