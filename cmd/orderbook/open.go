package orderbook

// openList has the open orders of an account in the order of their ids. Orders are added at
// the end, because ids rise, and an order that leaves is marked. The list is compacted when
// more than half of it is marked, so adding and removing take constant time on average, and
// the list does not allocate once it has grown.
//
//	ids    3   5   8  13  21  34
//	slots  7   0   0   0   2   9       0: left the book
//	skip       3               the next open order may be 3 entries on
//
// A query begins with a binary search. It steps over marked entries by skip, and shortens the
// way for the next query: each removal is paid for once.
type openList struct {
	entries []openEntry
	count   int // open orders
}

type openEntry struct {
	id   uint64 // of the order
	slot uint32 // 0: it has left the book
	skip uint32 // entries to the next one that may be open, at least 1; only if slot is 0
}

// openSlack is the number of marked entries that a list keeps regardless of its size.
const openSlack = 32

// add adds an order, whose id is above all others.
func (l *openList) add(orders *orders, slot uint32) {
	r := &orders.slots[slot]
	r.listed = uint32(len(l.entries))
	l.entries = append(l.entries, openEntry{id: r.id, slot: slot})
	l.count++
}

// remove removes an order.
func (l *openList) remove(orders *orders, slot uint32) {
	e := &l.entries[orders.slots[slot].listed]
	e.slot, e.skip = 0, 1
	l.count--
	if len(l.entries) <= 2*l.count+openSlack {
		return
	}
	live := l.entries[:0]
	for _, e := range l.entries {
		if e.slot != 0 {
			orders.slots[e.slot].listed = uint32(len(live))
			live = append(live, e)
		}
	}
	l.entries = live
}

// find returns the index of the first entry with an id above after.
func (l *openList) find(after uint64) int {
	low, high := 0, len(l.entries)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if l.entries[middle].id <= after {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// next returns the index of the first open order from index at on, len(entries) for none.
func (l *openList) next(at int) int {
	end := at
	for end < len(l.entries) && l.entries[end].slot == 0 {
		end += int(l.entries[end].skip)
	}
	for at < end {
		e := &l.entries[at]
		skip := e.skip
		e.skip = uint32(end - at)
		at += int(skip)
	}
	return end
}
