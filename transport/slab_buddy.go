package transport

import (
	"fmt"
	"math/bits"
)

// carve takes a block of the given order from the free lists, and splits a larger one if needed. If
// no free block is large enough, it merges the recent blocks, then allocates a segment. It returns
// 0 if that would exceed the budget.
func (s *Slab) carve(order uint) Block {
	if s.freeMask>>order == 0 {
		s.coalesce()
		if s.freeMask>>order == 0 && !s.grow() {
			return 0
		}
	}
	have := order + uint(bits.TrailingZeros32(s.freeMask>>order))
	block := s.free[have]
	s.unlink(block, have)
	for have > order {
		// The lower half is used, so blocks cluster at the beginning of a segment.
		have--
		s.link(block+1<<have, have)
	}
	s.unit(block).state = uint8(order+1) | flagUsed
	return block
}

// coalesce merges all recent blocks. Each freed block is merged at most once, so the amortized cost
// is O(log) for each Free, and one call does at most orders*recentMax merges.
func (s *Slab) coalesce() {
	for s.recentMask != 0 {
		order := uint(bits.TrailingZeros32(s.recentMask))
		for block := s.recent[order]; block != 0; {
			u := s.unit(block)
			next := u.next
			s.merge(block, u, order)
			block = next
		}
		s.recent[order] = 0
		s.recentLen[order] = 0
		s.recentMask &^= 1 << order
	}
}

// merge puts a block on the free lists, joined with its buddy as long as that is free too.
func (s *Slab) merge(block Block, u *unit, order uint) {
	units := s.segments[uint32(block-1)>>s.segShift].units
	at := uint32(block-1) & (1<<s.segShift - 1)
	base := block - Block(at)
	u.state = 0
	for order < s.segShift {
		buddy := at ^ 1<<order
		if units[buddy].state != uint8(order+1) {
			break
		}
		s.unlink(base+Block(buddy), order)
		at &= buddy
		order++
	}
	s.link(base+Block(at), order)
}

// grow allocates a segment and puts it on the free lists as one block. It returns false if that
// would exceed the budget.
func (s *Slab) grow() bool {
	size := s.BlockMax()
	if s.held+int64(size) > s.budget {
		return false
	}
	number := 0
	for number < len(s.segments) && s.segments[number].bytes != nil {
		number++
	}
	if number == len(s.segments) {
		s.segments = append(s.segments, segment{})
	}
	s.segments[number] = segment{bytes: make([]byte, size), units: make([]unit, 1<<s.segShift)}
	s.held += int64(size)
	block := Block(number<<s.segShift) + 1
	s.link(block, s.segShift)
	if slabChecked {
		fillPoison(s.segments[number].bytes)
	}
	return true
}

// link marks a block free and puts it at the head of its list.
func (s *Slab) link(block Block, order uint) {
	head := s.free[order]
	u := s.unit(block)
	u.state = uint8(order + 1)
	u.prev = 0
	u.next = head
	if head != 0 {
		s.unit(head).prev = block
	}
	s.free[order] = block
	s.freeMask |= 1 << order
}

// unlink removes a free block from its list and clears its state.
func (s *Slab) unlink(block Block, order uint) {
	u := s.unit(block)
	u.state = 0
	if u.next != 0 {
		s.unit(u.next).prev = u.prev
	}
	if u.prev != 0 {
		s.unit(u.prev).next = u.next
		return
	}
	s.free[order] = u.next
	if u.next == 0 {
		s.freeMask &^= 1 << order
	}
}

// unit returns the book-keeping of a block's first unit.
func (s *Slab) unit(block Block) *unit {
	number := uint32(block - 1)
	return &s.segments[number>>s.segShift].units[number&(1<<s.segShift-1)]
}

// used returns the book-keeping and the order of an allocated block, and panics for any other.
func (s *Slab) used(block Block, call string) (*unit, uint) {
	number := uint32(block - 1)
	at := number >> s.segShift
	if int(at) < len(s.segments) && s.segments[at].units != nil {
		u := &s.segments[at].units[number&(1<<s.segShift-1)]
		if u.state&flagUsed != 0 {
			return u, uint(u.state&^flagUsed) - 1
		}
	}
	s.reject(block, call)
	return nil, 0
}

// reject panics and says why the block is not allocated.
func (s *Slab) reject(block Block, call string) {
	number := uint32(block - 1)
	at := number >> s.segShift
	reason := "it does not belong to this slab"
	switch {
	case block == 0:
		reason = "it is no block"
	case int(at) >= len(s.segments) || s.segments[at].units == nil:
	case s.unit(block).state == 0:
		reason = "no block begins there; it was freed and merged, or never allocated"
	default:
		reason = "it is free already"
	}
	panic(fmt.Sprintf("transport: Slab.%s(block %d): %s", call, block, reason))
}

// memory returns the bytes of the block of the given order.
func (s *Slab) memory(block Block, order uint) []byte {
	number := uint32(block - 1)
	from := uint(number&(1<<s.segShift-1)) << unitShift
	to := from + BlockMin<<order
	return s.segments[number>>s.segShift].bytes[from:to:to]
}
