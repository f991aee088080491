package peer

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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

// A call of Receive and one of OnState last while their node is removed and added again. The next calls wait
// for them; the other lanes and SetPeers do not.
func TestCallsDoNotOverlapAcrossSetPeers(t *testing.T) {
	r := newRig(t, 1, 2)
	var receives, reports atomic.Int32
	release, arrived, reported := make(chan struct{}), make(chan string, 1000), make(chan bool, 1000)
	goOn := sync.OnceFunc(func() { close(release) })
	c := r.config(2)
	c.Receive = func(_ Sender, lane Lane, frame []byte) {
		if lane == Append && receives.Add(1) > 1 {
			t.Error("Receive is called twice at a time for one lane")
		}
		arrived <- string(frame)
		if lane == Append {
			<-release
			receives.Add(-1)
		}
	}
	c.OnState = func(_ uint8, lane Lane, up bool) {
		if lane != Bulk {
			return
		}
		if reports.Add(1) > 1 {
			t.Error("OnState is called twice at a time for one lane")
		}
		reported <- up
		if !up {
			<-release
		}
		reports.Add(-1)
	}
	a, b := r.start(r.config(1), quick()), r.start(c, quick())
	t.Cleanup(goOn) // before Close, which waits for the calls
	a.connected(2)
	b.connected(1)
	a.sends(2, Append, "first")
	if got := next(t, arrived); got != "first" {
		t.Fatal(got)
	}
	for range 2 {
		if err := errors.Join(b.SetPeers(nil), b.SetPeers(c.Peers)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a new connection", func() bool {
		return b.status(1, Control).Out.Connected && b.status(1, Append).In.Connected
	})
	a.sends(2, Append, "second")
	for i := range 200 { // the goroutines of the other lanes would have time
		a.sends(2, Control, fmt.Sprint(i))
		for got := ""; got != fmt.Sprint(i); {
			if got = next(t, arrived); got == "second" {
				t.Fatal("Receive is called for the second frame before the call for the first one returned")
			}
		}
	}
	goOn()
	if got := next(t, arrived); got != "second" {
		t.Error(got)
	}
	for i, want := range []bool{true, false, true} {
		if up := next(t, reported); up != want {
			t.Errorf("call %d of OnState says %v", i, up)
		}
	}
}

// next waits for a value.
func next[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
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
