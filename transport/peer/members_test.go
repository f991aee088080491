package peer

import (
	"bytes"
	"sync/atomic"
	"testing"
)

// A node that is added, or whose number another directory has now, is connected to; one that is left out is not.
func TestPeersAreExchanged(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	one := r.config(1)
	delete(one.Peers, 3)
	a := r.start(one, quick())
	b := r.start(r.config(2), quick())
	c := r.start(r.config(3), quick())
	a.reaches(b, Append, "before")
	c.logs("node 3 is unknown to node 1")
	if err := a.SetPeers(map[uint8]Peer{3: {Address: r.addresses[3]}}); err != nil {
		t.Fatal(err)
	}
	a.reaches(c, Append, "added")
	if a.Send(2, Append, []byte("gone")) {
		t.Error("a frame to a node that was removed was accepted")
	}
	for _, s := range a.Status() {
		if s.Node != 3 {
			t.Errorf("node %d is a peer", s.Node)
		}
	}
	next := r.config(3)
	next.Socket, next.Generation = listen(t), 1
	next.Listen = next.Socket.Addr().String()
	if err := a.SetPeers(map[uint8]Peer{3: {Address: next.Listen, Generation: 1}}); err != nil {
		t.Fatal(err)
	}
	a.logs("of generation 0 is unknown to node 1, which has generation 1")
	c.Close()
	c = r.start(next, quick())
	if g := a.reaches(c, Append, "next"); g.from != (Sender{1, 0, 1}) {
		t.Errorf("the frame is of %+v", g.from)
	}
	if g := c.reaches(a, Append, "back"); g.from != (Sender{3, 1, 1}) {
		t.Errorf("the frame is of %+v", g.from)
	}
	if err := a.SetPeers(map[uint8]Peer{1: {Address: r.addresses[3]}}); err == nil {
		t.Error("a node is a peer of itself")
	}
}

// A node that was removed is told so, and what a Hello says of the members is known before it is judged.
func TestRemovedNodeIsTold(t *testing.T) {
	r := newRig(t, 1, 2)
	one, two := r.config(1), r.config(2)
	var told atomic.Int64
	two.OnRemoved = func(string) { told.Add(1) }
	two.Table = func() []byte { return []byte("what node 2 knows") }
	delete(one.Peers, 2)
	var heard atomic.Int64
	one.OnTable = func(from uint8, table []byte) {
		if from == 2 && bytes.Equal(table, two.Table()) {
			heard.Add(1)
		}
	}
	one.Removed = func(node, generation uint8) bool { return node == 2 && generation == 0 && heard.Load() > 0 }
	r.start(one, quick())
	b := r.start(two, quick())
	eventually(t, "the refusal", func() bool { return told.Load() > 0 })
	b.logs("is not a member any more")
}
