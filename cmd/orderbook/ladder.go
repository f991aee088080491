package orderbook

// level is one price of one side: a first-in first-out queue of orders.
// Invariant: quantity is the sum of open of the orders in the queue, and count > 0.
type level struct {
	key        int64
	quantity   uint64
	head, tail uint32 // slots of orders; head is the oldest
	count      uint32
	touched    uint32 // index into Book.touched, if the entry there is of this level
}

// ladder has the price levels of one side: a slice sorted by key with the best price last,
// so that a level whose orders are all filled is removed without moving any other. A new
// price takes a binary search and a move of the better levels, which are few where orders
// usually arrive. Config.MaxLevels bounds the worst case.
type ladder struct{ levels []level }

// key maps a price to an integer that is larger for a better price. The complement reverses
// the order of all int64 values; negation would not for the smallest one.
func (s Side) key(price int64) int64 {
	if s == Buy {
		return price
	}
	return ^price
}

// price is the inverse of key.
func (s Side) price(key int64) int64 { return s.key(key) }

func (s Side) opposite() Side { return Buy + Sell - s }

// index returns the index of the side in arrays of two.
func (s Side) index() int { return int(s - Buy) }

// best returns the level with the best price, nil if the side is empty. The pointer is
// valid until the next insert or remove.
func (l *ladder) best() *level {
	if len(l.levels) == 0 {
		return nil
	}
	return &l.levels[len(l.levels)-1]
}

// find returns the index of the level with this key, or the index at which it belongs.
func (l *ladder) find(key int64) (at int, found bool) {
	low, high := 0, len(l.levels)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if l.levels[middle].key < key {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(l.levels) && l.levels[low].key == key
}

// fits reports whether the level with this key exists or may be created.
func (l *ladder) fits(key int64, max int) bool {
	if len(l.levels) < max {
		return true
	}
	_, found := l.find(key)
	return found
}

// at returns the level with this key. It creates the level if necessary.
func (l *ladder) at(key int64) *level {
	at, found := l.find(key)
	if !found {
		l.levels = append(l.levels, level{})
		copy(l.levels[at+1:], l.levels[at:])
		l.levels[at] = level{key: key}
	}
	return &l.levels[at]
}

// remove removes the level at index at.
func (l *ladder) remove(at int) {
	copy(l.levels[at:], l.levels[at+1:])
	l.levels = l.levels[:len(l.levels)-1]
}
