package mailbox

import "fmt"

// Reader is a reading end of a chain. Its methods belong to one goroutine, except those marked "Any
// goroutine".
//
// Reading takes two steps: Batch returns the readable slots in place, Release passes the first of
// them on, to the next reader or, from the last reader, back to the writer. A reader may also write
// to the slots it holds; the next reader sees the changes.
type Reader[T any] struct {
	_        [cacheLine]byte
	chain    *chain[T]
	upstream *cursor // of the writer or previous reader: up to which slots are readable
	own      *cursor // position up to which this reader has released

	released uint64 // own.position; a copy, so that the hot path does not read the shared line
	readable uint64 // upstream when last read; the hot path reads its line again when it is used up
	last     bool   // no further reader follows, but the writer
	_        [cacheLine]byte
}

// Batch returns up to max readable slots in place, starting with the one at Position. They are
// contiguous, so there may be fewer than are readable; nil means there is none (or max < 1). They
// are valid until released. A second call without Release returns the same slots.
func (r *Reader[T]) Batch(max int) []T { return r.Ahead(0, max) }

// Ahead is Batch starting skip slots later: it returns slots after those that this reader is
// holding back. Nil if no more than skip are readable. Panics if skip is negative.
func (r *Reader[T]) Ahead(skip, max int) []T {
	if skip < 0 {
		panic(fmt.Sprintf("mailbox: Ahead of %d slots", skip))
	}
	slots := r.chain.slots
	from := r.released + uint64(skip)
	at := int(from & uint64(len(slots)-1))
	want := min(max, len(slots)-at)
	n := int(int64(r.readable - from))
	if n < want {
		// Pairs with the advance upstream: the slots below readable belong to this goroutine now.
		r.readable = r.upstream.position.Load()
		n = int(int64(r.readable - from))
	}
	n = min(n, want)
	if n <= 0 {
		return nil
	}
	return slots[at : at+n : at+n]
}

// Release passes the first n readable slots on and wakes the goroutine that receives them. The
// caller must not use them any more. Panics if fewer are readable. Release(0) does nothing.
func (r *Reader[T]) Release(n int) {
	if n == 0 {
		return
	}
	if n < 0 || uint64(n) > r.readable-r.released {
		r.readable = r.upstream.position.Load()
		if n < 0 || uint64(n) > r.readable-r.released {
			panic(fmt.Sprintf("mailbox: Release of %d slots, %d are readable", n,
				r.readable-r.released))
		}
	}
	if invariants && r.last {
		r.scribble(n)
	}
	r.released += uint64(n)
	r.own.advance(r.released)
}

// Position is the absolute position of the first slot not released: the number of slots released so
// far.
func (r *Reader[T]) Position() uint64 { return r.released }

// Len is the number of slots readable now, 0..capacity. It may be out of date when it returns. Any
// goroutine.
func (r *Reader[T]) Len() int { return between(r.own, r.upstream, len(r.chain.slots)) }

// Done reports whether the chain is closed and this reader has released everything, including what
// a previous reader still holds. Once true, it stays true.
func (r *Reader[T]) Done() bool { return drained(&r.chain.closed, &r.chain.cursors[0], r.released) }

// SetSignal sets the Signal of this reader's goroutine, woken when slots become readable and when
// the chain is closed. Call it before the goroutines start; without it the reader is never woken.
func (r *Reader[T]) SetSignal(s *Signal) { r.upstream.signal = s }

// scribble zeroes the first n unreleased slots, so that the use of a slice after Release is
// noticed. The content of a claimed slot is undefined, so a correct program is not affected.
func (r *Reader[T]) scribble(n int) {
	slots := r.chain.slots
	at := int(r.released & uint64(len(slots)-1))
	first := min(n, len(slots)-at)
	clear(slots[at : at+first])
	clear(slots[:n-first])
}
