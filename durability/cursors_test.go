package durability

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// countingWaker counts its wake-ups and can look around during one.
type countingWaker struct {
	wakes atomic.Int64
	look  func()
}

func (w *countingWaker) Wake() {
	w.wakes.Add(1)
	if w.look != nil {
		w.look()
	}
}

func snapshot(t *testing.T, c *Cursors) []Node {
	t.Helper()
	var v View
	if !c.Snapshot(&v) {
		t.Fatal("no snapshot without a writer")
	}
	return append([]Node(nil), v.Nodes[:v.Len]...)
}

func wantView(t *testing.T, c *Cursors, want ...Node) {
	t.Helper()
	got := snapshot(t, c)
	if len(got) != len(want) {
		t.Fatalf("view is %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("view is %v, want %v", got, want)
		}
	}
}

func TestViewHoldsThePrimaryAndActiveReplicasOnly(t *testing.T) {
	c := NewCursors(3)
	wantView(t, c, Node{0, Everything, 0})
	c.SetPersisted(10)
	third := c.Activate(3, 8, 7)
	wantView(t, c, Node{0, Everything, 10}, Node{3, 8, 7})
	c.Activate(1, 5, 5)
	wantView(t, c, Node{0, Everything, 10}, Node{1, 5, 5}, Node{3, 8, 7})
	if !c.Advance(1, 6, 5) || !third.Advance(9, 9) {
		t.Fatal("an active replica did not advance")
	}
	wantView(t, c, Node{0, Everything, 10}, Node{1, 6, 5}, Node{3, 9, 9})
	if !c.Deactivate(1) || c.Deactivate(1) {
		t.Fatal("Deactivate does not report whether the replica was in view")
	}
	wantView(t, c, Node{0, Everything, 10}, Node{3, 9, 9})
	if c.Advance(1, 7, 7) || c.Advance(2, 7, 7) {
		t.Fatal("a replica out of view advanced")
	}
	wantView(t, c, Node{0, Everything, 10}, Node{3, 9, 9})
	if !third.Deactivate() {
		t.Fatal("the feed did not take its replica out")
	}
	wantView(t, c, Node{0, Everything, 10})
}

func TestOldIncarnationIsIgnored(t *testing.T) {
	c := NewCursors(1)
	old := c.Activate(1, 100, 90)
	young := c.Activate(1, 40, 30) // It is back with an older disk before its old link noticed.
	wantView(t, c, Node{0, Everything, 0}, Node{1, 40, 30})
	if old.Advance(101, 91) || old.Deactivate() {
		t.Error("the old incarnation still has an effect")
	}
	wantView(t, c, Node{0, Everything, 0}, Node{1, 40, 30})
	if !young.Advance(41, 30) || !young.Deactivate() {
		t.Error("the new incarnation has no effect")
	}
	again := c.Activate(1, 1, 1)
	if young.Advance(50, 50) || !again.Advance(2, 1) {
		t.Error("an incarnation outlived its deactivation")
	}
}

func TestCursorsNeverFallWithinAnIncarnation(t *testing.T) {
	for _, test := range []struct {
		sentence, says string
		do             func(*Cursors)
	}{
		{"the journal",
			"node 0 would fall from in_memory everything, persisted 10 to everything, 9",
			func(c *Cursors) { c.SetPersisted(9) }},
		{"a replica's disk", "node 1 would fall from in_memory 20, persisted 15 to 21, 14",
			func(c *Cursors) { c.Advance(1, 21, 14) }},
		{"a replica's memory", "node 1 would fall from in_memory 20, persisted 15 to 19, 15",
			func(c *Cursors) { c.Advance(1, 19, 15) }},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			c := NewCursors(1)
			c.SetPersisted(10)
			c.Activate(1, 20, 15)
			wantPanic(t, test.says, func() { test.do(c) })
			wantView(t, c, Node{0, Everything, 10}, Node{1, 20, 15}) // Nothing was written and no lock is held.
			c.SetPersisted(11)
		})
	}
}

func TestEveryChangeWakesAfterItIsVisible(t *testing.T) {
	c := NewCursors(1)
	c.SetPersisted(1) // Without a waker.
	waker := &countingWaker{}
	c.SetWaker(waker)
	var feed Feed
	for _, step := range []struct {
		sentence string
		do       func()
		wakes    int64
		want     []Node
	}{
		{"the journal moves", func() { c.SetPersisted(2) }, 1, []Node{{0, Everything, 2}}},
		{"the journal again, without a change", func() { c.SetPersisted(2) }, 0, nil},
		{"a replica is activated", func() { feed = c.Activate(1, 1, 1) }, 1,
			[]Node{{0, Everything, 2}, {1, 1, 1}}},
		{"a replica moves", func() { c.Advance(1, 2, 1) }, 1, []Node{{0, Everything, 2}, {1, 2, 1}}},
		{"its feed moves it", func() { feed.Advance(2, 2) }, 1, []Node{{0, Everything, 2}, {1, 2, 2}}},
		{"its feed, without a change", func() { feed.Advance(2, 2) }, 0, nil},
		{"the replica is deactivated", func() { feed.Deactivate() }, 1, []Node{{0, Everything, 2}}},
		{"it is deactivated already", func() { c.Deactivate(1) }, 0, nil},
	} {
		before := waker.wakes.Load()
		waker.look = func() { wantView(t, c, step.want...) }
		step.do()
		if woken := waker.wakes.Load() - before; woken != step.wakes {
			t.Errorf("%s: woken %d times, want %d", step.sentence, woken, step.wakes)
		}
	}
	c.SetWaker(nil)
	c.SetPersisted(3)
}

func TestSnapshotDuringWriteFailsWithEmptyView(t *testing.T) {
	c := NewCursors(1)
	c.SetPersisted(5)
	c.version.Add(1) // A writer is in the middle of a write and is not running.
	v := View{Len: 2}
	if c.Snapshot(&v) || v.Len != 0 {
		t.Errorf("a snapshot was taken in the middle of a write: %v", v.Nodes[:v.Len])
	}
	c.version.Add(1)
	wantView(t, c, Node{0, Everything, 5})
}

// stress takes snapshots while write runs and passes each one to check.
func stress(t *testing.T, c *Cursors, write func(), check func(view []Node) bool) {
	t.Helper()
	var done atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		defer done.Store(true)
		write()
	})
	defer writer.Wait()
	var v View
	var taken, refused int
	for !done.Load() {
		if c.Snapshot(&v) {
			taken++
			if !check(v.Nodes[:v.Len]) {
				t.Errorf("torn snapshot: %v", v.Nodes[:v.Len])
				return
			}
			continue
		}
		refused++
		if v.Len != 0 {
			t.Errorf("a refused snapshot shows %v", v.Nodes[:v.Len])
			return
		}
		runtime.Gosched()
	}
	t.Logf("%d snapshots taken, %d refused", taken, refused)
}

// The writer maintains two invariants over several cursors, which hold only for values of one
// instant: within a replica, in_memory is persisted+1; and replica 1 moves before replica 2, so
// that it leads by 0 or 1.
func TestSnapshotIsNeverTorn(t *testing.T) {
	const moves = 100_000
	c := NewCursors(2)
	c.Activate(1, 1, 0)
	c.Activate(2, 1, 0)
	stress(t, c, func() {
		for n := Seq(1); n <= moves; n++ {
			c.Advance(1, n+1, n)
			c.Advance(2, n+1, n)
		}
	}, func(view []Node) bool {
		one, two := view[1], view[2]
		lead := one.Persisted - two.Persisted
		return one.InMemory == one.Persisted+1 && two.InMemory == two.Persisted+1 &&
			(lead == 0 || lead == 1)
	})
	wantView(t, c, Node{0, Everything, 0}, Node{1, moves + 1, moves}, Node{2, moves + 1, moves})
}

// A replica is activated, replaced and deactivated. In view it has the cursors of one incarnation,
// which are never 0.
func TestReplicaInViewShowsOneIncarnation(t *testing.T) {
	const incarnations = 200_000
	c := NewCursors(1)
	stress(t, c, func() {
		for n := Seq(1); n <= incarnations; n++ {
			feed := c.Activate(1, 2*n, n)
			if n%2 == 0 {
				feed.Deactivate()
			}
		}
	}, func(view []Node) bool {
		return len(view) == 1 || view[1].Persisted > 0 && view[1].InMemory == 2*view[1].Persisted
	})
}

// With several writers at once, all writes arrive and none is mixed with another.
func TestConcurrentWritersAreNotMixed(t *testing.T) {
	const moves = 20_000
	c := NewCursors(3)
	stress(t, c, func() {
		var links sync.WaitGroup
		for replica := 1; replica <= 3; replica++ {
			feed := c.Activate(replica, 1, 1)
			links.Go(func() {
				for n := Seq(2); n <= moves; n++ {
					feed.Advance(n, n)
				}
			})
		}
		links.Go(func() {
			for n := Seq(1); n <= moves; n++ {
				c.SetPersisted(n)
			}
		})
		links.Wait()
	}, func(view []Node) bool {
		for _, n := range view[1:] {
			if n.InMemory != n.Persisted || n.Persisted == 0 {
				return false
			}
		}
		return true
	})
	wantView(t, c, Node{0, Everything, moves}, Node{1, moves, moves}, Node{2, moves, moves},
		Node{3, moves, moves})
}

func TestStepDoesNotAllocate(t *testing.T) {
	c := NewCursors(2)
	c.Activate(1, 5, 5)
	feed := c.Activate(2, 5, 5)
	s := NewSwitch(Hybrid())
	waker := &countingWaker{}
	c.SetWaker(waker)
	s.SetWaker(waker)
	var v View
	var d Degradation
	var n Seq = 5
	var verdict Verdict
	for _, test := range []struct {
		sentence string
		do       func()
	}{
		{"Snapshot", func() { c.Snapshot(&v) }},
		{"Adopt and Evaluate", func() { p, _ := s.Adopt(); verdict = p.Evaluate(&v) }},
		{"Observe of changes", func() { n++; d.Observe(int64(n), n%2 == 0); d.Total(int64(n)) }},
		{"the writers", func() { n++; c.SetPersisted(n); c.Advance(1, n, n); feed.Advance(n, n) }},
	} {
		if allocs := testing.AllocsPerRun(1000, test.do); allocs != 0 {
			t.Errorf("%s allocates %v times", test.sentence, allocs)
		}
	}
	_ = verdict
}

// Cursors of a primary that is one no longer open nothing, even if a feed still writes them.
func TestShutCursorsOpenNothing(t *testing.T) {
	c := NewCursors(1)
	w := new(countingWaker)
	c.SetWaker(w)
	feed := c.Activate(1, 5, 5)
	c.SetPersisted(5)
	before := w.wakes.Load()
	c.Shut()
	if w.wakes.Load() == before {
		t.Error("the waker was not called")
	}
	c.SetPersisted(9)
	if feed.Advance(9, 9) {
		t.Error("a feed still has an effect")
	}
	c.Activate(1, 9, 9).Advance(10, 10)
	before = w.wakes.Load()
	c.Prove(7)
	var v View
	if !c.Snapshot(&v) || v.Len != 0 || v.Proven != 0 {
		t.Errorf("a view of %d nodes, ticket %d proven", v.Len, v.Proven)
	}
	if w.wakes.Load() != before {
		t.Error("the waker was called for a ticket that is not proven")
	}
}

func TestTicketsAreProvenInOrder(t *testing.T) {
	c := NewCursors(0)
	var v View
	for _, step := range []struct{ prove, want uint64 }{{0, 0}, {3, 3}, {2, 3}, {4, 4}} {
		c.Prove(step.prove)
		if c.Snapshot(&v); v.Proven != step.want {
			t.Errorf("after ticket %d: %d, want %d", step.prove, v.Proven, step.want)
		}
	}
}
