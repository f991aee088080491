package orderbook

// kept is the number of outcomes, and of fills, that the book keeps of each account.
const kept = 1024

// ring has the last kept values of all that were added. Value number n, from 0, is at index
// n % kept. It grows up to that size as values are added.
type ring[T any] struct {
	values []T
	total  uint64 // values ever added
}

// add adds a value, to be filled in. If that drops one, it still has the dropped value, and full
// is true.
func (r *ring[T]) add() (v *T, full bool) {
	at := r.total % kept
	r.total++
	if r.total > kept {
		return &r.values[at], true
	}
	if len(r.values) == cap(r.values) {
		grown := make([]T, len(r.values), min(kept, max(16, 2*len(r.values))))
		copy(grown, r.values)
		r.values = grown
	}
	r.values = r.values[:at+1]
	return &r.values[at], false
}

// first returns the number of the oldest value that is kept.
func (r *ring[T]) first() uint64 { return r.total - uint64(len(r.values)) }

// get returns value number n.
func (r *ring[T]) get(n uint64) *T { return &r.values[n%kept] }

// search returns the number of the first kept value that is reached, total if none is. If a
// value is reached, all later ones must be.
func (r *ring[T]) search(reached func(*T) bool) uint64 {
	low, high := r.first(), r.total
	for low < high {
		if middle := (low + high) / 2; reached(r.get(middle)) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// outcome is what one command did.
type outcome struct {
	client  uint64 // client order id of the command
	event   uint64
	order   uint64 // id of the order, 0 for none
	request uint8  // tag
	reason  Reason // 0: it was not rejected
}

// status returns the outcome as the answer to a query has it.
func (o *outcome) status() Status {
	switch {
	case o.reason != 0:
		return StatusRejected
	case o.request == TagCancel:
		return StatusCancelled
	case o.request == TagReplace:
		return StatusReplaced
	}
	return StatusAccepted
}

// fill is one side of a trade.
type fill struct {
	place
	instrument     uint32
	client, order  uint64
	price          int64
	quantity, open uint64
	side           Side
	liquidity      Liquidity
}

// place is the place of a fill in the history of its account.
type place struct {
	event uint64
	trade uint32
}

// after reports whether the fill at p came after the one at q.
func (p place) after(q place) bool {
	return p.event > q.event || p.event == q.event && p.trade > q.trade
}

// report fills in a Fill.
func (f *fill) report(r *Report, account uint64) {
	r.Seq, r.Account, r.ClientOrderID, r.OrderID = f.event, account, f.client, f.order
	r.Instrument, r.Trade, r.Price = f.instrument, f.trade, f.price
	r.Quantity, r.Open, r.Side, r.Liquidity = f.quantity, f.open, f.side, f.liquidity
}
