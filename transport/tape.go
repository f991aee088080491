package transport

import (
	"fmt"
	"sort"
)

// Tape is a ring of frames that any number of connections are sent from, each from a cursor of its
// own. It has no cursors itself: a reader keeps an offset and the number of the frame that begins
// there, and compares them with First and Head.
//
//	  First                                Next      frames, counted since the tape began
//	    v                                    v
//	... | frame | frame | frame | frame .... |
//	    ^               ^                    ^
//	  Tail            a cursor             Head      bytes, counted since the tape began
//
// Each frame is contiguous. Where the next one does not fit behind the last one, a new lap of the
// block begins, so the bytes from a cursor to the head are one run, or two.
//
// The block comes from a Slab. Sends in flight hold the memory (Hold), and it is freed when the tape
// has given it up and the last of them has ended. What a send in flight reads is not overwritten: the
// owner does not Drop the frames of sends that it holds.
//
// A Tape belongs to one goroutine. It allocates Go memory only when it grows.
type Tape struct {
	memory *TapeMemory
	size   uint32   // bytes of the block; 0 if there is none
	lap    uint64   // offset of the block's first byte in the current lap
	before uint64   // the same of the lap before; lap if nothing is left of that
	tail   uint64   // offset of the oldest frame
	head   uint64   // offset of the next frame
	first  uint64   // number of the oldest frame
	next   uint64   // number of the next frame
	ends   []uint32 // by frame, modulo its length: the low half of the offset at which it ends
}

// TapeMemory is the block of a Tape, which sends in flight keep.
type TapeMemory struct {
	block Block
	sends int32 // in flight, that read it
	spare bool  // the tape has another block, or none
}

// tapeFrame is the smallest frame for which a tape has room to keep its place, in bytes: a tape with
// smaller ones holds fewer bytes.
const tapeFrame = 32

// First and Tail are number and offset of the oldest frame. Next and Head are those of the frame that
// will be appended next.
func (t *Tape) First() uint64 { return t.first }
func (t *Tape) Tail() uint64  { return t.tail }
func (t *Tape) Next() uint64  { return t.next }
func (t *Tape) Head() uint64  { return t.head }

// Size is the size of the tape's block in bytes, 0 if it has none.
func (t *Tape) Size() int { return int(t.size) }

// Fits reports whether a frame of n bytes fits into the block at all.
func (t *Tape) Fits(n int) bool { return n <= int(t.size)/2 }

// Needs returns the number of the first frame that is still there after a frame of n bytes was
// appended. n must fit.
func (t *Tape) Needs(n int) uint64 {
	end := t.head - t.lap + uint64(n)
	upTo := t.tail // frames that begin before it are overwritten
	switch {
	case end > uint64(t.size): // the frame begins a new lap
		upTo = min(t.lap+uint64(n), t.head)
	case t.before != t.lap:
		upTo = min(t.before+end, t.lap)
	}
	frame, start := t.first, t.tail
	for frame < t.next && (start < upTo || t.next-frame == uint64(len(t.ends))) {
		start, frame = t.End(frame), frame+1
	}
	return frame
}

// End is the offset at which a frame ends: First <= frame < Next.
func (t *Tape) End(frame uint64) uint64 {
	return t.tail + uint64(t.ends[frame%uint64(len(t.ends))]-uint32(t.tail))
}

// Find returns the number of the frame that has the byte at an offset, and the offset at which it
// begins. At the head it is the frame that will be appended next. The offset is not below Tail.
func (t *Tape) Find(offset uint64) (frame, start uint64) {
	if offset >= t.head {
		return t.next, t.head
	}
	n := int(t.next - t.first)
	i := sort.Search(n, func(i int) bool { return t.End(t.first+uint64(i)) > offset })
	if i == 0 {
		return t.first, t.tail
	}
	return t.first + uint64(i), t.End(t.first + uint64(i) - 1)
}

// Drop gives up the frames below a number, at most Next.
func (t *Tape) Drop(s *Slab, frame uint64) {
	if frame <= t.first {
		return
	}
	if frame > t.next {
		panic(fmt.Sprintf("transport: Tape.Drop(%d): there are frames up to %d", frame, t.next))
	}
	tail := t.End(frame - 1)
	if slabChecked {
		for t.tail < tail {
			run := t.Run(s, t.tail, int(tail-t.tail))
			fillPoison(run)
			t.tail += uint64(len(run))
		}
	}
	t.first, t.tail = frame, tail
	if t.tail >= t.lap {
		t.before = t.lap
	}
}

// Append appends a frame, which must fit. The frames that it overwrites must be dropped before.
func (t *Tape) Append(s *Slab, frame []byte) {
	n := uint64(len(frame))
	if !t.Fits(len(frame)) || t.Needs(len(frame)) > t.first {
		panic(fmt.Sprintf("transport: Tape.Append of %d bytes to a block of %d would overwrite frame %d",
			n, t.size, t.first))
	}
	if t.head-t.lap+n > uint64(t.size) {
		if t.before, t.lap = t.lap, t.head; t.tail >= t.lap {
			t.before = t.lap
		}
	}
	s.put(t.memory.block, uint32(t.head-t.lap), frame)
	t.head += n
	t.ends[t.next%uint64(len(t.ends))] = uint32(t.head)
	t.next++
}

// Run returns the bytes from an offset on, not below Tail, that are contiguous, at most n of them.
func (t *Tape) Run(s *Slab, offset uint64, n int) []byte {
	lap, end := t.lap, t.head
	if offset < t.lap {
		lap, end = t.before, t.lap
	}
	end = min(end, offset+uint64(n))
	return s.part(t.memory.block, uint32(offset-lap), uint32(end-lap))
}

// Last returns the bytes of the newest frame from an offset within it on.
func (t *Tape) Last(s *Slab, offset uint64) []byte {
	return s.part(t.memory.block, uint32(offset-t.lap), uint32(t.head-t.lap))
}

// Grow moves the frames into a block of a size, above that of the present one. It returns false, and
// changes nothing, if the slab has none.
func (t *Tape) Grow(s *Slab, size int) bool {
	block, ok := s.Alloc(size)
	if !ok {
		return false
	}
	to := s.Bytes(block)
	for at := t.tail; at < t.head; {
		run := t.Run(s, at, int(t.head-at))
		copy(to[at-t.tail:], run)
		at += uint64(len(run))
	}
	ends := make([]uint32, len(to)/tapeFrame)
	for frame := t.first; frame < t.next; frame++ {
		ends[frame%uint64(len(ends))] = uint32(t.End(frame))
	}
	t.giveUp(s)
	t.memory, t.size, t.ends = &TapeMemory{block: block}, uint32(len(to)), ends
	t.lap, t.before = t.tail, t.tail
	return true
}

// Clear drops all frames and gives up the block.
func (t *Tape) Clear(s *Slab) {
	if t.memory == nil {
		return
	}
	t.Drop(s, t.next)
	t.giveUp(s)
	t.memory, t.size, t.ends = nil, 0, nil
	t.lap, t.before = t.head, t.head
}

func (t *Tape) giveUp(s *Slab) {
	if m := t.memory; m != nil {
		if m.spare = true; m.sends == 0 {
			s.Free(m.block)
		}
	}
}

// Hold keeps the present block for a send in flight, until Release.
func (t *Tape) Hold() *TapeMemory {
	t.memory.sends++
	return t.memory
}

// Release ends a Hold.
func (m *TapeMemory) Release(s *Slab) {
	if m.sends--; m.sends < 0 {
		panic("transport: TapeMemory released more often than held")
	}
	if m.sends == 0 && m.spare {
		s.Free(m.block)
	}
}
