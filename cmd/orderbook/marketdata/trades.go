package marketdata

// TradesView has the last trade of an instrument as a subscriber of KindTrades sees it. Its methods
// belong to one goroutine at a time.
type TradesView struct {
	stream
	last Frame
}

// NewTradesView returns a view that waits for a snapshot. latest is for a subscription in mode latest,
// in which trades may be left out.
func NewTradesView(instrument uint32, latest bool) *TradesView {
	return &TradesView{stream: stream{kind: KindTrades, instrument: instrument, latest: latest}}
}

// Begin is for a SnapshotBegin. The view forgets what it had.
func (v *TradesView) Begin(seq uint64) {
	v.begin(seq)
	v.last = Frame{}
}

// Describe is for a frame between SnapshotBegin and SnapshotEnd, which trades do not have.
func (v *TradesView) Describe(uint8, []byte) error {
	return v.fail("the snapshot of trades has a frame; trades of the past are not sent")
}

// End is for a SnapshotEnd.
func (v *TradesView) End(seq uint64) error { return v.end(seq) }

// Update is for a TopicData: a trade.
func (v *TradesView) Update(seq uint64, tag uint8, body []byte) error {
	before := v.last
	f, err := v.next(seq, tag, body)
	if err != nil {
		return err
	}
	if f.Seq == before.Seq && f.Count <= before.Count {
		return v.fail("trade %d of event %d comes after trade %d", f.Count, f.Seq, before.Count)
	}
	v.last = f
	return nil
}

// Last returns the last trade. Its Tag is 0 if none came since the snapshot.
func (v *TradesView) Last() Frame { return v.last }

// AppendSnapshot appends nothing: the server does not send trades of the past.
func (v *TradesView) AppendSnapshot(dst []byte, _ uint64) []byte { return dst }
