package mailbox

import (
	"fmt"
	"sync/atomic"
)

// chain is the state that the ends of one ring of slots share. cursors[0] belongs to the writer:
// the position up to which slots are published. cursors[i+1] belongs to reader i: the position up
// to which it has released slots. The owner of cursors[i] passes slots to the owner of
// cursors[i+1], and the last reader returns them to the writer:
//
//	Invariant: cursors[0] >= cursors[1] >= ... >= cursors[readers] >= cursors[0] - len(slots)
type chain[T any] struct {
	slots   []T
	cursors []cursor
	// closed is true once cursors[0] will never move again. Written by the writer, read by the
	// readers when they are idle.
	closed atomic.Bool
	// ended is true once a reader reads no more, so slots published from then on go nowhere. Written
	// by readers, read by a writer that waits for room.
	ended atomic.Bool
	room  token // on which ClaimWait sleeps
}

// NewChain returns the ends of a ring of capacity slots that is filled by one writer and read by
// several readers in turn: reader i sees a slot once reader i-1 has released it, and the writer may
// use it again once the last reader has. Capacity is in slots, a power of two. Every end belongs to
// one goroutine; several ends may belong to the same one. It panics if capacity or readers is
// invalid. The slots are on the Go heap, zeroed, and are allocated here only.
func NewChain[T any](capacity, readers int) (*Writer[T], []*Reader[T]) {
	checkCapacity("chain", capacity, 1)
	if readers < 1 {
		panic(fmt.Sprintf("mailbox: a chain of %d readers; it needs at least 1", readers))
	}
	c := &chain[T]{slots: make([]T, capacity), cursors: make([]cursor, readers+1),
		room: make(token, 1)}
	ends := make([]*Reader[T], readers)
	for i := range ends {
		ends[i] = &Reader[T]{chain: c, upstream: &c.cursors[i], own: &c.cursors[i+1],
			last: i == readers-1}
	}
	w := &Writer[T]{chain: c, own: &c.cursors[0], upstream: &c.cursors[readers]}
	w.upstream.signal = NewSignal(c.room)
	return w, ends
}

// NewSPSC returns the two ends of a ring of capacity slots from one goroutine to another: a chain
// with one reader.
func NewSPSC[T any](capacity int) (*Writer[T], *Reader[T]) {
	w, readers := NewChain[T](capacity, 1)
	return w, readers[0]
}

// Writer is the writing end of a chain. Its methods belong to one goroutine, except those marked
// "Any goroutine".
//
// Writing takes three steps: Claim returns free slots in place, Commit declares how many of them
// are written, Publish makes everything committed visible to the first reader. One Publish for many
// Commits costs one atomic store.
type Writer[T any] struct {
	_        [cacheLine]byte
	chain    *chain[T]
	own      *cursor // position up to which slots are published
	upstream *cursor // the last reader's position, up to which slots are free again

	committed uint64 // position of the next slot to commit; >= own.position
	free      uint64 // upstream when last read; the hot path reads the line again when it is used up
	claimed   int    // slots of the current claim that are not committed
	closed    bool
	awaits    bool // a Claim without room has the next Release wake this end, see SetRoom
	signalled bool // wake-ups go to a Signal of SetSignal or SetRoom, so ClaimWait cannot sleep
	_         [cacheLine]byte
}

// Claim returns up to max free slots in place, starting with the slot at Position. They are
// contiguous, so there may be fewer than are free; nil means the ring is full (or max < 1). A slot
// still has the content of its last use, so the caller must set every field. The claim lasts until
// the next one or Close. Panics after Close.
//
// Publish before waiting for room: slots that are only committed never become free.
func (w *Writer[T]) Claim(max int) []T {
	if w.closed {
		panic("mailbox: Claim after Close")
	}
	slots := w.chain.slots
	at := int(w.committed & uint64(len(slots)-1))
	want := min(max, len(slots)-at)
	room := len(slots) - int(w.committed-w.free)
	if room < want {
		// Pairs with the last reader's Release: the slots below free belong to this goroutine
		// again.
		w.free = w.upstream.position.Load()
		if room = len(slots) - int(w.committed-w.free); room == 0 && w.awaits && want > 0 {
			w.free = awaitRoom(w.upstream)
			room = len(slots) - int(w.committed-w.free)
		}
	}
	w.claimed = min(room, want)
	if w.claimed <= 0 {
		w.claimed = 0
		return nil
	}
	return slots[at : at+w.claimed : at+w.claimed]
}

// Commit declares that the first n uncommitted slots of the claim are written. Readers do not see
// them before Publish. Panics if the claim has fewer.
func (w *Writer[T]) Commit(n int) {
	if n < 0 || n > w.claimed {
		panic(fmt.Sprintf("mailbox: Commit of %d slots, %d are claimed", n, w.claimed))
	}
	w.claimed -= n
	w.committed += uint64(n)
}

// Publish makes everything committed visible to the first reader and wakes it if it sleeps. It does
// nothing if nothing is new.
func (w *Writer[T]) Publish() {
	if w.committed != w.own.position.Load() {
		w.own.advance(w.committed)
	}
}

// Close publishes what is committed and marks the end: no slot follows. Every reader still gets
// every slot; afterwards its Done is true. Panics on a second call.
func (w *Writer[T]) Close() {
	if w.closed {
		panic("mailbox: second Close of a Writer")
	}
	w.Publish()
	w.claimed, w.closed = 0, true
	w.chain.closed.Store(true)
	// Any reader may be asleep with nothing left to read, not only the first.
	for i := range len(w.chain.cursors) - 1 {
		w.chain.cursors[i].signal.Wake()
	}
}

// Position is the absolute position of the next slot to commit: the number of slots committed so
// far.
func (w *Writer[T]) Position() uint64 { return w.committed }

// Published is the absolute position below which slots are published. Any goroutine.
func (w *Writer[T]) Published() uint64 { return w.own.position.Load() }

// Cap is the capacity in slots. Any goroutine.
func (w *Writer[T]) Cap() int { return len(w.chain.slots) }

// Len is the number of published slots that the last reader has not released yet, 0..Cap. It may be
// out of date when it returns. Any goroutine.
func (w *Writer[T]) Len() int { return between(w.upstream, w.own, w.Cap()) }

// SetSignal sets the Signal of the writer's goroutine, woken when the last reader releases slots or
// a reader ends. Call it before the goroutines start. A writer that has it does not use ClaimWait.
func (w *Writer[T]) SetSignal(s *Signal) { w.upstream.signal, w.signalled = s, true }

// SetRoom is SetSignal for a writer whose goroutine also sleeps for other reasons. s is the Signal of
// that goroutine. After a Claim that found no room, its Waker is called once, by the next Release or
// when a reader ends, including while the goroutine is awake. Any other Release wakes nothing. s need
// not be prepared for it: Claim announces that the writer waits.
func (w *Writer[T]) SetRoom(s *Signal) {
	w.upstream.signal, w.awaits, w.signalled = NewSignal(s.waker), true, true
}
