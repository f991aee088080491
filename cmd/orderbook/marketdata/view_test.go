package marketdata

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// view is what the three views have in common.
type view interface {
	Begin(seq uint64)
	Describe(tag uint8, body []byte) error
	End(seq uint64) error
	Update(seq uint64, tag uint8, body []byte) error
	Gap()
	Live() bool
	Topic() uint64
	TopicSeq() uint64
	Event() uint64
	AppendSnapshot(dst []byte, event uint64) []byte
}

// step is one thing that a view is given.
type step struct {
	what  string // begin, describe, end, update, gap
	seq   uint64
	frame Frame
}

func begin(seq uint64) step { return step{what: "begin", seq: seq} }
func end(seq uint64) step   { return step{what: "end", seq: seq} }

func describe(f Frame) step           { return step{what: "describe", frame: f} }
func update(seq uint64, f Frame) step { return step{what: "update", seq: seq, frame: f} }

// take gives a view steps up to the first error.
func take(v view, steps ...step) error {
	for i := range steps {
		s := &steps[i]
		frame := s.frame.Append(nil)
		var err error
		switch s.what {
		case "begin":
			v.Begin(s.seq)
		case "describe":
			err = v.Describe(frame[4], frame[5:])
		case "end":
			err = v.End(s.seq)
		case "update":
			err = v.Update(s.seq, frame[4], frame[5:])
		case "gap":
			v.Gap()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func level(event uint64, side Side, price int64, quantity uint64, orders uint32) Frame {
	return Frame{Tag: TagLevel, Seq: event, Instrument: 3, Side: side, Price: price, Quantity: quantity,
		Count: orders}
}

func quote(event uint64, side Side, price int64, quantity uint64, orders uint32) Frame {
	f := level(event, side, price, quantity, orders)
	f.Tag = TagQuote
	return f
}

func trade(event uint64, price int64, quantity uint64, number uint32) Frame {
	f := level(event, Buy, price, quantity, number)
	f.Tag = TagTrade
	return f
}

// depth is a snapshot after event 10 and update 5.
var depth = []step{begin(5), describe(level(10, Buy, 100, 7, 2)), describe(level(10, Buy, 98, 1, 1)),
	describe(level(10, Sell, 102, 5, 1)), describe(level(10, Sell, 105, 9, 3)), end(5)}

var top = []step{begin(5), describe(quote(10, Buy, 100, 7, 2)), describe(quote(10, Sell, 102, 5, 1)), end(5)}

func TestBookViewHasTheLevels(t *testing.T) {
	v := NewBookView(3, false)
	if err := take(v, append(slices.Clone(depth), update(6, level(11, Buy, 100, 0, 0)),
		update(7, level(11, Buy, 101, 3, 1)), update(8, level(12, Sell, 105, 4, 2)),
		update(9, level(12, Sell, 103, 1, 1)))...); err != nil {
		t.Fatal(err)
	}
	bids, asks := slices.Collect(v.Bids()), slices.Collect(v.Asks())
	bid, ask := v.Top()
	if !slices.Equal(bids, []Level{{101, 3, 1}, {98, 1, 1}}) || bid != bids[0] || ask != asks[0] ||
		!slices.Equal(asks, []Level{{102, 5, 1}, {103, 1, 1}, {105, 4, 2}}) {
		t.Errorf("bids are %v, asks %v; the best are %v and %v", bids, asks, bid, ask)
	}
	if !v.Live() || v.TopicSeq() != 9 || v.Event() != 12 || v.Topic() != KindDepth.Topic(3) {
		t.Errorf("live %v after update %d of event %d, topic %x", v.Live(), v.TopicSeq(), v.Event(), v.Topic())
	}
	check(t, v, NewBookView(3, false))
}

func TestViewsRejectWhatCannotFollow(t *testing.T) {
	trades := []step{begin(5), end(5), update(6, trade(11, 100, 1, 1)), update(7, trade(11, 100, 2, 2))}
	book := func(latest bool) func() view { return func() view { return NewBookView(3, latest) } }
	tops := func() view { return NewTopView(3, false) }
	last := func() view { return NewTradesView(3, false) }
	other := level(11, Buy, 99, 1, 1)
	other.Instrument = 4
	for _, c := range []struct {
		name  string
		view  func() view
		steps []step
		bad   step
		want  string
	}{
		{"update first", book(false), nil, update(1, level(1, Buy, 1, 1, 1)), "comes without a snapshot"},
		{"update in a snapshot", book(false), depth[:3], update(6, level(11, Buy, 1, 1, 1)), "without a snap"},
		{"end first", book(false), nil, end(5), "ends that did not begin"},
		{"end at another place", book(false), depth[:5], end(6), "begins at topic_seq 5 and ends at 6"},
		{"frame outside a snapshot", book(false), depth, describe(level(10, Buy, 1, 1, 1)), "outside a snapshot"},
		{"snapshot of two events", book(false), depth[:4], describe(level(11, Sell, 105, 9, 3)), "of event 11"},
		{"bid after asks", book(false), depth[:4], describe(level(10, Buy, 97, 1, 1)), "has bid 97 after asks"},
		{"bids upwards", book(false), depth[:2], describe(level(10, Buy, 101, 1, 1)), "has price 101 after 100"},
		{"ask twice", book(false), depth[:4], describe(level(10, Sell, 102, 1, 1)), "has price 102 after 102"},
		{"crossed snapshot", book(false), depth[:3], describe(level(10, Sell, 100, 1, 1)), "has bid 100 and ask 100"},
		{"empty level", book(false), depth[:3], describe(level(10, Sell, 102, 0, 0)), "without orders"},
		{"update left out", book(false), depth, update(7, level(11, Buy, 99, 1, 1)), "update 7 comes after 5"},
		{"update twice", book(true), depth, update(5, level(11, Buy, 99, 1, 1)), "update 5 comes after 5"},
		{"event of the snapshot", book(false), depth, update(6, level(10, Buy, 99, 1, 1)), "after event 10"},
		{"earlier event", book(true), depth, update(9, level(9, Buy, 99, 1, 1)), "after event 10"},
		{"other instrument", book(false), depth, update(6, other), "of instrument 4 is of another topic"},
		{"frame of another kind", book(false), depth, update(6, quote(11, Buy, 99, 1, 1)), "another topic"},
		{"malformed frame", book(false), depth, update(6, level(11, Buy, 99, 1, 2)), "have quantity 1"},
		{"unknown level removed", book(false), depth, update(6, level(11, Buy, 99, 0, 0)), "has no orders"},
		{"crossing bid", book(false), depth, update(6, level(11, Buy, 102, 1, 1)), "makes bid 102 and ask 102"},
		{"crossing ask", book(true), depth, update(9, level(11, Sell, 99, 1, 1)), "makes bid 100 and ask 99"},
		{"after a gap", book(false), append(slices.Clone(depth), step{what: "gap"}),
			update(6, level(11, Buy, 99, 1, 1)), "without a snapshot"},
		{"ask first", tops, top[:1], top[2], "quote 1 of the snapshot is of side 2"},
		{"bid twice", tops, top[:2], top[1], "quote 2 of the snapshot is of side 1"},
		{"three quotes", tops, top[:3], top[2], "quote 3 of the snapshot is of side 2"},
		{"no ask", tops, top[:2], end(5), "has 1 quotes"},
		{"crossed quotes", tops, []step{top[0], top[1], describe(quote(10, Sell, 100, 1, 1))}, end(5), "ask is 100"},
		{"crossing quote", tops, top, update(6, quote(11, Buy, 102, 1, 1)), "bid is 102 and ask is 102"},
		{"past trade", last, trades[:1], describe(trade(9, 100, 1, 1)), "snapshot of trades has a frame"},
		{"trade twice", last, trades, update(8, trade(11, 100, 2, 2)), "trade 2 of event 11 comes after trade 2"},
	} {
		v := c.view()
		if err := take(v, c.steps...); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := take(v, c.bad); err == nil || !strings.Contains(err.Error(), c.want) || v.Live() {
			t.Errorf("%s: error is %v, want %q in it; live %v", c.name, err, c.want, v.Live())
		}
		// A snapshot helps.
		snapshot := map[uint8][]step{TagLevel: depth, TagQuote: top, TagTrade: trades}[0x50+uint8(v.Topic()>>56)-1]
		if err := take(v, snapshot...); err != nil || !v.Live() {
			t.Errorf("%s: after a new snapshot: %v", c.name, err)
		}
	}
}

// A subscriber in mode latest may miss the update that added a level, and see the sides of the top at
// different times.
func TestViewsInModeLatestTakeWhatIsLeft(t *testing.T) {
	v := NewBookView(3, true)
	if err := take(v, append(slices.Clone(depth), update(8, level(12, Buy, 99, 0, 0)))...); err != nil {
		t.Fatal(err)
	}
	if err := take(v, update(9, level(13, Buy, 97, 0, 0)), update(12, level(13, Buy, 98, 2, 2))); err != nil {
		t.Fatal(err)
	}
	if bids := slices.Collect(v.Bids()); !slices.Equal(bids, []Level{{100, 7, 2}, {98, 2, 2}}) {
		t.Errorf("bids are %v", bids)
	}
	q := NewTopView(3, true)
	if err := take(q, append(slices.Clone(top), update(8, quote(12, Buy, 103, 1, 1)),
		update(9, quote(12, Sell, 104, 1, 1)))...); err != nil {
		t.Fatal(err)
	}
	if bid, ask := q.Top(); bid != (Level{103, 1, 1}) || ask != (Level{104, 1, 1}) {
		t.Errorf("top is %v and %v", bid, ask)
	}
	l := NewTradesView(3, true)
	if err := take(l, begin(0), end(0), update(4, trade(9, 100, 1, 3))); err != nil || l.Last().Count != 3 {
		t.Errorf("last trade is %+v, %v", l.Last(), err)
	}
}

// FuzzView gives a view any steps. It must not panic. The snapshot of one that is live must make an equal
// view, which it does not if it has a bid that reaches an ask.
func FuzzView(f *testing.F) {
	f.Add([]byte("\x00\x04\x11\x22\x33\x08\x04\x01\x02\x03"), byte(0))
	f.Add([]byte{0, 0, 0, 1, 9, 6, 1, 0x8B, 10, 2, 0, 0, 3, 7, 2, 3, 9, 0}, byte(1))
	f.Add([]byte{0, 0, 0, 1, 9, 6, 1, 0x8B, 10, 2, 0, 0, 3, 7, 2}, byte(2))
	f.Add([]byte{0, 0, 0, 2, 0, 0, 3, 7, 2, 3, 9, 1}, byte(4))
	f.Fuzz(func(t *testing.T, data []byte, which byte) {
		create := func(latest bool) view {
			return [...]view{NewBookView(3, latest), NewTopView(3, latest), NewTradesView(3, latest)}[which/2%3]
		}
		v, seq, event := create(which%2 == 1), uint64(1), uint64(1)
		tag := [...]uint8{TagLevel, TagQuote, TagTrade}[which/2%3]
		for ; len(data) >= 3; data = data[3:] {
			side, orders := Buy+Side(data[1]>>7), uint32(data[2]%4)
			at := level(event, side, int64(data[1]&15), uint64(orders)*uint64(1+data[2]>>4), orders)
			at.Tag = tag
			frame := at.Append(nil)
			switch data[0] % 8 {
			case 0:
				v.Begin(seq)
			case 1:
				_ = v.Describe(frame[4], frame[5:])
			case 2:
				_ = v.End(seq)
				event++
			case 7:
				_ = v.Update(seq, data[1], frame[5:5+data[2]%34])
			default:
				seq += uint64(data[0]>>7) + 1
				_ = v.Update(seq, frame[4], frame[5:])
				event += uint64(data[0] >> 6 & 1)
			}
			// In mode latest the two quotes may be of different times.
			if v.Live() && which%6 != 3 {
				check(t, v, create(false))
			}
		}
	})
}

func check(t *testing.T, v, again view) {
	t.Helper()
	frames := v.AppendSnapshot(nil, v.Event())
	again.Begin(v.TopicSeq())
	for at := 0; at < len(frames); at += FrameSize {
		if err := again.Describe(frames[at+4], frames[at+5:at+FrameSize]); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.End(v.TopicSeq()); err != nil || !bytes.Equal(again.AppendSnapshot(nil, v.Event()), frames) {
		t.Fatalf("the view of the snapshot differs from %x: %v", frames, err)
	}
}

func TestViewsDoNotAllocate(t *testing.T) {
	v, seq := NewBookView(3, false), uint64(5)
	if err := take(v, depth...); err != nil {
		t.Fatal(err)
	}
	add, gone := level(11, Buy, 101, 1, 1), level(11, Buy, 101, 0, 0)
	added, removed := add.Append(nil), gone.Append(nil)
	round := func() {
		for _, frame := range [][]byte{added, removed} {
			seq++
			if err := v.Update(seq, frame[4], frame[5:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("two updates allocate %v times, want 0", n)
	}
}

// BenchmarkUpdate is the update of a level of a book with 64 levels a side.
func BenchmarkUpdate(b *testing.B) {
	v, seq := NewBookView(3, false), uint64(0)
	v.Begin(0)
	for i := range int64(64) {
		bid := level(1, Buy, 100-i, 9, 1)
		if err := take(v, describe(bid)); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.End(0); err != nil {
		b.Fatal(err)
	}
	var frames [64][]byte
	for i := range frames {
		f := level(2, Buy, 100-int64(i), 5, 1)
		frames[i] = f.Append(nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		seq++
		frame := frames[seq*7%64]
		if err := v.Update(seq, frame[4], frame[5:]); err != nil {
			b.Fatal(err)
		}
	}
}
