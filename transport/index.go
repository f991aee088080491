package transport

import (
	"fmt"
	"math"
)

// indexMin is the size of the first table, in entries: one cache line holds four of them.
const indexMin = 16

// Index finds the slot of a connection by its id. It is an open-addressing hash table with linear probing in one
// array of 16-byte entries without pointers, so the garbage collector never looks inside, whatever the number of
// connections. The zero value is empty and ready.
//
// The caller supplies the hash, because it has computed it already to choose the shard. Any value will do as long as
// the same id always comes with the same hash; the index uses its low 32 bits only.
//
// Deletion moves the entries behind the hole back to where a lookup expects them, so there are no tombstones and the
// cost of a lookup depends on what the table holds now, not on how many connections came and went. The table doubles
// when three quarters are taken (21 to 43 bytes an entry in a table that has grown) and never shrinks.
//
// An Index belongs to one goroutine.
type Index struct {
	// entries has a length of 0 or a power of two; at least a quarter of it is always empty, which ends every probe.
	entries []indexEntry
	used    int
}

// indexEntry is empty exactly when taken is 0. An entry sits at its home, hash modulo the table's length, or behind
// it, and every place from its home to where it sits is taken.
type indexEntry struct {
	id    uint64
	hash  uint32 // low half of the hash: growing and deleting need the home, and this saves computing it again
	taken uint32 // slot + 1
}

// Get returns the slot of id, and whether id is in the index.
func (x *Index) Get(hash, id uint64) (uint32, bool) {
	entries := x.entries
	if len(entries) == 0 {
		return 0, false
	}
	for at := hash; ; at++ {
		entry := &entries[at&uint64(len(entries)-1)]
		if entry.taken == 0 {
			return 0, false
		}
		if entry.id == id {
			return entry.taken - 1, true
		}
	}
}

// Put adds id with its slot and reports true. If id is in the index already, it changes nothing and reports false.
// It panics if slot is math.MaxUint32. It allocates only when the table grows; see Reserve.
func (x *Index) Put(hash, id uint64, slot uint32) bool {
	if slot == math.MaxUint32 {
		panic(fmt.Sprintf("transport: Index.Put(id %d): slot %d is reserved; slots end at %d", id, slot, slot-1))
	}
	if x.used >= len(x.entries)/4*3 {
		if _, found := x.Get(hash, id); found {
			return false
		}
		x.resize(max(indexMin, 2*len(x.entries)))
	}
	mask := uint64(len(x.entries) - 1)
	at := hash & mask
	for x.entries[at].taken != 0 {
		if x.entries[at].id == id {
			return false
		}
		at = (at + 1) & mask
	}
	x.entries[at] = indexEntry{id: id, hash: uint32(hash), taken: slot + 1}
	x.used++
	return true
}

// Delete removes id and reports whether it was there.
func (x *Index) Delete(hash, id uint64) bool {
	if len(x.entries) == 0 {
		return false
	}
	mask := uint64(len(x.entries) - 1)
	hole := hash & mask
	for x.entries[hole].id != id || x.entries[hole].taken == 0 {
		if x.entries[hole].taken == 0 {
			return false
		}
		hole = (hole + 1) & mask
	}
	// Whatever follows in the same run may have been pushed past the hole by the entry that is leaving. Each one that
	// a lookup would now miss moves into the hole, and leaves a hole of its own.
	for at := (hole + 1) & mask; x.entries[at].taken != 0; at = (at + 1) & mask {
		home := uint64(x.entries[at].hash) & mask
		// The distances count forwards from home, around the end: the hole is on the way from home to at exactly
		// when it is not farther from home than at is.
		if (hole-home)&mask <= (at-home)&mask {
			x.entries[hole] = x.entries[at]
			hole = at
		}
	}
	x.entries[hole] = indexEntry{}
	x.used--
	return true
}

// Len returns how many ids the index holds.
func (x *Index) Len() int { return x.used }

// Reserve makes room for n ids in all, so that the first n take no growth step. A growth step touches every entry.
func (x *Index) Reserve(n int) {
	size := max(indexMin, len(x.entries))
	for size/4*3 < n {
		size *= 2
	}
	if size > len(x.entries) {
		x.resize(size)
	}
}

// resize moves every entry to a new table of the given size, a power of two larger than the old one.
func (x *Index) resize(size int) {
	if size > 1<<32 {
		panic(fmt.Sprintf("transport: Index of %d entries: 32 bits of hash address at most %d", size, uint64(1)<<32))
	}
	old := x.entries
	x.entries = make([]indexEntry, size)
	mask := uint64(size - 1)
	for _, entry := range old {
		if entry.taken == 0 {
			continue
		}
		at := uint64(entry.hash) & mask
		for x.entries[at].taken != 0 {
			at = (at + 1) & mask
		}
		x.entries[at] = entry
	}
}
