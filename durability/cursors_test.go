package durability

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// countingBell counts its rings and can look around while it rings.
type countingBell struct {
	rings atomic.Int64
	look  func()
}

func (b *countingBell) Ring() {
	b.rings.Add(1)
	if b.look != nil {
		b.look()
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
		t.Fatal("Deactivate tells whether the replica was in view")
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

func TestAnOldIncarnationChangesNothing(t *testing.T) {
	c := NewCursors(1)
	old := c.Activate(1, 100, 90)
	young := c.Activate(1, 40, 30) // Back with an older disk, before its old link noticed.
	wantView(t, c, Node{0, Everything, 0}, Node{1, 40, 30})
	if old.Advance(101, 91) || old.Deactivate() {
		t.Error("the old incarnation still counts")
	}
	wantView(t, c, Node{0, Everything, 0}, Node{1, 40, 30})
	if !young.Advance(41, 30) || !young.Deactivate() {
		t.Error("the young incarnation does not count")
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
		{"the journal", "node 0 would fall from in_memory everything, persisted 10 to everything, 9", func(c *Cursors) { c.SetPersisted(9) }},
		{"a replica's disk", "node 1 would fall from in_memory 20, persisted 15 to 21, 14", func(c *Cursors) { c.Advance(1, 21, 14) }},
		{"a replica's memory", "node 1 would fall from in_memory 20, persisted 15 to 19, 15", func(c *Cursors) { c.Advance(1, 19, 15) }},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			c := NewCursors(1)
			c.SetPersisted(10)
			c.Activate(1, 20, 15)
			wantPanic(t, test.says, func() { test.do(c) })
			wantView(t, c, Node{0, Everything, 10}, Node{1, 20, 15}) // Nothing written, nothing locked.
			c.SetPersisted(11)
		})
	}
}

func TestEveryChangeRingsTheBellAfterItCanBeSeen(t *testing.T) {
	c := NewCursors(1)
	c.SetPersisted(1) // Before there is a bell: nothing to ring, nothing to crash.
	bell := &countingBell{}
	c.SetBell(bell)
	var feed Feed
	for _, step := range []struct {
		sentence string
		do       func()
		rings    int64
		want     []Node
	}{
		{"the journal", func() { c.SetPersisted(2) }, 1, []Node{{0, Everything, 2}}},
		{"the same again is no change", func() { c.SetPersisted(2) }, 0, nil},
		{"a replica comes", func() { feed = c.Activate(1, 1, 1) }, 1, []Node{{0, Everything, 2}, {1, 1, 1}}},
		{"a replica moves", func() { c.Advance(1, 2, 1) }, 1, []Node{{0, Everything, 2}, {1, 2, 1}}},
		{"its feed moves it", func() { feed.Advance(2, 2) }, 1, []Node{{0, Everything, 2}, {1, 2, 2}}},
		{"it does not move", func() { feed.Advance(2, 2) }, 0, nil},
		{"a replica goes", func() { feed.Deactivate() }, 1, []Node{{0, Everything, 2}}},
		{"it is gone already", func() { c.Deactivate(1) }, 0, nil},
	} {
		before := bell.rings.Load()
		bell.look = func() { wantView(t, c, step.want...) }
		step.do()
		if rang := bell.rings.Load() - before; rang != step.rings {
			t.Errorf("%s: rang %d times, want %d", step.sentence, rang, step.rings)
		}
	}
	c.SetBell(nil)
	c.SetPersisted(3)
}

func TestSnapshotDuringAWriteGivesUpWithAnEmptyView(t *testing.T) {
	c := NewCursors(1)
	c.SetPersisted(5)
	c.version.Add(1) // A writer is inside, and is not running.
	v := View{Len: 2}
	if c.Snapshot(&v) || v.Len != 0 {
		t.Errorf("a snapshot was taken in the middle of a write: %v", v.Nodes[:v.Len])
	}
	c.version.Add(1)
	wantView(t, c, Node{0, Everything, 5})
}

// TestSnapshotIsNeverTorn has writers that keep invariants over several cursors; only values of one instant show them
// all kept:
//   - within a node, in_memory is persisted+1 in every state of replicas 1 and 2;
//   - across nodes, replica 1 is moved first and replica 2 follows, so that 1 leads by 0 or 1;
//   - replica 3 is in view only with the seeds of its incarnation, which are never 0.
func TestSnapshotIsNeverTorn(t *testing.T) {
	const moves = 100_000
	c := NewCursors(3)
	c.Activate(1, 1, 0)
	c.Activate(2, 1, 0)
	var writers sync.WaitGroup
	var done atomic.Bool
	writers.Go(func() {
		for n := Seq(1); n <= moves; n++ {
			c.Advance(1, n+1, n)
			c.Advance(2, n+1, n)
		}
	})
	writers.Go(func() {
		for n := Seq(1); n <= moves/4; n++ {
			feed := c.Activate(3, 2*n, n)
			if n%2 == 0 {
				feed.Deactivate()
			}
			c.SetPersisted(n)
		}
	})
	go func() { writers.Wait(); done.Store(true) }()
	var v View
	var taken, refused int
	for !done.Load() {
		if !c.Snapshot(&v) {
			refused++
			if v.Len != 0 {
				t.Fatalf("a refused snapshot shows %v", v.Nodes[:v.Len])
			}
			runtime.Gosched()
			continue
		}
		taken++
		one, two := v.Nodes[1], v.Nodes[2]
		if v.Len < 3 || one.InMemory != one.Persisted+1 || two.InMemory != two.Persisted+1 ||
			one.Persisted != two.Persisted && one.Persisted != two.Persisted+1 {
			t.Fatalf("torn snapshot: %v", v.Nodes[:v.Len])
		}
		if three := v.Nodes[3]; v.Len == 4 && (three.ID != 3 || three.Persisted == 0 || three.InMemory != 2*three.Persisted) {
			t.Fatalf("replica 3 in view with other cursors than its seeds: %v", v.Nodes[:v.Len])
		}
	}
	wantView(t, c, Node{0, Everything, moves / 4}, Node{1, moves + 1, moves}, Node{2, moves + 1, moves})
	t.Logf("%d snapshots taken, %d refused", taken, refused)
}

func TestNothingOnTheStepAllocates(t *testing.T) {
	c := NewCursors(2)
	c.Activate(1, 5, 5)
	feed := c.Activate(2, 5, 5)
	s := NewSwitch(Hybrid())
	bell := &countingBell{}
	c.SetBell(bell)
	s.SetBell(bell)
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
