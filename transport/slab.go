package transport

import (
	"fmt"
	"math/bits"
)

const (
	// BlockMin is the size of the smallest block, in bytes. Smaller sizes are rounded up to it.
	BlockMin = 1 << unitShift
	// SegmentDefault is the default segment size, which is also the largest block: 1 MiB.
	SegmentDefault = 1 << 20
	// SegmentMax is the largest segment size: 64 MiB.
	SegmentMax = 64 << 20

	unitShift = 8
	orders    = 19 // from BlockMin up to SegmentMax

	// recentMax bounds the number of freed blocks of one size that are not merged yet. So one
	// coalescing does at most orders*recentMax merges. It is enough for the variation of a few
	// dirty connections between two flushes.
	recentMax = 512
	// reserveMax is the number of completely free segments that Trim keeps, because a shard that
	// drained completely is about to fill again.
	reserveMax = 1
)

// Block is a handle to a piece of memory of a Slab. It is an index, not a pointer, so tables of
// blocks cost the garbage collector nothing. The zero Block means no block. A handle is invalid
// after Free and may be reused.
type Block uint32

// Slab allocates blocks of memory whose sizes are powers of two, from BlockMin to the segment size,
// under a hard budget. It is a buddy allocator: a block is split in halves until it fits, and two
// free halves are merged again, so memory freed in small pieces becomes large blocks again.
//
//	segment 0   [ 256 | 256 | 512 |      1024     | ...                ]   one []byte, allocated on demand
//	units 0     [ u   | u   | f - |      u - - -  | ...                ]   12 bytes per 256: state, free-list links
//
// A freed block first joins a short list of recent blocks of its size, from which the next Alloc of
// that size takes it. That is the common path, and it touches neither buddies nor free lists.
// Recent blocks are merged before a segment is allocated and before an Alloc is refused, so they
// never cost memory that merging would have saved.
//
// The budget bounds the sum of all segments (Held). The book-keeping needs 12 more bytes for each
// 256 held (4.7 %). All memory is ordinary Go memory without pointers, so the garbage collector
// does not scan it.
//
// A Slab belongs to one goroutine. It allocates Go memory only for a new segment.
type Slab struct {
	segments []segment
	segShift uint  // units of a segment, as a power of two; also the order of a whole segment
	budget   int64 // bytes
	held     int64 // bytes of all segments, at most budget
	inUse    int64 // bytes of all allocated blocks, at their full size

	free     [orders]Block // heads of the doubly linked lists of free, merged blocks
	freeMask uint32        // bit i is set if and only if free[i] is not empty

	recent     [orders]Block // heads of the singly linked lists of blocks not merged yet
	recentLen  [orders]int32
	recentMask uint32 // bit i is set if and only if recent[i] is not empty
}

// segment is one contiguous piece of memory. A released segment has neither bytes nor units, and
// its number is reused.
type segment struct {
	bytes []byte
	units []unit
}

// unit is the book-keeping of BlockMin bytes. Only the first unit of a block is used; the others
// are zero.
type unit struct {
	next, prev Block
	state      uint8 // 0: not the start of a block; else order+1 and a flag, no flag if free
}

const (
	flagUsed   = 0x40 // allocated
	flagRecent = 0x80 // freed, not merged yet
)

// NewSlab returns a slab that takes memory from the Go heap in segments of the given size, at most
// budget bytes in total. It holds no memory until the first Alloc. The segment size is a power of
// two from BlockMin to SegmentMax; 0 means SegmentDefault. If the budget is not a multiple of it,
// the remainder is not used.
func NewSlab(segmentSize int, budget int64) (*Slab, error) {
	if segmentSize == 0 {
		segmentSize = SegmentDefault
	}
	if segmentSize < BlockMin || segmentSize > SegmentMax || segmentSize&(segmentSize-1) != 0 {
		return nil, fmt.Errorf("transport: slab segment of %d bytes: want a power of two from %d "+
			"to %d",
			segmentSize, BlockMin, SegmentMax)
	}
	if budget < int64(segmentSize) {
		return nil, fmt.Errorf("transport: slab budget of %d bytes is less than one segment of "+
			"%d: raise the budget or use smaller segments",
			budget, segmentSize)
	}
	const addressable = int64(1)<<(32+unitShift) - SegmentMax
	if budget > addressable {
		return nil, fmt.Errorf("transport: slab budget of %d bytes: at most %d can be addressed; "+
			"use more shards", budget, addressable)
	}
	return &Slab{segShift: uint(bits.TrailingZeros(uint(segmentSize)) - unitShift),
		budget: budget}, nil
}

// Alloc returns a block of at least size bytes. It returns false if that would exceed the budget or
// if size is larger than BlockMax. The contents are whatever an earlier user left. It panics if
// size is not positive.
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

// Free frees a block. The caller must not use the handle or the bytes of the block any more. It
// panics if the handle is not allocated: zero, of another slab, or freed before.
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

// Bytes returns the memory of a block; length and capacity are its full size, a power of two. The
// slice is valid until the block is freed. It panics like Free.
func (s *Slab) Bytes(block Block) []byte {
	_, order := s.used(block, "Bytes")
	return s.memory(block, order)
}

// part returns the bytes from..to of a block without the check that Bytes does, because a shard
// spends most of its time appending and sending. With the tag invariants it uses Bytes.
func (s *Slab) part(block Block, from, to uint32) []byte {
	if slabChecked {
		return s.Bytes(block)[from:to]
	}
	number, shift := uint32(block-1), s.segShift&31 // the mask saves a bounds check
	base := uint(number&(1<<shift-1)) << unitShift
	return s.segments[number>>shift].bytes[base+uint(from) : base+uint(to) : base+uint(to)]
}

// put copies p into a block at byte at, without a check of the handle. The caller ensures that p
// fits.
func (s *Slab) put(block Block, at uint32, p []byte) {
	if slabChecked {
		copy(s.Bytes(block)[at:at+uint32(len(p))], p)
		return
	}
	number, shift := uint32(block-1), s.segShift&31
	copy(s.segments[number>>shift].bytes[uint(number&(1<<shift-1))<<unitShift+uint(at):], p)
}

// orderOf returns the order of the smallest block of at least size bytes; size is at least 1.
func orderOf(size int) uint { return uint(bits.Len(uint(size-1) >> unitShift)) }

// BlockMax returns the size of the largest block in bytes, which is the segment size.
func (s *Slab) BlockMax() int { return BlockMin << s.segShift }

// Budget is the largest sum of all segments in bytes.
func (s *Slab) Budget() int64 { return s.budget }

// InUse returns the bytes of all allocated blocks, at their full size.
func (s *Slab) InUse() int64 { return s.inUse }

// Held returns the bytes of all segments. It never exceeds the budget.
func (s *Slab) Held() int64 { return s.held }

// Trim releases completely free segments to the garbage collector, except one. It merges the recent
// blocks first, so it is meant for a timer, not for every flush.
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
