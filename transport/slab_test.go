package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// checkSlab verifies the book-keeping of a slab: the blocks cover every segment, each lies at a
// multiple of its size, no free block has a free buddy, lists and counters agree with the units,
// and the budget holds.
func checkSlab(t testing.TB, s *Slab) {
	t.Helper()
	listed := map[Block]uint{}
	for order := range uint(orders) {
		prev := Block(0)
		for block := s.free[order]; block != 0; block = s.unit(block).next {
			if u := s.unit(block); u.state != uint8(order+1) || u.prev != prev {
				t.Fatalf("free list %d: block %d has state %#x and prev %d, want %#x and %d", order,
					block, u.state, u.prev, order+1, prev)
			}
			listed[block], prev = order, block
		}
		count := int32(0)
		for block := s.recent[order]; block != 0; block = s.unit(block).next {
			if u := s.unit(block); u.state != uint8(order+1)|flagRecent {
				t.Fatalf("recent list %d: block %d has state %#x", order, block, u.state)
			}
			listed[block] = order
			count++
		}
		if count != s.recentLen[order] || count > recentMax {
			t.Fatalf("recent list %d: %d blocks, counter %d, limit %d", order, count,
				s.recentLen[order], recentMax)
		}
		if (s.freeMask>>order&1 != 0) != (s.free[order] != 0) ||
			(s.recentMask>>order&1 != 0) != (s.recent[order] != 0) {
			t.Fatalf("order %d: masks %b and %b do not agree with the lists", order, s.freeMask, s.recentMask)
		}
	}
	held, inUse := int64(0), int64(0)
	for number, segment := range s.segments {
		held += int64(len(segment.bytes))
		for at := 0; at < len(segment.units); {
			u := segment.units[at]
			order := uint(u.state&0x1f) - 1
			block := Block(number<<s.segShift+at) + 1
			if u.state == 0 || order > s.segShift || at&(1<<order-1) != 0 {
				t.Fatalf("segment %d, unit %d: state %#x is not the start of a block", number, at, u.state)
			}
			for inner := at + 1; inner < at+1<<order; inner++ {
				if segment.units[inner].state != 0 {
					t.Fatalf("segment %d, unit %d: state %#x inside the block of order %d at %d",
						number, inner, segment.units[inner].state, order, at)
				}
			}
			_, found := listed[block]
			if u.state&flagUsed != 0 {
				inUse += BlockMin << order
			} else if delete(listed, block); !found {
				t.Fatalf("block %d of order %d is free and on no list", block, order)
			}
			if buddy := at ^ 1<<order; order < s.segShift && u.state == uint8(order+1) &&
				segment.units[buddy].state == u.state {
				t.Fatalf("segment %d: blocks of order %d at %d and %d are free and not merged",
					number, order, at, buddy)
			}
			at += 1 << order
		}
	}
	if len(listed) != 0 {
		t.Fatalf("lists hold blocks that do not exist: %v", listed)
	}
	if held != s.Held() || inUse != s.InUse() || held > s.budget {
		t.Fatalf("Held %d, InUse %d, budget %d; counted %d and %d", s.Held(), s.InUse(), s.budget,
			held, inUse)
	}
}

func newSlab(t testing.TB, segmentSize int, budget int64) *Slab {
	t.Helper()
	s, err := NewSlab(segmentSize, budget)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBlockSizesAreRoundedUpToPowersOfTwo(t *testing.T) {
	s := newSlab(t, 1<<20, 64<<20)
	for _, test := range []struct{ size, want int }{
		{1, 256}, {255, 256}, {256, 256}, {257, 512}, {512, 512}, {513, 1024}, {4096, 4096}, {4097, 8192},
		{1<<19 + 1, 1 << 20}, {1 << 20, 1 << 20},
	} {
		block, ok := s.Alloc(test.size)
		if !ok {
			t.Fatalf("Alloc(%d) failed", test.size)
		}
		if b := s.Bytes(block); len(b) != test.want || cap(b) != test.want {
			t.Errorf("Alloc(%d) gives %d bytes with capacity %d, want %d", test.size, len(b),
				cap(b), test.want)
		}
	}
	checkSlab(t, s)
	if _, ok := s.Alloc(1<<20 + 1); ok {
		t.Error("a block larger than a segment was allocated")
	}
}

func TestUnusedSlabHoldsNoMemory(t *testing.T) {
	s := newSlab(t, 0, 64<<20)
	if s.Held() != 0 || s.InUse() != 0 || s.BlockMax() != SegmentDefault {
		t.Errorf("Held %d, InUse %d, BlockMax %d", s.Held(), s.InUse(), s.BlockMax())
	}
}

func TestWholeBudgetCanBeAllocatedAndNoMore(t *testing.T) {
	for _, size := range []int{256, 1024, 4096, 65536} {
		s := newSlab(t, 65536, 4*65536+65535) // the last 65535 bytes are less than a segment
		var blocks []Block
		for {
			block, ok := s.Alloc(size)
			if !ok {
				break
			}
			blocks = append(blocks, block)
		}
		if got := int64(len(blocks) * size); got != 4*65536 || s.Held() != got || s.InUse() != got {
			t.Errorf("blocks of %d: %d bytes allocated, Held %d, InUse %d; want %d", size, got,
				s.Held(), s.InUse(), 4*65536)
		}
		for _, block := range blocks {
			s.Free(block)
		}
		checkSlab(t, s)
	}
}

// A slab with nothing in use can allocate all of its memory as blocks of the largest size, whatever
// sizes were freed last: recent blocks do not prevent it.
func TestFreedBlocksAreMergedToWholeSegments(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSlab(t, 1<<14, 4<<14)
		var blocks []Block
		for {
			block, ok := s.Alloc(1 + random.IntN(1500))
			if !ok {
				break
			}
			blocks = append(blocks, block)
		}
		random.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
		for _, block := range blocks {
			s.Free(block)
		}
		for i := range 4 {
			if _, ok := s.Alloc(1 << 14); !ok {
				t.Fatalf("seed %d: Alloc of block %d of the largest size failed", seed, i)
			}
		}
		checkSlab(t, s)
	}
}

func TestRecentBlocksAreMergedBeforeASegmentIsAllocated(t *testing.T) {
	s := newSlab(t, 1<<14, 64<<14)
	small := make([]Block, 16)
	for i := range small {
		small[i], _ = s.Alloc(1024)
	}
	for _, block := range small {
		s.Free(block)
	}
	if _, ok := s.Alloc(1 << 14); !ok || s.Held() != 1<<14 {
		t.Errorf("ok %t, Held %d; want the same segment used again", ok, s.Held())
	}
}

func TestTrimReleasesFreeSegmentsExceptOne(t *testing.T) {
	s := newSlab(t, 1<<14, 8<<14)
	blocks := make([]Block, 8)
	for i := range blocks {
		blocks[i], _ = s.Alloc(1 << 14)
	}
	keep := blocks[3]
	copy(s.Bytes(keep), "kept")
	for i, block := range blocks {
		if i != 3 {
			s.Free(block)
		}
	}
	s.Trim()
	checkSlab(t, s)
	if s.Held() != 2<<14 {
		t.Errorf("Held %d after Trim, want one segment in use and one spare (%d)", s.Held(), 2<<14)
	}
	if !bytes.HasPrefix(s.Bytes(keep), []byte("kept")) {
		t.Error("Trim damaged a block in use")
	}
	for range 7 {
		if _, ok := s.Alloc(1 << 14); !ok {
			t.Fatal("Alloc failed within the budget that Trim released")
		}
	}
	if len(s.segments) != 8 {
		t.Errorf("%d segment numbers, want the 8 used again", len(s.segments))
	}
	checkSlab(t, s)
}

func TestNewSlabRejectsInvalidSizes(t *testing.T) {
	for _, test := range []struct {
		name    string
		segment int
		budget  int64
		want    string
	}{
		{"a segment that is not a power of two", 3000, 1 << 20, "segment of 3000 bytes"},
		{"a segment below the smallest block", 128, 1 << 20, "segment of 128 bytes"},
		{"a segment that is too large", 128 << 20, 1 << 30, "segment of 134217728 bytes"},
		{"a negative segment", -4096, 1 << 20, "segment of -4096 bytes"},
		{"a budget below one segment", 1 << 20, 1<<20 - 1, "budget of 1048575 bytes"},
		{"a budget that handles cannot address", 1 << 20, 1 << 40, "budget of 1099511627776 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := NewSlab(test.segment, test.budget); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestInvalidHandlesPanic(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(s *Slab, mine Block)
		want string
	}{
		{"freed twice", func(s *Slab, mine Block) { s.Free(mine); s.Free(mine) }, "free already"},
		{"freed twice with a merge between",
			func(s *Slab, mine Block) { s.Free(mine); s.Trim(); s.Free(mine) }, "free already"},
		{"freed after it became part of a larger one", func(s *Slab, mine Block) {
			second, _ := s.Alloc(256)
			s.Free(mine)
			s.Free(second)
			s.coalesce()
			s.Free(second)
		}, "no block begins there"},
		{"bytes of a freed block", func(s *Slab, mine Block) { s.Free(mine); s.Bytes(mine) }, "free already"},
		{"no block", func(s *Slab, _ Block) { s.Free(0) }, "no block"},
		{"foreign block", func(s *Slab, _ Block) { s.Free(1 << 30) }, "does not belong"},
		{"largest handle", func(s *Slab, _ Block) { s.Free(1<<32 - 1) }, "does not belong"},
		{"middle of a block", func(s *Slab, _ Block) {
			large, _ := s.Alloc(1024)
			s.Free(large + 1)
		}, "no block begins there"},
		{"size zero", func(s *Slab, _ Block) { s.Alloc(0) }, "Alloc(0)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSlab(t, 1<<14, 1<<14)
			mine, _ := s.Alloc(256)
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, test.want) {
					t.Errorf("panic is %q, want %q in it", text, test.want)
				}
			}()
			test.run(s, mine)
			t.Error("no panic")
		})
	}
}

func TestWriteAfterFreePanics(t *testing.T) {
	if !slabChecked {
		t.Skip("poisoning is off: run with -race or -tags invariants")
	}
	s := newSlab(t, 1<<14, 1<<14)
	block, _ := s.Alloc(1024)
	stale := s.Bytes(block)
	s.Free(block)
	stale[700] = 1
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "byte 700") {
			t.Errorf("panic is %q, want byte 700 in it", text)
		}
	}()
	s.Alloc(1024)
	t.Error("no panic")
}

func TestSlabAllocAndFreeDoNotAllocate(t *testing.T) {
	s := newSlab(t, 1<<16, 4<<16)
	first, _ := s.Alloc(256) // allocates the segment
	defer s.Free(first)
	if n := testing.AllocsPerRun(1000, func() {
		small, _ := s.Alloc(256)
		large, _ := s.Alloc(16384)
		s.Free(small)
		s.Free(large)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
