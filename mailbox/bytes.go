package mailbox

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

const (
	recordAlign  = 8 // bytes; every record begins at a multiple of it
	recordHeader = 8 // bytes in front of the payload: its length, little-endian
	bytesLeast   = 64

	// wrapMarker in place of a length means that the rest of the memory is unused and the next
	// record begins at its start.
	wrapMarker = ^uint64(0)

	scribbled = 0xDB // fills released records under the invariants tag
)

// byteRing is the state that the two ends of a ring of records share.
//
//	memory: | len | payload, pad to 8 | len | payload | ... | marker | unused |
type byteRing struct {
	memory    []byte
	published cursor // the writer's, in bytes; everything below it is whole records
	released  cursor // the reader's, in bytes
	// closed is true once published will never move again. Written by the writer, read by the
	// reader when it is idle.
	closed atomic.Bool
}

// NewBytes returns the two ends of a ring of variable-length records from one goroutine to another.
// Capacity is in bytes, a power of two of at least 64; a record takes 8 bytes more than its
// payload, rounded up to 8. A record is contiguous in memory and its payload begins at a multiple
// of 8. The memory is on the Go heap and is allocated here only. Panics if the capacity is invalid.
func NewBytes(capacity int) (*BytesWriter, *BytesReader) {
	checkCapacity("byte ring", capacity, bytesLeast)
	ring := &byteRing{memory: make([]byte, capacity)}
	return &BytesWriter{ring: ring, memory: ring.memory, claimed: -1, most: capacity/2 - recordHeader},
		&BytesReader{ring: ring, memory: ring.memory}
}

// recordSize is the number of bytes of the ring that a record with a payload of n bytes takes.
func recordSize(n int) int { return recordHeader + (n+recordAlign-1)&^(recordAlign-1) }

// BytesWriter is the writing end of a ring of records. Its methods belong to one goroutine, except
// those marked "Any goroutine".
type BytesWriter struct {
	_      [cacheLine]byte
	ring   *byteRing
	memory []byte // the ring's

	committed uint64 // end of the last committed record; >= published
	limit     uint64 // records up to here are contiguous in memory and known to be free
	start     uint64 // of the claimed record: committed, or after the unused end of the memory
	claimed   int    // payload bytes of the open claim, -1 without one
	most      int    // largest payload that may be claimed; -1 once closed
	awaits    bool   // a Claim without room has the next Release wake this end, see SetRoom
	_         [cacheLine]byte
}

// MaxRecord is the largest payload in bytes that always fits once the reader has released
// everything: half the capacity minus the header, because a record that does not fit before the end
// of the memory begins at its start. Any goroutine.
func (w *BytesWriter) MaxRecord() int { return len(w.ring.memory)/2 - recordHeader }

// Claim returns n bytes (length and capacity n) for the payload of the next record, in place; nil
// means there is no room now. The content of the bytes is undefined. The claim lasts until Commit,
// the next Claim or Close. Panics if n is negative, or larger than MaxRecord and might therefore
// never fit, and after Close.
//
// Publish before waiting for room: records that are only committed never become free.
func (w *BytesWriter) Claim(n int) []byte {
	w.start, w.claimed = w.committed, n
	if w.start+uint64(recordSize(n)) > w.limit || uint(n) > uint(w.most) {
		if !w.makeRoom(n) {
			return nil
		}
	}
	at := int(w.start&uint64(len(w.memory)-1)) + recordHeader
	return w.memory[at : at+n : at+n]
}

// makeRoom determines how much of the ring is free, and whether n bytes fit before the end of the
// memory or only at its start. It sets the claim, or clears it if there is no room.
func (w *BytesWriter) makeRoom(n int) bool {
	w.claimed = -1
	switch {
	case w.most < 0:
		panic("mailbox: Claim after Close")
	case n < 0 || n > w.most:
		panic(fmt.Sprintf("mailbox: Claim of %d bytes, the largest record of this ring has %d", n,
			w.most))
	}
	size, capacity := uint64(recordSize(n)), uint64(len(w.memory))
	start := w.committed
	rest := capacity - start&(capacity-1)
	if rest < size {
		start += rest
	}
	// Pairs with the reader's Release: the bytes below free belong to this goroutine again.
	free := w.ring.released.position.Load() + capacity
	if start+size > free && w.awaits {
		free = awaitRoom(&w.ring.released) + capacity
	}
	if start+size > free {
		return false
	}
	if start != w.committed {
		// The reader does not see it before the record after it is published.
		binary.LittleEndian.PutUint64(w.memory[w.committed&(capacity-1):], wrapMarker)
	}
	w.start, w.claimed = start, n
	w.limit = w.committed // a later claim may fit before the end of the memory
	if start == w.committed {
		w.limit = min(free, start+rest)
	}
	return true
}

// Commit ends the claim: its first n bytes become the record. The reader does not see it before
// Publish. Panics without a claim of at least n bytes.
func (w *BytesWriter) Commit(n int) {
	if n < 0 || n > w.claimed {
		panic(fmt.Sprintf("mailbox: Commit of %d bytes, claimed: %t, %d bytes", n, w.claimed >= 0,
			max(w.claimed, 0)))
	}
	binary.LittleEndian.PutUint64(w.memory[w.start&uint64(len(w.memory)-1):], uint64(n))
	w.committed = w.start + uint64(recordSize(n))
	w.claimed = -1
}

// Publish makes everything committed visible to the reader and wakes it if it sleeps. It does
// nothing if nothing is new.
func (w *BytesWriter) Publish() {
	if w.committed != w.ring.published.position.Load() {
		w.ring.published.advance(w.committed)
	}
}

// Close publishes what is committed and marks the end: no record follows. Panics on a second call.
func (w *BytesWriter) Close() {
	if w.most < 0 {
		panic("mailbox: second Close of a BytesWriter")
	}
	w.Publish()
	w.claimed, w.most, w.limit = -1, -1, 0
	w.ring.closed.Store(true)
	w.ring.published.signal.Wake()
}

// Cap is the capacity in bytes. Any goroutine.
func (w *BytesWriter) Cap() int { return len(w.memory) }

// Len is the number of published bytes that the reader has not released yet, including headers and
// unused ends. It may be out of date when it returns. Any goroutine.
func (w *BytesWriter) Len() int { return w.ring.len() }

// SetSignal sets the Signal of the writer's goroutine, woken when the reader releases records. Call
// it before the goroutines start.
func (w *BytesWriter) SetSignal(s *Signal) { w.ring.released.signal = s }

// SetRoom is Writer.SetRoom.
func (w *BytesWriter) SetRoom(s *Signal) { w.ring.released.signal, w.awaits = NewSignal(s.waker), true }

// BytesReader is the reading end of a ring of records. Its methods belong to one goroutine, except
// those marked "Any goroutine".
type BytesReader struct {
	_      [cacheLine]byte
	ring   *byteRing
	memory []byte // the ring's

	next     uint64 // end of the last record Next returned
	released uint64 // same as ring.released; <= next
	readable uint64 // value of published when last read
	_        [cacheLine]byte
}

// Next returns the next record in place (length and capacity are those of its payload); false means
// there is none now. The record is valid until Release, as are all records returned since the last
// Release.
func (r *BytesReader) Next() ([]byte, bool) {
	if r.next == r.readable {
		// Pairs with the writer's Publish: the records below readable belong to this goroutine now.
		if r.readable = r.ring.published.position.Load(); r.next == r.readable {
			return nil, false
		}
	}
	memory := r.memory
	at := int(r.next) & (len(memory) - 1)
	length := binary.LittleEndian.Uint64(memory[at:])
	if length == wrapMarker {
		// A marker is always published together with the record after it.
		r.next += uint64(len(memory) - at)
		at = 0
		length = binary.LittleEndian.Uint64(memory)
	}
	r.next += uint64(recordSize(int(length)))
	at += recordHeader
	return memory[at : at+int(length) : at+int(length)], true
}

// Release returns the memory of all records returned by Next so far to the writer and wakes it if
// it sleeps.
func (r *BytesReader) Release() {
	if r.next == r.released {
		return
	}
	if invariants {
		r.scribble()
	}
	r.released = r.next
	r.ring.released.advance(r.released)
}

// Done reports whether the ring is closed and every record is released. Once true, it stays true.
func (r *BytesReader) Done() bool { return drained(&r.ring.closed, &r.ring.published, r.released) }

// Cap is BytesWriter.Cap. Any goroutine.
func (r *BytesReader) Cap() int { return len(r.memory) }

// Len is BytesWriter.Len. Any goroutine.
func (r *BytesReader) Len() int { return r.ring.len() }

// SetSignal sets the Signal of the reader's goroutine, woken when records become readable and when
// the ring is closed. Call it before the goroutines start.
func (r *BytesReader) SetSignal(s *Signal) { r.ring.published.signal = s }

func (b *byteRing) len() int { return between(&b.released, &b.published, len(b.memory)) }

// scribble overwrites the records about to be released, so that the use of a slice after Release is
// noticed.
func (r *BytesReader) scribble() {
	memory, mask := r.ring.memory, uint64(len(r.ring.memory)-1)
	for at := r.released; at != r.next; at++ {
		memory[at&mask] = scribbled
	}
}
