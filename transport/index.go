package transport

import (
	"fmt"
	"math"
)

// indexMin is the size of the smallest table, in entries. A cache line holds four entries.
const indexMin = 16

// Index maps connection ids to slots. It is an open-addressing hash table with linear probing, in
// one array of 16-byte entries without pointers, which the garbage collector does not scan. The
// zero value is an empty index.
//
// The caller passes the hash, because it has computed it already to choose the shard. Any hash
// function works if the same id always has the same hash. The index uses the low 32 bits only.
//
// Deletion moves the entries behind the hole to where a lookup expects them, so there are no
// tombstones. The cost of a lookup depends on the entries in the table now, not on how many were
// added and deleted. The table doubles when three quarters are used (21 to 43 bytes an entry in a
// table that has grown) and never shrinks.
//
// An Index belongs to one goroutine.
type Index struct {
	// entries has a length of 0 or a power of two. At least a quarter of it is always empty, so
	// every probe ends.
	entries []indexEntry
	used    int
}

// indexEntry is empty if taken is 0. The home of an entry is its hash modulo the length of the
// table. An entry is at its home or behind it, and every place in between is taken.
type indexEntry struct {
	id    uint64
	hash  uint32 // low half of the hash, from which resize and Delete derive the home
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

// Put adds id with its slot and returns true. If id is in the index already, it changes nothing and
// returns false. It panics if slot is math.MaxUint32. It allocates only when the table grows; see
// Reserve.
func (x *Index) Put(hash, id uint64, slot uint32) bool {
	if slot == math.MaxUint32 {
		panic(fmt.Sprintf("transport: Index.Put(id %d): slot %d is reserved; slots end at %d", id,
			slot, slot-1))
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

// Delete removes id and reports whether it was in the index.
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
	// The deleted entry may have displaced entries behind it. Each one that a lookup would now miss
	// moves into the hole, and leaves a hole itself.
	for at := (hole + 1) & mask; x.entries[at].taken != 0; at = (at + 1) & mask {
		home := uint64(x.entries[at].hash) & mask
		// Distances are counted forward from home, around the end. The hole is between home and at
		// if it is not farther from home than at.
		if (hole-home)&mask <= (at-home)&mask {
			x.entries[hole] = x.entries[at]
			hole = at
		}
	}
	x.entries[hole] = indexEntry{}
	x.used--
	return true
}

// Len returns the number of ids in the index.
func (x *Index) Len() int { return x.used }

// Reserve makes room for n ids in total, so that adding up to n ids does not grow the table. A
// growth step touches every entry.
func (x *Index) Reserve(n int) {
	size := max(indexMin, len(x.entries))
	for size/4*3 < n {
		size *= 2
	}
	if size > len(x.entries) {
		x.resize(size)
	}
}

// resize moves all entries to a new table; size is a power of two larger than the old size.
func (x *Index) resize(size int) {
	if size > 1<<32 {
		panic(fmt.Sprintf("transport: Index of %d entries: 32 bits of hash address at most %d",
			size, uint64(1)<<32))
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
