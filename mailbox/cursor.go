package mailbox

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// cacheLine is the distance in bytes at which two variables no longer slow each other down.
const cacheLine = 64

// cursor is a position that one goroutine, its owner, moves forward and others read. Positions are absolute: they count
// slots (or bytes) since the mailbox was made and never wrap in practice (2^64). The cursor fills a cache line of its
// own wherever the allocator puts it, because there is a line of nothing in front of it.
type cursor struct {
	_ [cacheLine]byte
	// position is written by the owner of the cursor and read by the goroutine downstream of it. Everything below it
	// belongs to the goroutines downstream.
	position atomic.Uint64
	// signal wakes the goroutine downstream; nil if that one never sleeps. Written once before the goroutines start,
	// read by the owner, hence beside the position, in the line the owner has anyway.
	signal *Signal
	_      [cacheLine - 16]byte
}

// advance hands everything below to over to the goroutine downstream.
func (c *cursor) advance(to uint64) {
	if invariants && to < c.position.Load() {
		panic(fmt.Sprintf("mailbox: cursor moved backwards, from %d to %d", c.position.Load(), to))
	}
	handOver(&c.position, to, c.signal)
}

// handOver gives away what word guards by storing value in it, and then wakes the goroutine that gets it. The order
// matters: rung first, that goroutine could look, find nothing and sleep for good. The store must be an atomic one: a
// plain store may still sit in the processor's store buffer when Ring reads the parking flag.
func handOver(word *atomic.Uint64, value uint64, signal *Signal) {
	word.Store(value)
	signal.Wake()
}

// drained tells whether a mailbox is closed and its reader has released everything up to the writer's cursor.
//
// closed is read FIRST. The other way round a slot is lost:
//
//	reader                         writer
//	reads position: nothing new
//	                               publishes a slot, closes
//	reads closed: true -> "done"
//
// Closed first, and true, the writer's position can no longer move: reading it afterwards gives the final one.
func drained(closed *atomic.Bool, written *cursor, released uint64) bool {
	return closed.Load() && released == written.position.Load()
}

// between is the distance from the cursor behind to the one ahead, both of which may be moving, limited to capacity.
// It reads the one behind first, so the result is never negative.
func between(behind, ahead *cursor, capacity int) int {
	low := behind.position.Load()
	return int(min(ahead.position.Load()-low, uint64(capacity)))
}

// checkCapacity panics unless capacity is a power of two of at least least.
func checkCapacity(kind string, capacity, least int) {
	if capacity >= least && capacity&(capacity-1) == 0 {
		return
	}
	fix := least
	if capacity > least {
		fix = 1 << bits.Len(uint(capacity))
	}
	panic(fmt.Sprintf("mailbox: capacity %d of a %s must be a power of two, at least %d; take %d", capacity, kind, least, fix))
}
