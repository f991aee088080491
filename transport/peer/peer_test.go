package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFramesArriveWholeAndInOrder(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	nodes := map[uint8]*node{}
	for n := uint8(1); n <= 3; n++ {
		c := r.config(n)
		c.ControlFrames, c.AppendBytes = 1<<20, 1<<20
		nodes[n] = r.start(c, quick())
	}
	// The content of frame i is known to both ends.
	content := func(from uint8, lane Lane, i int) []byte {
		random := rand.New(rand.NewPCG(uint64(from)<<8|uint64(lane), uint64(i)))
		size := []int{0, 1, 9, 100, 4 << 10, MaxControl}[random.IntN(6)]
		return bytes.Repeat(fmt.Appendf(nil, "%d from %d on %v. ", i, from, lane), size/16+1)[:size]
	}
	const each = 300
	var senders sync.WaitGroup
	for from, n := range nodes {
		n.connected(from%3 + 1)
		for to := range nodes {
			for lane := Control; to != from && lane <= Bulk; lane++ {
				senders.Go(func() {
					for i := range each {
						n.sends(to, lane, string(content(from, lane, i)))
					}
				})
			}
		}
	}
	for _, n := range nodes {
		next := map[Sender]map[Lane]int{}
		for range 2 * lanes * each {
			g := n.receives()
			if next[g.from] == nil {
				next[g.from] = map[Lane]int{}
			}
			i := next[g.from][g.lane]
			if want := content(g.from.Node, g.lane, i); g.frame != string(want) {
				t.Fatalf("frame %d of node %d, %v, has %d bytes, want %d", i, g.from.Node, g.lane, len(g.frame), len(want))
			}
			next[g.from][g.lane]++
		}
	}
	senders.Wait()
	for _, n := range nodes {
		eventually(t, "the last frames are counted", func() bool { // after the write, which may have arrived before
			return !slices.ContainsFunc(n.Status(), func(s Status) bool { return s.Out.Frames != each })
		})
		for _, s := range n.Status() {
			if s.Out.Frames != each || s.In.Frames != each || s.Version != "test" || s.Incarnation != 1 || s.Waiting != 0 {
				t.Errorf("status %+v, want %d frames in both directions", s, each)
			}
		}
	}
}

func TestLargestFramesArrive(t *testing.T) {
	r := newRig(t, 1, 2)
	a, b := r.start(r.config(1), quick()), r.start(r.config(2), quick())
	a.connected(2)
	for lane, most := range map[Lane]int{Control: MaxControl, Append: MaxFrame, Bulk: MaxBulk} {
		whole := bytes.Repeat([]byte{byte(lane)}, most+1)
		if a.Send(2, lane, whole) {
			t.Errorf("%v accepts a frame of %d bytes", lane, len(whole))
		}
		a.sends(2, lane, string(whole[1:])) // larger than the queue of its lane, which is empty
		if g := b.receives(); g.lane != lane || g.frame != string(whole[1:]) {
			t.Errorf("%v: got %d bytes on %v, want %d", lane, len(g.frame), g.lane, most)
		}
		if s := a.status(2, lane); s.Dropped != 1 {
			t.Errorf("%v: %d frames dropped, want the one that is too long", lane, s.Dropped)
		}
	}
}

// The receiver takes nothing from the append and bulk lanes. They fill up and drop, and control
// frames pass them; afterwards everything that was accepted arrives.
func TestStalledLanesDoNotDelayControl(t *testing.T) {
	r := newRig(t, 1, 2)
	release := make(chan struct{})
	arrived := make(chan got, 1<<16)
	c := r.config(2)
	c.Receive = func(from Sender, lane Lane, frame []byte) {
		if lane != Control {
			<-release
		}
		arrived <- got{from, lane, string(frame[:8])}
	}
	a, b := r.start(r.config(1), quick()), r.start(c, quick())
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn) // before Close, which waits for Receive
	a.connected(2)
	accepted := map[Lane]int{}
	frame := make([]byte, MaxBulk)
	fill := func() {
		for lane := Append; lane <= Bulk; lane++ {
			for copy(frame, fmt.Sprintf("%8d", accepted[lane])); a.Send(2, lane, frame); {
				accepted[lane]++
				copy(frame, fmt.Sprintf("%8d", accepted[lane]))
			}
		}
	}
	for i := range 1000 {
		fill()
		if !a.Send(2, Control, fmt.Appendf(nil, "%8d", i)) {
			t.Fatal("a control frame was dropped")
		}
		if g := <-arrived; g.lane != Control || g.frame != fmt.Sprintf("%8d", i) {
			t.Fatalf("got %+v, want control frame %d", g, i)
		}
	}
	for lane := Append; lane <= Bulk; lane++ {
		if s := a.status(2, lane); s.Dropped < 1000 || s.Waiting > 8<<20 || !s.Out.Connected {
			t.Errorf("full lane: %+v", s)
		}
	}
	goOn()
	seen := map[Lane]int{}
	for range accepted[Append] + accepted[Bulk] {
		g := <-arrived
		if g.frame != fmt.Sprintf("%8d", seen[g.lane]) {
			t.Fatalf("got frame %s of %v, want %d", g.frame, g.lane, seen[g.lane])
		}
		seen[g.lane]++
	}
	if s := b.status(1, Control); s.In.Frames != 1000 {
		t.Errorf("%d control frames arrived, want 1000", s.In.Frames)
	}
}

func TestReconnectAfterRestart(t *testing.T) {
	r := newRig(t, 1, 2)
	a, b := r.start(r.config(1), quick()), r.start(r.config(2), quick())
	a.connected(2)
	b.connected(1)
	for incarnation := uint64(2); incarnation < 5; incarnation++ {
		b.Close()
		a.reports(true)
		a.reports(false)
		eventually(t, "frames are dropped while the peer is down", func() bool { return !a.Send(2, Bulk, []byte("x")) })
		c := r.config(2)
		c.Incarnation, c.Version = incarnation, fmt.Sprint("v", incarnation)
		b = r.start(c, quick())
		a.connected(2)
		a.reaches(b, Append, "to "+c.Version)
		if g := b.reaches(a, Append, "from "+c.Version); g.from != (Sender{2, 0, incarnation}) {
			t.Fatalf("frame from %+v, want incarnation %d", g.from, incarnation)
		}
		for lane := Control; lane <= Bulk; lane++ {
			s := a.status(2, lane)
			if s.Incarnation != incarnation || s.Version != c.Version || s.Out.Connections != incarnation {
				t.Errorf("status %+v after restart %d", s, incarnation)
			}
		}
	}
	a.logs("peer disconnected", "node=2", "lane=append")
	a.logs("peer not connected", "node=2", "refused")
}

// Node 1 would wait an hour before it tries again, but node 2 calls.
func TestReturningPeerEndsTheBackoff(t *testing.T) {
	r := newRig(t, 1, 2)
	later := r.config(2)
	slow := quick()
	slow.minBackoff, slow.maxBackoff = time.Hour, time.Hour
	a := r.start(r.config(1), slow)
	for range lanes {
		conn, err := later.Socket.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for lane := Control; lane <= Bulk; lane++ {
		eventually(t, "the first attempt fails", func() bool { return a.status(2, lane).Out.Error != "" })
	}
	b := r.start(later, quick())
	a.connected(2)
	a.reaches(b, Control, "hello")
}

// A frame waits for one attempt only: what waited when it failed is lost, counted and reported.
func TestFailedAttemptDropsWhatWaits(t *testing.T) {
	r := newRig(t, 1, 2)
	silent := r.sockets[2] // accepts, and says nothing
	slow := quick()
	slow.minBackoff, slow.maxBackoff = time.Hour, time.Hour
	a := r.start(r.config(1), slow)
	a.sends(2, Append, "waits")
	if s := a.status(2, Append); s.Waiting != headerSize+len("waits") || s.Dropped > 100 {
		t.Fatalf("status %+v, want a frame that waits", s)
	}
	before := a.status(2, Append).Dropped
	for range lanes {
		conn, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	a.reports(false)
	if s := a.status(2, Append); s.Dropped != before+1 || s.Waiting != 0 {
		t.Errorf("status %+v, want one more frame dropped than %d", s, before)
	}
	a.logs("peer not connected", "lane=append", "before its hello")
}

// The buffers of a lane grow with what waits, and shrink when it is idle.
func TestLargeBuffersAreReleased(t *testing.T) {
	r := newRig(t, 1, 2)
	limits := quick()
	limits.idle = time.Millisecond
	a, b := r.start(r.config(1), limits), r.start(r.config(2), quick())
	a.connected(2)
	q := &a.peer(2).out[Append-1].queue
	capacity := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return cap(q.waiting)
	}
	frame := strings.Repeat("x", 2*keepSize)
	for range 3 { // either of the two buffers is the queue's afterwards
		a.sends(2, Append, frame)
		if g := b.receives(); g.frame != frame {
			t.Fatalf("got %d bytes, want %d", len(g.frame), len(frame))
		}
	}
	eventually(t, "the buffers are released", func() bool { return capacity() == 0 })
	a.sends(2, Append, "small")
	if g := b.receives(); g.frame != "small" {
		t.Fatal(g)
	}
}

func TestCloseEndsAllGoroutines(t *testing.T) {
	r := newRig(t, 1, 2, 3, 4)
	unreachable := r.sockets[4] // its backlog takes connections that are never answered
	a, b := r.start(r.config(1), quick()), r.start(r.config(2), quick())
	wrong := r.config(3)
	wrong.Cluster[0]++
	other := r.start(wrong, quick())
	a.connected(2)
	a.logs("peer refused", "cluster")
	for range 3 {
		dialNode(t, a)
	}
	eventually(t, "strangers are being listened to", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.greeting) >= 3
	})
	var closers sync.WaitGroup
	for range 2 { // at the same time
		closers.Go(func() { a.Close() })
	}
	closers.Wait()
	b.Close()
	other.Close()
	unreachable.Close()
	if a.Send(2, Control, []byte("x")) {
		t.Error("a frame is accepted after Close")
	}
	a.mu.Lock()
	if len(a.conns) != 0 || len(a.greeting) != 0 {
		t.Errorf("%d connections and %d hellos after Close", len(a.conns), len(a.greeting))
	}
	a.mu.Unlock()
	eventually(t, "all goroutines are gone", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return strings.Count(string(stacks), "transport/peer.(*") == 0
	})
	never := startNode(t, Config{Cluster: [16]byte{1}, Node: 1, Incarnation: 1, Listen: "localhost:0"}, quick())
	if err := never.Close(); err != nil {
		t.Error(err)
	}
}

func TestSendToNobody(t *testing.T) {
	n := startNode(t, Config{Cluster: [16]byte{1}, Node: 1, Incarnation: 1, Listen: "localhost:0"}, quick())
	for to, lane := range map[uint8]Lane{1: Control, 2: Append, 0: Bulk, 255: Control, 3: 0, 4: Bulk + 1} {
		if n.Send(to, lane, []byte("x")) {
			t.Errorf("a frame to node %d on %v is accepted", to, lane)
		}
	}
	if len(n.Status()) != 0 {
		t.Error("a node without peers has links")
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	r := newRig(t, 1, 2)
	var received sync.WaitGroup
	c := r.config(2)
	c.Receive = func(Sender, Lane, []byte) { received.Done() }
	a := r.start(r.config(1), quick())
	r.start(c, quick())
	a.connected(2)
	frame := make([]byte, 4<<10)
	if n := testing.AllocsPerRun(2000, func() { // sending and receiving
		received.Add(1)
		if !a.Send(2, Append, frame) {
			t.Error("dropped")
		}
		received.Wait()
	}); n != 0 {
		t.Errorf("%v allocations per frame, want none", n)
	}
}
