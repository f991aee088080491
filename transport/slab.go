package transport

import (
	"fmt"
	"math/bits"
)

const (
	// BlockMin is the smallest block of a Slab, in bytes. Sizes below it round up to it.
	BlockMin = 1 << unitShift
	// SegmentDefault is the segment size of a Slab, and so its largest block, unless another is asked for: 1 MiB.
	SegmentDefault = 1 << 20
	// SegmentMax is the largest segment size: 64 MiB.
	SegmentMax = 64 << 20

	unitShift = 8
	orders    = 19 // from BlockMin up to SegmentMax

	// recentMax bounds how many freed blocks of one size wait unmerged. It bounds the work of one coalescing to
	// orders*recentMax merges, and covers the ups and downs of a few dirty connections between two flushes.
	recentMax = 512
	// reserveMax is how many wholly free segments Trim leaves in place, because a shard that drained completely is
	// about to fill again.
	reserveMax = 1
)

// Block is a handle to a piece of a Slab's memory: an index, not a pointer, so tables of blocks cost the garbage
// collector nothing. The zero Block is no block. A handle is dead after Free and may be given out again.
type Block uint32

// Slab hands out blocks of memory whose sizes are powers of two, from BlockMin to the segment size, under a hard
// budget. It is a buddy allocator: a block is split in halves until it fits, and two free halves become one block
// again, so memory freed in small pieces comes back as large ones.
//
//	segment 0   [ 256 | 256 | 512 |      1024     | ...                ]   one []byte, made on demand
//	units 0     [ u   | u   | f - |      u - - -  | ...                ]   12 bytes per 256: state, free-list links
//
// A freed block first joins a short list of recent blocks of its size, from which the next Alloc of that size takes
// it; that is the common path and touches neither buddies nor lists. The recent blocks are merged before a new segment
// is made and before an Alloc is refused, so they never cost memory that merging would have saved.
//
// The budget bounds the sum of all segments (Held). Book-keeping comes on top, 12 bytes for each 256 held (4.7 %).
// All memory is ordinary Go memory without pointers: the collector neither scans it nor depends on its amount.
//
// A Slab belongs to one goroutine. Only making a segment allocates.
type Slab struct {
	segments []segment
	segShift uint  // units of a segment, as a power of two; also the order of a whole segment
	budget   int64 // bytes
	held     int64 // bytes of all segments, at most budget
	inUse    int64 // bytes of all blocks given out, at their full size

	free     [orders]Block // heads of the doubly linked lists of free blocks, none of whose buddies is free
	freeMask uint32        // bit i is set exactly when free[i] is not empty

	recent     [orders]Block // heads of the singly linked lists of freed blocks that are not merged yet
	recentLen  [orders]int32
	recentMask uint32 // bit i is set exactly when recent[i] is not empty
}

// segment is one contiguous piece of memory. A released one has neither bytes nor units, and its number is used again.
type segment struct {
	bytes []byte
	units []unit
}

// unit is the book-keeping of BlockMin bytes. Only the first unit of a block says anything; the others are zero.
type unit struct {
	next, prev Block
	state      uint8 // 0: not the start of a block; otherwise order+1, with one of the flags below or none if free
}

const (
	flagUsed   = 0x40 // given out
	flagRecent = 0x80 // freed, not merged yet
)

// NewSlab makes a slab that takes memory from the Go heap in segments of the given size, at most budget bytes in all.
// It holds no memory until the first Alloc. The segment size is a power of two from BlockMin to SegmentMax; 0 means
// SegmentDefault. A budget that is not a multiple of it is used up to the last whole segment.
func NewSlab(segmentSize int, budget int64) (*Slab, error) {
	if segmentSize == 0 {
		segmentSize = SegmentDefault
	}
	if segmentSize < BlockMin || segmentSize > SegmentMax || segmentSize&(segmentSize-1) != 0 {
		return nil, fmt.Errorf("transport: slab segment of %d bytes: want a power of two from %d to %d",
			segmentSize, BlockMin, SegmentMax)
	}
	if budget < int64(segmentSize) {
		return nil, fmt.Errorf("transport: slab budget of %d bytes is less than one segment of %d: raise the budget or use smaller segments",
			budget, segmentSize)
	}
	const addressable = int64(1)<<(32+unitShift) - SegmentMax
	if budget > addressable {
		return nil, fmt.Errorf("transport: slab budget of %d bytes: at most %d can be addressed; use more shards", budget, addressable)
	}
	return &Slab{segShift: uint(bits.TrailingZeros(uint(segmentSize)) - unitShift), budget: budget}, nil
}

// Alloc gives out a block of at least size bytes, and false if that would need more than the budget or if size is
// larger than BlockMax. The contents are arbitrary: whatever an earlier user left. It panics if size is not positive.
func (s *Slab) Alloc(size int) (Block, bool) {
	if size <= 0 {
		panic(fmt.Sprintf("transport: Slab.Alloc(%d): the size must be positive", size))
	}
	order := orderOf(size)
	if order > s.segShift {
		return 0, false
	}
	block := s.recent[order]
	if block != 0 {
		u := s.unit(block)
		s.recent[order] = u.next
		s.recentLen[order]--
		if u.next == 0 {
			s.recentMask &^= 1 << order
		}
		u.state = uint8(order+1) | flagUsed
	} else if block = s.carve(order); block == 0 {
		return 0, false
	}
	s.inUse += BlockMin << order
	if slabChecked {
		s.checkPoison(block)
	}
	return block, true
}

// Free takes a block back. The caller must not use the handle or the block's bytes any more. It panics on a handle
// that is not given out at the moment: none, foreign, or freed before.
func (s *Slab) Free(block Block) {
	u, order := s.used(block, "Free")
	if slabChecked {
		s.poison(block)
	}
	s.inUse -= BlockMin << order
	if s.recentLen[order] == recentMax {
		s.merge(block, u, order)
		return
	}
	u.state = uint8(order+1) | flagRecent
	u.next = s.recent[order]
	s.recent[order] = block
	s.recentLen[order]++
	s.recentMask |= 1 << order
}

// Bytes returns the whole memory of a block, whose length and capacity are its full size, a power of two. The slice is
// valid until the block is freed. It panics as Free does.
func (s *Slab) Bytes(block Block) []byte {
	_, order := s.used(block, "Bytes")
	return s.memory(block, order)
}

// part returns bytes from..to of a block, without the look at its book-keeping that Bytes takes: appending and sending
// are most of what a shard does. Under the invariants tag it is Bytes all the same.
func (s *Slab) part(block Block, from, to uint32) []byte {
	if slabChecked {
		return s.Bytes(block)[from:to]
	}
	number, shift := uint32(block-1), s.segShift&31 // the mask spares the compiler a test
	base := uint(number&(1<<shift-1)) << unitShift
	return s.segments[number>>shift].bytes[base+uint(from) : base+uint(to) : base+uint(to)]
}

// put copies p into a block from byte at on; the caller knows that it fits. Like part it does not look at the book-keeping.
func (s *Slab) put(block Block, at uint32, p []byte) {
	if slabChecked {
		copy(s.Bytes(block)[at:at+uint32(len(p))], p)
		return
	}
	number, shift := uint32(block-1), s.segShift&31
	copy(s.segments[number>>shift].bytes[uint(number&(1<<shift-1))<<unitShift+uint(at):], p)
}

// orderOf returns the order of the smallest block of so many bytes, at least 1.
func orderOf(size int) uint { return uint(bits.Len(uint(size-1) >> unitShift)) }

// BlockMax returns the size of the largest block in bytes, which is the segment size.
func (s *Slab) BlockMax() int { return BlockMin << s.segShift }

// InUse returns the bytes of all blocks given out, at their full size.
func (s *Slab) InUse() int64 { return s.inUse }

// Held returns the bytes of all segments. It never exceeds the budget.
func (s *Slab) Held() int64 { return s.held }

// Trim gives segments that are wholly free back to the garbage collector, except one. It costs a merge of the recent
// blocks and is meant for a timer, not for every flush.
func (s *Slab) Trim() {
	s.coalesce()
	spared := 0
	for block := s.free[s.segShift]; block != 0; {
		next := s.unit(block).next
		if spared < reserveMax {
			spared++
		} else {
			s.unlink(block, s.segShift)
			s.segments[uint32(block-1)>>s.segShift] = segment{}
			s.held -= int64(s.BlockMax())
		}
		block = next
	}
}
