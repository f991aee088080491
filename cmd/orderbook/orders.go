package orderbook

import (
	"math/bits"
	"math/rand/v2"
)

// order is one open order. Orders live in a slab and refer to one another by slot
// number; slot 0 is no order.
type order struct {
	id           uint64 // id given by the book: event number of its New
	client       uint64 // client order id of its New
	conn         uint64 // connection of its New or of its latest Replace
	price        int64
	open         uint64 // Invariant: 0 < open <= total while in the book
	total        uint64
	expiry       int64  // ns since 1970; 0 for none
	account      uint32 // index into state.accounts
	identity     uint32 // number of the identity that entered it; 0 without a key, or from a snapshot of version 2
	position     uint32 // index into state.positions
	next, prev   uint32 // neighbours in the level's queue; next also links the free list
	listed       uint32 // index into account.open
	due          uint32 // index into state.expiries; only with an expiry
	link         uint32 // index into connections.slots
	newer, older uint32 // neighbours in the list of its connection
	side         Side
}

// orders has the slab of open orders and the index that finds one by its account and client
// order id. Freed slots are reused, last freed first. Slot numbers are not visible outside,
// so they are not part of the state. Once grown to its greatest size it does not allocate.
//
// The index is an open-addressing table of slots with linear probing, at most half full.
// Removal shifts the following entries back, so there are no tombstones and the cost of a
// search does not grow with time.
type orders struct {
	slots []order
	free  uint32   // head of the free list, 0 if empty
	count int      // number of open orders
	owned []uint32 // number of open orders by identity
	table []entry
	seed  uint64 // of the hash, random
}

// entry is a table cell; slot 0 means empty. The tag is the hash of the order's key. It
// avoids most accesses to the slab, and determines the home cell when entries move.
type entry struct{ tag, slot uint32 }

func newOrders() orders {
	return orders{slots: make([]order, 1), table: make([]entry, 64), seed: rand.Uint64()}
}

// tag hashes an account and a client order id: it multiplies to 128 bits and folds. Clients
// choose the ids, so without the seed a client could choose ids that collide. The order of
// the table is not visible, so the seed does not affect determinism.
func (o *orders) tag(account uint32, client uint64) uint32 {
	high, low := bits.Mul64(client^o.seed, uint64(account)*2+0x9E3779B97F4A7C15)
	return uint32(high) ^ uint32(low>>32)
}

// find returns the slot of the account's open order, 0 for none.
func (o *orders) find(account uint32, client uint64) uint32 {
	tag, mask := o.tag(account, client), uint32(len(o.table)-1)
	for i := tag & mask; o.table[i].slot != 0; i = (i + 1) & mask {
		if o.table[i].tag == tag {
			slot := o.table[i].slot
			if r := &o.slots[slot]; r.client == client && r.account == account {
				return slot
			}
		}
	}
	return 0
}

// of returns the number of open orders that an identity has entered.
func (o *orders) of(identity uint32) int {
	if int(identity) >= len(o.owned) {
		return 0
	}
	return int(o.owned[identity])
}

// reserve makes room for n more orders. A new slice is cleared in parts, between which the garbage
// collector can stop the goroutine; one that grows is not.
func (o *orders) reserve(n int) {
	o.slots = append(make([]order, 0, len(o.slots)+n), o.slots...)
}

// add copies an order into a slot and adds it to the index. Its key must not be in use.
func (o *orders) add(r *order) uint32 {
	slot := o.free
	if slot != 0 {
		o.free = o.slots[slot].next
		o.slots[slot] = *r
	} else {
		slot = uint32(len(o.slots))
		o.slots = append(o.slots, *r)
	}
	o.count++
	if n := int(r.identity); n >= len(o.owned) {
		o.owned = append(o.owned, make([]uint32, n+1-len(o.owned))...)
	}
	o.owned[r.identity]++
	if o.count*2 > len(o.table) {
		o.grow()
	}
	o.enter(entry{tag: o.tag(r.account, r.client), slot: slot})
	return slot
}

func (o *orders) enter(e entry) {
	mask := uint32(len(o.table) - 1)
	i := e.tag & mask
	for o.table[i].slot != 0 {
		i = (i + 1) & mask
	}
	o.table[i] = e
}

func (o *orders) grow() {
	old := o.table
	o.table = make([]entry, 2*len(old))
	for _, e := range old {
		if e.slot != 0 {
			o.enter(e)
		}
	}
}

// remove frees a slot and removes it from the index. The order must have left its level.
func (o *orders) remove(slot uint32) {
	r := &o.slots[slot]
	mask := uint32(len(o.table) - 1)
	hole := o.tag(r.account, r.client) & mask
	for o.table[hole].slot != slot {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; o.table[i].slot != 0; i = (i + 1) & mask {
		// An entry may fill the hole unless its home is after the hole.
		if home := o.table[i].tag & mask; (i-home)&mask >= (i-hole)&mask {
			o.table[hole] = o.table[i]
			hole = i
		}
	}
	o.table[hole] = entry{}
	o.owned[r.identity]--
	*r = order{next: o.free}
	o.free = slot
	o.count--
}

// push adds an order to the end of a level's queue.
func (o *orders) push(l *level, slot uint32) {
	r := &o.slots[slot]
	r.prev, r.next = l.tail, 0
	if l.tail != 0 {
		o.slots[l.tail].next = slot
	} else {
		l.head = slot
	}
	l.tail = slot
	l.count++
	l.quantity += r.open
}

// unlink removes an order from a level's queue.
func (o *orders) unlink(l *level, slot uint32) {
	r := &o.slots[slot]
	if r.prev != 0 {
		o.slots[r.prev].next = r.next
	} else {
		l.head = r.next
	}
	if r.next != 0 {
		o.slots[r.next].prev = r.prev
	} else {
		l.tail = r.prev
	}
	l.count--
	l.quantity -= r.open
}
