package marketdata

import (
	"iter"
	"slices"
)

// BookView is the book of one instrument as a subscriber of KindDepth sees it. Its methods belong to
// one goroutine at a time.
type BookView struct {
	stream
	sides [2][]Level // by Side.index; best price last, except while a snapshot arrives
}

// NewBookView returns a view that waits for a snapshot. latest is for a subscription in mode latest,
// in which updates may be left out.
func NewBookView(instrument uint32, latest bool) *BookView {
	return &BookView{stream: stream{kind: KindDepth, instrument: instrument, latest: latest}}
}

// Begin is for a SnapshotBegin. The view forgets what it had.
func (v *BookView) Begin(seq uint64) {
	v.begin(seq)
	v.sides[0], v.sides[1] = v.sides[0][:0], v.sides[1][:0]
}

// Describe is for a frame between SnapshotBegin and SnapshotEnd: first the bids, then the asks, each
// from the best price outwards.
func (v *BookView) Describe(tag uint8, body []byte) error {
	f, err := v.described(tag, body)
	if err != nil {
		return err
	}
	side := &v.sides[f.Side.index()]
	switch {
	case f.Count == 0:
		return v.fail("the snapshot has price %d without orders", f.Price)
	case f.Side == Buy && len(v.sides[Sell.index()]) > 0:
		return v.fail("the snapshot has bid %d after asks", f.Price)
	case len(*side) > 0 && !f.Side.better((*side)[len(*side)-1].Price, f.Price):
		return v.fail("the snapshot has price %d after %d", f.Price, (*side)[len(*side)-1].Price)
	case f.Side == Sell && len(v.sides[0]) > 0 && v.sides[0][0].Price >= f.Price:
		return v.fail("the snapshot has bid %d and ask %d", v.sides[0][0].Price, f.Price)
	}
	*side = append(*side, f.level())
	return nil
}

// End is for a SnapshotEnd.
func (v *BookView) End(seq uint64) error {
	if err := v.end(seq); err != nil {
		return err
	}
	slices.Reverse(v.sides[0])
	slices.Reverse(v.sides[1])
	return nil
}

// Update is for a TopicData: a price level has changed.
func (v *BookView) Update(seq uint64, tag uint8, body []byte) error {
	f, err := v.next(seq, tag, body)
	if err != nil {
		return err
	}
	levels := v.sides[f.Side.index()]
	at, found := slices.BinarySearchFunc(levels, f.Price, func(l Level, price int64) int {
		switch {
		case l.Price == price:
			return 0
		case f.Side.better(price, l.Price):
			return -1
		}
		return 1
	})
	switch {
	case f.Count == 0 && found:
		levels = slices.Delete(levels, at, at+1)
	case f.Count == 0 && !v.skipped:
		return v.fail("update %d removes price %d, which has no orders", seq, f.Price)
	case f.Count == 0: // the update that added it was left out
	case found:
		levels[at] = f.level()
	default:
		levels = slices.Insert(levels, at, f.level())
	}
	v.sides[f.Side.index()] = levels
	if bid, ask := v.Top(); crossed(bid, ask) {
		return v.fail("update %d makes bid %d and ask %d", seq, bid.Price, ask.Price)
	}
	return nil
}

// Top returns the best bid and ask. Orders is 0 if there is none.
func (v *BookView) Top() (bid, ask Level) { return best(v.sides[0]), best(v.sides[1]) }

func best(levels []Level) Level {
	if len(levels) == 0 {
		return Level{}
	}
	return levels[len(levels)-1]
}

// Bids returns the price levels of the buy side, best first. The view must not change meanwhile.
func (v *BookView) Bids() iter.Seq[Level] { return bestFirst(v.sides[0]) }

// Asks returns the price levels of the sell side, best first. The view must not change meanwhile.
func (v *BookView) Asks() iter.Seq[Level] { return bestFirst(v.sides[1]) }

func bestFirst(levels []Level) iter.Seq[Level] {
	return func(yield func(Level) bool) {
		for _, l := range slices.Backward(levels) {
			if !yield(l) {
				return
			}
		}
	}
}

// AppendSnapshot appends the frames with which the server would describe this book after an event.
func (v *BookView) AppendSnapshot(dst []byte, event uint64) []byte {
	for i, levels := range v.sides {
		for l := range bestFirst(levels) {
			dst = l.frame(TagLevel, event, v.instrument, Buy+Side(i)).Append(dst)
		}
	}
	return dst
}

func (f *Frame) level() Level { return Level{Price: f.Price, Quantity: f.Quantity, Orders: f.Count} }

func (l Level) frame(tag uint8, event uint64, instrument uint32, side Side) *Frame {
	return &Frame{Tag: tag, Seq: event, Instrument: instrument, Side: side, Price: l.Price,
		Quantity: l.Quantity, Count: l.Orders}
}
