package mailbox

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// cacheLine is the distance in bytes at which two variables do not share a cache line.
const cacheLine = 64

// cursor is a position that one goroutine, its owner, moves forward and others read. Positions are
// absolute: they count slots (or bytes) since the mailbox was made and never wrap in practice
// (2^64). The cursor has a cache line of its own wherever the allocator puts it, because a line of
// padding precedes it.
type cursor struct {
	_ [cacheLine]byte
	// position is written by the owner of the cursor and read by the goroutine downstream of it.
	// Everything below it belongs to the goroutines downstream.
	position atomic.Uint64
	// signal wakes the goroutine downstream; nil if it never sleeps. Written once before the
	// goroutines start, read by the owner, and therefore next to the position, in the line that the
	// owner uses anyway.
	signal *Signal
	_      [cacheLine - 16]byte
}

// advance hands everything below position to over to the goroutine downstream.
func (c *cursor) advance(to uint64) {
	if invariants && to < c.position.Load() {
		panic(fmt.Sprintf("mailbox: cursor moved backwards, from %d to %d", c.position.Load(), to))
	}
	handOver(&c.position, to, c.signal)
}

// handOver hands over what word guards by storing value in it, and then wakes the goroutine that
// receives it. The order matters: if it were woken first, that goroutine could look, find nothing
// and sleep for ever. The store must be atomic: a plain store may still be in the processor's store
// buffer when Wake reads the parking flag.
func handOver(word *atomic.Uint64, value uint64, signal *Signal) {
	word.Store(value)
	signal.Wake()
}

// awaitRoom has the next advance of a writer's upstream cursor wake the writer, and returns the
// cursor's position, which the caller must look at: it may have moved before the announcement. If it
// shows room, the wake-up may arrive all the same.
func awaitRoom(upstream *cursor) (position uint64) {
	upstream.signal.Prepare()
	return upstream.position.Load()
}

// drained reports whether a mailbox is closed and its reader has released everything up to the
// writer's cursor.
//
// closed is read FIRST. In the opposite order a slot is lost:
//
//	reader                         writer
//	reads position: nothing new
//	                               publishes a slot, closes
//	reads closed: true -> "done"
//
// If closed is read first and is true, the writer's position can no longer move: the read after it
// returns the final one.
func drained(closed *atomic.Bool, written *cursor, released uint64) bool {
	return closed.Load() && released == written.position.Load()
}

// between is the distance from the cursor behind to the cursor ahead, limited to capacity. Both may
// be moving. It reads the one behind first, so the result is never negative.
func between(behind, ahead *cursor, capacity int) int {
	low := behind.position.Load()
	return int(min(ahead.position.Load()-low, uint64(capacity)))
}

// checkCapacity panics unless capacity is a power of two and at least least.
func checkCapacity(kind string, capacity, least int) {
	if capacity >= least && capacity&(capacity-1) == 0 {
		return
	}
	fix := least
	if capacity > least {
		fix = 1 << bits.Len(uint(capacity))
	}
	panic(fmt.Sprintf("mailbox: capacity %d of a %s must be a power of two, at least %d; take %d",
		capacity, kind, least, fix))
}
