package orderbook

import (
	"cmp"
	"slices"
)

// connection is a connection that orders belong to, or whose setting is on.
type connection struct {
	id     uint64
	newest uint32 // slot of the order that it entered or replaced last; also links the free list
	count  uint32 // open orders
	cancel bool   // setting: cancel its orders when it ends
	live   bool   // it entered an order or changed its setting, and has not ended
}

// connections has the open orders of each connection, in doubly linked lists. A connection is
// forgotten once it has no open orders and is not live. After a restart none is live until a
// request of it says so, unless its setting is on: the settings are part of a snapshot.
type connections struct {
	slots []connection // slot 0 is no connection
	free  uint32       // head of the free list, 0 if empty
	at    map[uint64]uint32
}

func newConnections() connections {
	return connections{slots: make([]connection, 1), at: make(map[uint64]uint32)}
}

// get returns the index of a connection, and creates it if necessary.
func (c *connections) get(id uint64) uint32 {
	at, ok := c.at[id]
	if !ok {
		if at = c.free; at != 0 {
			c.free = c.slots[at].newest
		} else {
			at = uint32(len(c.slots))
			c.slots = append(c.slots, connection{})
		}
		c.slots[at] = connection{id: id}
		c.at[id] = at
	}
	return at
}

// release forgets a connection that is not needed.
func (c *connections) release(at uint32) {
	x := &c.slots[at]
	if x.count > 0 || x.live {
		return
	}
	delete(c.at, x.id)
	*x = connection{newest: c.free}
	c.free = at
}

// attach adds an order to the list of a connection.
func (c *connections) attach(o *orders, slot, at uint32) {
	x, r := &c.slots[at], &o.slots[slot]
	r.link, r.older, r.newer = at, x.newest, 0
	if x.newest != 0 {
		o.slots[x.newest].newer = slot
	}
	x.newest = slot
	x.count++
}

// detach removes an order from the list of its connection.
func (c *connections) detach(o *orders, slot uint32) {
	r := &o.slots[slot]
	x := &c.slots[r.link]
	if r.newer != 0 {
		o.slots[r.newer].older = r.older
	} else {
		x.newest = r.older
	}
	if r.older != 0 {
		o.slots[r.older].newer = r.newer
	}
	if x.count--; x.count == 0 {
		c.release(r.link)
	}
}

// byID appends the slots of a connection's orders to dst, in the order of their ids.
func (c *connections) byID(o *orders, at uint32, dst []uint32) []uint32 {
	for slot := c.slots[at].newest; slot != 0; slot = o.slots[slot].older {
		dst = append(dst, slot)
	}
	slices.SortFunc(dst, func(a, b uint32) int { return cmp.Compare(o.slots[a].id, o.slots[b].id) })
	return dst
}

// cancelling returns the ids of the connections whose setting is on, in ascending order.
func (c *connections) cancelling() (ids []uint64) {
	for i := range c.slots {
		if c.slots[i].cancel {
			ids = append(ids, c.slots[i].id)
		}
	}
	slices.Sort(ids)
	return ids
}
