package orderbook

// expiries is a binary heap of the slots of orders with an expiry. The first one expires
// next; of two with one expiry, the one with the lower order id.
type expiries []uint32

func (o *orders) before(a, b uint32) bool {
	x, y := &o.slots[a], &o.slots[b]
	return x.expiry < y.expiry || x.expiry == y.expiry && x.id < y.id
}

func (h expiries) put(o *orders, at int, slot uint32) {
	h[at] = slot
	o.slots[slot].due = uint32(at)
}

// add adds an order.
func (h *expiries) add(o *orders, slot uint32) {
	*h = append(*h, slot)
	h.rise(o, len(*h)-1, slot)
}

// remove removes an order.
func (h *expiries) remove(o *orders, slot uint32) {
	at, last := int(o.slots[slot].due), len(*h)-1
	moved := (*h)[last]
	*h = (*h)[:last]
	switch {
	case at == last:
	case at > 0 && o.before(moved, (*h)[(at-1)/2]):
		h.rise(o, at, moved)
	default:
		h.sink(o, at, moved)
	}
}

// rise puts a slot at index at or above it.
func (h expiries) rise(o *orders, at int, slot uint32) {
	for at > 0 {
		parent := (at - 1) / 2
		if !o.before(slot, h[parent]) {
			break
		}
		h.put(o, at, h[parent])
		at = parent
	}
	h.put(o, at, slot)
}

// sink puts a slot at index at or below it.
func (h expiries) sink(o *orders, at int, slot uint32) {
	for {
		child := 2*at + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && o.before(h[child+1], h[child]) {
			child++
		}
		if !o.before(h[child], slot) {
			break
		}
		h.put(o, at, h[child])
		at = child
	}
	h.put(o, at, slot)
}
