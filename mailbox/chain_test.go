package mailbox

import (
	"slices"
	"testing"
)

func TestCapacityMustBePowerOfTwo(t *testing.T) {
	cases := []struct {
		name  string
		build func()
		parts []string
	}{
		{"chain of 0", func() { NewChain[int](0, 1) }, []string{"capacity 0", "chain", "take 1"}},
		{"chain of 12", func() { NewSPSC[int](12) },
			[]string{"capacity 12", "power of two", "take 16"}},
		{"chain of -4", func() { NewSPSC[int](-4) }, []string{"capacity -4", "take 1"}},
		{"chain without readers", func() { NewChain[int](8, 0) }, []string{"0 readers"}},
		{"bytes of 32", func() { NewBytes(32) }, []string{"capacity 32", "byte ring", "take 64"}},
		{"bytes of 100", func() { NewBytes(100) }, []string{"take 128"}},
		{"MPSC of 1, where free and full would look alike", func() { NewMPSC[int](1) },
			[]string{"capacity 1 ", "MPSC", "take 2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { mustPanic(t, c.build, c.parts...) })
	}
}

// put claims, fills and publishes values; it fails the test if they do not fit without wrapping.
func put(t *testing.T, w *Writer[int], values ...int) {
	t.Helper()
	claim := w.Claim(len(values))
	if len(claim) != len(values) {
		t.Fatalf("claimed %d slots, want %d", len(claim), len(values))
	}
	copy(claim, values)
	w.Commit(len(values))
	w.Publish()
}

func TestChainHandsSlotsFromReaderToReader(t *testing.T) {
	w, r := NewChain[int](4, 2)
	put(t, w, 1, 2, 3)
	if got := r[1].Batch(8); got != nil {
		t.Fatalf("reader 1 sees %v before reader 0 released anything", got)
	}
	r[0].Batch(8)[0] = 10 // A reader may write to a slot it holds.
	r[0].Release(2)
	if got := r[1].Batch(8); !slices.Equal(got, []int{10, 2}) {
		t.Fatalf("reader 1 sees %v, want [10 2]", got)
	}
	if got := r[0].Batch(8); !slices.Equal(got, []int{3}) {
		t.Fatalf("reader 0 sees %v, want [3]", got)
	}
	if got := len(w.Claim(8)); got != 1 {
		t.Fatalf("%d slots free while reader 1 holds all, want 1", got)
	}
	r[1].Release(2)
	if got := len(w.Claim(8)); got != 1 {
		t.Fatalf("a claim of %d slots would wrap, want 1", got)
	}
	w.Commit(1)
	if got := len(w.Claim(8)); got != 2 {
		t.Fatalf("%d slots free behind the wrap, want 2", got)
	}
	if w.Position() != 4 || w.Published() != 3 || r[0].Position() != 2 || r[1].Position() != 2 {
		t.Fatalf("positions %d %d %d %d, want 4 3 2 2", w.Position(), w.Published(),
			r[0].Position(), r[1].Position())
	}
	if w.Len() != 1 || r[0].Len() != 1 || r[1].Len() != 0 || w.Cap() != 4 {
		t.Fatalf("Len %d %d %d Cap %d, want 1 1 0 4", w.Len(), r[0].Len(), r[1].Len(), w.Cap())
	}
}

func TestSlotsAreNotReadableBeforePublish(t *testing.T) {
	w, r := NewSPSC[int](8)
	for i := range 3 {
		w.Claim(1)[0] = i
		w.Commit(1)
	}
	if r.Batch(8) != nil || r.Len() != 0 {
		t.Fatal("a committed slot is readable before Publish")
	}
	w.Publish()
	if got := r.Batch(8); !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("read %v, want all three commits at once", got)
	}
}

func TestClaimMayBeCommittedInParts(t *testing.T) {
	w, r := NewSPSC[int](8)
	copy(w.Claim(5), []int{1, 2, 3, 4, 5})
	w.Commit(2)
	w.Commit(1)
	w.Publish()
	if got := r.Batch(8); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatalf("read %v, want [1 2 3]", got)
	}
	if got := w.Claim(1); len(got) != 1 || got[0] != 4 {
		t.Fatalf("the uncommitted slots are not the next ones claimed: %v", got)
	}
}

func TestAheadReturnsSlotsAfterThoseHeldBack(t *testing.T) {
	w, r := NewSPSC[int](4)
	put(t, w, 0, 1, 2)
	r.Release(2)
	put(t, w, 3)
	put(t, w, 4, 5)
	cases := []struct {
		name      string
		skip, max int
		want      []int
	}{
		{"nothing skipped is Batch", 0, 9, []int{2, 3}},
		{"one skipped stops at the wrap", 1, 9, []int{3}},
		{"beyond the wrap", 2, 9, []int{4, 5}},
		{"limited by max", 2, 1, []int{4}},
		{"last one", 3, 9, []int{5}},
		{"as many as are readable", 4, 9, nil},
		{"more than the capacity", 1000, 9, nil},
		{"max 0", 0, 0, nil},
		{"max below 0", 0, -1, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := r.Ahead(c.skip, c.max); !slices.Equal(got, c.want) ||
				(got == nil) != (c.want == nil) {
				t.Errorf("Ahead(%d, %d) = %v, want %v", c.skip, c.max, got, c.want)
			}
		})
	}
}

func TestChainMisusePanicsWithValues(t *testing.T) {
	cases := []struct {
		name  string
		do    func(w *Writer[int], r *Reader[int]) // three slots are claimed, two committed and published
		parts []string
	}{
		{"release of more than is readable", func(_ *Writer[int], r *Reader[int]) { r.Release(3) },
			[]string{"Release of 3", "2 are readable"}},
		{"release of less than nothing", func(_ *Writer[int], r *Reader[int]) { r.Release(-1) },
			[]string{"Release of -1"}},
		{"commit of more than is left of the claim",
			func(w *Writer[int], _ *Reader[int]) { w.Commit(2) },
			[]string{"Commit of 2", "1 are claimed"}},
		{"commit of more than the claim",
			func(w *Writer[int], _ *Reader[int]) { w.Claim(2); w.Commit(3) },
			[]string{"Commit of 3", "2 are claimed"}},
		{"commit of less than nothing", func(w *Writer[int], _ *Reader[int]) { w.Commit(-1) },
			[]string{"Commit of -1"}},
		{"look ahead of less than nothing", func(_ *Writer[int], r *Reader[int]) { r.Ahead(-1, 1) },
			[]string{"Ahead of -1"}},
		{"second close", func(w *Writer[int], _ *Reader[int]) { w.Close(); w.Close() },
			[]string{"second Close"}},
		{"claim after close", func(w *Writer[int], _ *Reader[int]) { w.Close(); w.Claim(1) },
			[]string{"Claim after Close"}},
		{"commit after close",
			func(w *Writer[int], _ *Reader[int]) { w.Claim(1); w.Close(); w.Commit(1) },
			[]string{"0 are claimed"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, r := NewSPSC[int](8)
			w.Claim(3)
			w.Commit(2)
			w.Publish()
			mustPanic(t, func() { c.do(w, r) }, c.parts...)
		})
	}
}

func TestUnreadSlotsMayBeReleased(t *testing.T) {
	w, r := NewSPSC[int](4)
	put(t, w, 1, 2, 3)
	r.Release(3)
	if r.Position() != 3 || len(w.Claim(1)) != 1 {
		t.Fatalf("position %d, want 3", r.Position())
	}
}

func TestDoneOfAChain(t *testing.T) {
	w, r := NewChain[int](4, 2)
	put(t, w, 1)
	w.Claim(1)[0] = 2
	w.Commit(1) // Close publishes it.
	w.Close()
	if r[0].Done() || r[1].Done() {
		t.Fatal("done with slots left")
	}
	if got := r[0].Batch(4); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("read %v after Close, want [1 2]", got)
	}
	r[0].Release(1)
	r[1].Release(1)
	if r[0].Done() {
		t.Fatal("reader 0 is done with a slot left")
	}
	if r[1].Len() != 0 || r[1].Done() {
		t.Fatal("reader 1 is done while reader 0 still holds a slot for it")
	}
	r[0].Release(1)
	if !r[0].Done() || r[1].Done() {
		t.Fatal("reader 0 has released all and is not done, or reader 1 has not and is")
	}
	r[1].Release(1)
	if !r[1].Done() {
		t.Fatal("reader 1 has released all and is not done")
	}
}

func TestReleasedSlotsAreOverwrittenUnderInvariants(t *testing.T) {
	if !invariants {
		t.Skip("needs -tags invariants or -race")
	}
	w, r := NewChain[int](4, 2)
	put(t, w, 1, 2, 3)
	kept := r[0].Batch(4)
	r[0].Release(3)
	if !slices.Equal(kept, []int{1, 2, 3}) {
		t.Fatalf("slots became %v between two readers", kept)
	}
	r[1].Release(2)
	if !slices.Equal(kept, []int{0, 0, 3}) {
		t.Fatalf("slots are %v, want the two released ones zeroed", kept)
	}
}

func TestChainDoesNotAllocate(t *testing.T) {
	w, r := NewChain[[488]byte](64, 2)
	if n := testing.AllocsPerRun(1000, func() {
		w.Commit(len(w.Claim(7)))
		w.Publish()
		r[0].Release(len(r[0].Batch(7)))
		r[1].Ahead(1, 3)
		r[1].Release(len(r[1].Batch(7)))
	}); n != 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}
