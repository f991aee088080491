package orderbook

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook/marketdata"
)

// sink is an emitter that reuses one slot, at about the cost of the ring.
type sink struct {
	report Report
	answer Answer
	count  int
	topics int  // frames of topics
	silent bool // no topic has a subscriber
}

func (s *sink) Report(uint64) *Report       { s.count++; s.report = Report{}; return &s.report }
func (s *sink) Query(uint64) *Answer        { s.count++; s.answer = Answer{}; return &s.answer }
func (s *sink) Publish(_, _ uint64) *Report { s.topics++; s.report = Report{}; return &s.report }
func (s *sink) Subscribed() bool            { return !s.silent }

// driver applies commands without a new request for each.
type driver struct {
	book *Book
	out  sink
	seq  uint64
	buf  []byte
	ev   sequencer.Event
}

// newDriver returns a driver of an empty book. No topic has a subscriber.
func newDriver(t testing.TB) *driver {
	return &driver{book: mustNew(t, Config{}), out: sink{silent: true}}
}

func (d *driver) do(c *Command) {
	d.seq++
	c.ClientOrderID = d.seq
	d.buf, _ = AppendRequest(d.buf[:0], d.seq, c) // the tag is one of ours
	d.ev = sequencer.Event{Seq: d.seq, Conn: 1, Tag: c.Tag, Body: d.buf[requestHeader:]}
	d.book.Apply(&d.ev, &d.out)
}

func gtc(account uint64, side Side, price int64, quantity uint64) Command {
	return Command{Tag: TagNew, Account: account, Side: side, Type: Limit,
		TimeInForce: GoodTillCancel, Price: price, Quantity: quantity}
}

// fill returns a book with 64 levels per side and 32 orders in each.
func (d *driver) fill() {
	for i := int64(0); i < 64*32; i++ {
		buy, sell := gtc(1, Buy, 1000-i%64, 10), gtc(2, Sell, 1001+i%64, 10)
		d.do(&buy)
		d.do(&sell)
	}
}

func TestSteadyTradingDoesNotAllocate(t *testing.T) {
	for _, silent := range []bool{true, false} {
		steadyTrading(t, silent)
	}
}

func steadyTrading(t *testing.T, silent bool) {
	d := newDriver(t)
	d.fill()
	d.out.silent = silent
	rest, take := gtc(3, Buy, 990, 10), gtc(4, Sell, 1000, 10)
	replace, cancel := Command{Tag: TagReplace, Account: 3, Price: 980,
		Quantity: 5}, Command{Tag: TagCancel, Account: 3}
	refill := gtc(1, Buy, 1000, 10)
	query := &sequencer.Event{Tag: TagQueryPosition, Body: make([]byte, 12)}
	list := &sequencer.Event{Tag: TagQueryFills, Body: append(make([]byte, 20), 9, 0)}
	list.Body[0] = 1
	frame := make([]byte, 0, 256)
	round := func() {
		d.do(&rest)
		replace.Target, cancel.Target = rest.ClientOrderID, rest.ClientOrderID
		d.do(&replace)
		d.do(&cancel)
		d.do(&take)
		d.do(&refill)
		d.book.Query(query, &d.out)
		d.book.Query(list, &d.out)
		frame, _ = Encoder{}.AppendReport(frame[:0], &d.out.report)
		frame, _ = Encoder{}.AppendQuery(frame, &d.out.answer)
	}
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("a round of trading allocates %v times, want 0", n)
	}
	if (d.out.topics == 0) != silent {
		t.Errorf("%d topic frames were published; no subscribers: %v", d.out.topics, silent)
	}
}

// BenchmarkRestAndCancel is two events: an order that rests, and its cancellation.
func BenchmarkRestAndCancel(b *testing.B) { restAndCancel(b, true) }

// With subscribers, each event has a Level, and some have a Quote.
func BenchmarkRestAndCancelWithSubscribers(b *testing.B) { restAndCancel(b, false) }

func restAndCancel(b *testing.B, silent bool) {
	d := newDriver(b)
	d.fill()
	d.out.silent = silent
	b.ReportAllocs()
	for b.Loop() {
		c := gtc(3, Buy, 1000-int64(d.seq*7%64), 10)
		d.do(&c)
		c = Command{Tag: TagCancel, Account: 3, Target: d.seq}
		d.do(&c)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
}

// BenchmarkRest is one event. The book grows to 65,536 orders and is then replaced.
func BenchmarkRest(b *testing.B) {
	d := newDriver(b)
	b.ReportAllocs()
	for b.Loop() {
		if d.book.orders.count == 1<<16 {
			b.StopTimer()
			seq := d.seq
			d = newDriver(b)
			d.seq = seq
			b.StartTimer()
		}
		c := gtc(3, Buy, 1000-int64(d.seq*7%64), 10)
		d.do(&c)
	}
}

// BenchmarkMatch is one event with three reports: an order that trades with a part of a
// resting order.
func BenchmarkMatch(b *testing.B) { match(b, true) }

// With subscribers, each event has a Trade, a Level and a Quote.
func BenchmarkMatchWithSubscribers(b *testing.B) { match(b, false) }

func match(b *testing.B, silent bool) {
	d := newDriver(b)
	d.fill()
	d.out.silent = silent
	c := gtc(3, Buy, 1000, 1<<40)
	c.Instrument = 1
	d.do(&c)
	b.ReportAllocs()
	for b.Loop() {
		c = gtc(4, Sell, 1000, 1)
		c.Instrument = 1
		c.TimeInForce = ImmediateOrCancel
		d.do(&c)
	}
}

// BenchmarkTakeAndRefill is two events: an order that fills a resting order completely, and
// one that rests in its place.
func BenchmarkTakeAndRefill(b *testing.B) {
	d := newDriver(b)
	d.fill()
	b.ReportAllocs()
	for b.Loop() {
		c := gtc(4, Sell, 1000, 10)
		d.do(&c)
		c = gtc(1, Buy, 1000, 10)
		d.do(&c)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
}

// BenchmarkReplace moves an order to another price.
func BenchmarkReplace(b *testing.B) {
	d := newDriver(b)
	d.fill()
	c := gtc(3, Buy, 900, 10)
	d.do(&c)
	target := d.seq
	b.ReportAllocs()
	for b.Loop() {
		c = Command{Tag: TagReplace, Account: 3, Target: target, Price: 1000 - int64(d.seq*7%64),
			Quantity: 10}
		d.do(&c)
	}
}

func BenchmarkQueryTop(b *testing.B) {
	d := newDriver(b)
	d.fill()
	req := &sequencer.Event{Tag: TagQueryTop, Body: make([]byte, 4)}
	b.ReportAllocs()
	for b.Loop() {
		d.book.Query(req, &d.out)
	}
}

// BenchmarkDescribe is the snapshot of the depth of a book with 128 price levels.
func BenchmarkDescribe(b *testing.B) {
	d := newDriver(b)
	d.fill()
	ev, topic := &sequencer.Event{Conn: 1}, marketdata.KindDepth.Topic(0)
	b.ReportAllocs()
	for b.Loop() {
		if !d.book.Describe(ev, topic, &d.out) {
			b.Fatal("refused")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(128*b.N), "ns/level")
}

func BenchmarkEncodeFill(b *testing.B) {
	r := Report{Tag: TagFill, Side: Buy, Liquidity: Taking}
	frame := make([]byte, 0, MaxFrame)
	b.ReportAllocs()
	for b.Loop() {
		frame, _ = Encoder{}.AppendReport(frame[:0], &r)
	}
}

func BenchmarkSnapshotAndRestore(b *testing.B) {
	d := newDriver(b)
	for i := int64(0); i < 100_000; i++ {
		c := gtc(uint64(i%100), Buy, i%1000, 10)
		d.do(&c)
	}
	var buf bytes.Buffer
	b.Run("snapshot of 100,000 orders", func(b *testing.B) {
		for b.Loop() {
			if err := d.book.Snapshot(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := d.book.Snapshot(&buf); err != nil {
		b.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64(buf.Bytes()[8:]); int(got)+snapshotHeader+4 != buf.Len() {
		b.Fatalf("length is %d of %d bytes", got, buf.Len())
	}
	b.Run("restore of 100,000 orders", func(b *testing.B) {
		for b.Loop() {
			if err := d.book.Restore(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
