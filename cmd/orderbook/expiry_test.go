package orderbook

import (
	"math/rand/v2"
	"testing"
)

// Orders leave the heap of expiries from any place, and it stays one.
func TestExpiriesStayAHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var h expiries
		o := &orders{slots: make([]order, 65)}
		for slot := uint32(1); slot < 65; slot++ {
			o.slots[slot].id, o.slots[slot].expiry = uint64(slot), r.Int64N(40)
			h.add(o, slot)
		}
		for len(h) > 0 {
			h.remove(o, h[r.IntN(len(h))])
			for i, slot := range h {
				if o.slots[slot].due != uint32(i) || i > 0 && o.before(slot, h[(i-1)/2]) {
					t.Fatalf("slot %d is at %d of %d, says %d, and its parent is slot %d", slot, i, len(h),
						o.slots[slot].due, h[max(i-1, 0)/2])
				}
			}
		}
	}
}
