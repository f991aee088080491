package marketdata

// TopView has the best bid and ask of an instrument as a subscriber of KindTop sees them. Its methods
// belong to one goroutine at a time.
type TopView struct {
	stream
	quotes [2]Level // by Side.index
	given  int      // quotes of the snapshot that is arriving
}

// NewTopView returns a view that waits for a snapshot. latest is for a subscription in mode latest, in
// which updates may be left out. The sides are then as fresh as the last update of each, so a bid may
// reach an ask for the moment until the next update.
func NewTopView(instrument uint32, latest bool) *TopView {
	return &TopView{stream: stream{kind: KindTop, instrument: instrument, latest: latest}}
}

// Begin is for a SnapshotBegin. The view forgets what it had.
func (v *TopView) Begin(seq uint64) {
	v.begin(seq)
	v.quotes, v.given = [2]Level{}, 0
}

// Describe is for a frame between SnapshotBegin and SnapshotEnd: the bid, then the ask.
func (v *TopView) Describe(tag uint8, body []byte) error {
	f, err := v.described(tag, body)
	if err != nil {
		return err
	}
	if v.given >= len(v.quotes) || f.Side != Buy+Side(v.given) {
		return v.fail("quote %d of the snapshot is of side %d; it must have the bid, then the ask",
			v.given+1, f.Side)
	}
	v.given++
	v.quotes[f.Side.index()] = f.level()
	return nil
}

// End is for a SnapshotEnd.
func (v *TopView) End(seq uint64) error {
	if err := v.end(seq); err != nil {
		return err
	}
	if v.given != len(v.quotes) {
		return v.fail("the snapshot has %d quotes, must have bid and ask", v.given)
	}
	return v.check()
}

// Update is for a TopicData: the best price of a side has changed, or what is open at it.
func (v *TopView) Update(seq uint64, tag uint8, body []byte) error {
	f, err := v.next(seq, tag, body)
	if err != nil {
		return err
	}
	v.quotes[f.Side.index()] = f.level()
	if v.skipped {
		return nil
	}
	return v.check()
}

func (v *TopView) check() error {
	if bid, ask := v.Top(); crossed(bid, ask) {
		return v.fail("bid is %d and ask is %d after update %d", bid.Price, ask.Price, v.seq)
	}
	return nil
}

// Top returns the best bid and ask. Orders is 0 if there is none.
func (v *TopView) Top() (bid, ask Level) { return v.quotes[0], v.quotes[1] }

// AppendSnapshot appends the frames with which the server would describe this view after an event.
func (v *TopView) AppendSnapshot(dst []byte, event uint64) []byte {
	for i, l := range v.quotes {
		dst = l.frame(TagQuote, event, v.instrument, Buy+Side(i)).Append(dst)
	}
	return dst
}
