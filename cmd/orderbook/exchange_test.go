package orderbook

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook/marketdata"
)

// view is what the views of the three kinds have in common.
type view interface {
	Begin(seq uint64)
	Describe(tag uint8, body []byte) error
	End(seq uint64) error
	Update(seq uint64, tag uint8, body []byte) error
	AppendSnapshot(dst []byte, event uint64) []byte
	Live() bool
}

func newView(kind marketdata.Kind, instrument uint32, latest bool) view {
	switch kind {
	case marketdata.KindTop:
		return marketdata.NewTopView(instrument, latest)
	case marketdata.KindTrades:
		return marketdata.NewTradesView(instrument, latest)
	}
	return marketdata.NewBookView(instrument, latest)
}

// describes is an emitter for Describe, which keeps the bytes.
type describes struct {
	tape
	conn   uint64
	answer Answer
	used   bool
	frames [][]byte
}

func (d *describes) Query(conn uint64) *Answer {
	d.flush()
	d.conn, d.answer, d.used = conn, Answer{}, true
	return &d.answer
}

func (d *describes) flush() {
	if d.used {
		frame, err := Encoder{}.AppendQuery(nil, &d.answer)
		if err != nil {
			panic(err)
		}
		d.frames, d.used = append(d.frames, frame), false
	}
}

// describe returns the frames of the snapshot of a topic.
func describe(t testing.TB, b *Book, topic uint64) [][]byte {
	t.Helper()
	d := &describes{}
	if !b.Describe(&sequencer.Event{Conn: 9}, topic, d) {
		t.Fatalf("topic %x is refused", topic)
	}
	d.flush()
	if len(d.take()) > 0 || len(d.topics) > 0 || len(d.frames) > 0 && d.conn != 9 {
		t.Fatalf("topic %x is described with %d reports and %d topic frames, to connection %d", topic,
			len(d.take()), len(d.topics), d.conn)
	}
	return d.frames
}

// subscriber is a client of one topic.
type subscriber struct {
	view
	topic   uint64
	latest  bool
	joined  bool
	pending []sent // updates that a slow subscriber has not been sent
}

type sent struct {
	seq, key uint64
	frame    []byte
}

// join subscribes: the subscriber gets a snapshot.
func (s *subscriber) join(t *testing.T, b *Book, seq uint64) {
	s.pending, s.joined = nil, true
	s.Begin(seq)
	for _, frame := range describe(t, b, s.topic) {
		if err := s.Describe(frame[4], frame[responseHeader:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(seq); err != nil {
		t.Fatal(err)
	}
}

// send sends what is pending. If conflate is set, only the newest update of each key is sent.
func (s *subscriber) send(t *testing.T, conflate bool) {
	t.Helper()
	newest := map[uint64]uint64{}
	for _, u := range s.pending {
		newest[u.key] = u.seq
	}
	for _, u := range s.pending {
		if conflate && newest[u.key] != u.seq {
			continue
		}
		if err := s.Update(u.seq, u.frame[4], u.frame[responseHeader:]); err != nil {
			t.Fatal(err)
		}
	}
	s.pending = s.pending[:0]
}

// quiet is a tape that says whether there are subscribers.
type quiet struct {
	tape
	subscribed bool
}

func (q *quiet) Subscribed() bool { return q.subscribed }

// exchange is a book with subscribers of all its topics. The twin executes the same events, some of
// them when it has no subscribers.
type exchange struct {
	*Book
	twin        *Book
	subscribers []*subscriber
	seqs        map[uint64]uint64 // topic_seq of the last frame by topic
	rng         *rand.Rand
	seen        map[string]int
}

func newExchange(t *testing.T, config Config, seed uint64, seen map[string]int) *exchange {
	x := &exchange{Book: mustNew(t, config), twin: mustNew(t, config), seqs: map[uint64]uint64{}, seen: seen,
		rng: rand.New(rand.NewPCG(seed, 2))}
	for instrument := range uint32(4) {
		for kind := marketdata.KindTop; kind <= marketdata.KindDepth; kind++ {
			for _, latest := range []bool{false, false, true} {
				x.subscribers = append(x.subscribers, &subscriber{view: newView(kind, instrument, latest),
					topic: kind.Topic(instrument), latest: latest})
			}
		}
	}
	return x
}

// step executes an event and sends its topic frames to the subscribers.
func (x *exchange) step(t *testing.T, ev *sequencer.Event) {
	t.Helper()
	before := x.describeAll(t)
	var out tape
	deliverTo(t, x.Book, ev, &out)
	out.take()
	after := x.describeAll(t)
	if err := x.expect(before, after, &out); err != nil {
		t.Fatalf("event %d: %v\n%+v", ev.Seq, err, out.topics)
	}
	x.compareTwin(t, ev, &out)
	for i := range out.topics {
		p := &out.topics[i]
		frame, err := Encoder{}.AppendReport(nil, &p.report)
		if err != nil {
			t.Fatal(err)
		}
		x.seqs[p.topic]++
		for _, s := range x.subscribers {
			if s.joined && s.topic == p.topic {
				s.pending = append(s.pending, sent{x.seqs[p.topic], p.key, frame})
			}
		}
	}
	for _, s := range x.subscribers {
		switch {
		case !s.joined || s.latest && x.rng.IntN(4) > 0:
			continue
		case s.latest:
			s.send(t, true)
			x.seen["conflated"]++
		default:
			s.send(t, false)
		}
		got, want := s.AppendSnapshot(nil, x.seq), bytes.Join(after[s.topic], nil)
		if !s.Live() || !bytes.Equal(got, want) {
			t.Fatalf("event %d, topic %x, latest %v:\nview\n%x\nserver\n%x", ev.Seq, s.topic, s.latest, got,
				want)
		}
	}
}

// compareTwin checks that outputs and state do not depend on subscribers.
func (x *exchange) compareTwin(t *testing.T, ev *sequencer.Event, want *tape) {
	t.Helper()
	q := quiet{subscribed: x.rng.IntN(2) == 0}
	deliverTo(t, x.twin, ev, &q)
	q.take()
	topics := want.topics
	if !q.subscribed {
		topics = nil
	}
	for i := range q.topics { // the keys of levels differ: books have seeds of their own
		if i < len(topics) && q.topics[i].report.Tag == marketdata.TagLevel {
			q.topics[i].key = topics[i].key
		}
	}
	if !reflect.DeepEqual(q.outputs, want.outputs) || !slices.Equal(q.topics, topics) ||
		!bytes.Equal(snapshot(t, x.twin), snapshot(t, x.Book)) {
		t.Fatalf("event %d: the twin, subscribed %v, has outputs\n%+v and\n%+v, want\n%+v and\n%+v", ev.Seq,
			q.subscribed, q.outputs, q.topics, want.outputs, topics)
	}
}

// come lets subscribers join and leave.
func (x *exchange) come(t *testing.T) {
	for _, s := range x.subscribers {
		switch x.rng.IntN(20) {
		case 0, 1:
			s.join(t, x.Book, x.seqs[s.topic])
			x.seen["joined"]++
		case 2:
			s.joined = false
			x.seen["left"]++
		}
	}
}

func (x *exchange) describeAll(t *testing.T) map[uint64][][]byte {
	all := map[uint64][][]byte{}
	for _, s := range x.subscribers {
		if all[s.topic] == nil {
			all[s.topic] = describe(t, x.Book, s.topic)
		}
	}
	return all
}

// expect checks that an event published what it changed, once, and nothing else: a trade behind its
// fills, then levels, then quotes.
func (x *exchange) expect(before, after map[uint64][][]byte, out *tape) error {
	var last uint8
	levels, quotes := map[string]bool{}, map[string]bool{}
	trades := 0
	order := map[uint8]uint8{marketdata.TagTrade: 1, marketdata.TagLevel: 2, marketdata.TagQuote: 3}
	for i := range out.topics {
		p := &out.topics[i]
		f := p.report.topicFrame()
		kind, instrument, ok := marketdata.ParseTopic(p.topic)
		if !ok || instrument != f.Instrument || order[f.Tag] < last || f.Seq != x.seq {
			return fmt.Errorf("frame %+v in topic %x", f, p.topic)
		}
		last = order[f.Tag]
		x.seen[kind.String()]++
		switch f.Tag {
		case marketdata.TagTrade:
			trades++
			fill := out.outputs[p.after-1].report
			if kind != marketdata.KindTrades || fill.Liquidity != Taking || fill.Trade != f.Count ||
				fill.Price != f.Price || fill.Quantity != f.Quantity || fill.Side != Side(f.Side) ||
				fill.Instrument != f.Instrument {
				return fmt.Errorf("trade %+v comes after the report %+v", f, fill)
			}
		case marketdata.TagLevel:
			name := fmt.Sprint(f.Instrument, f.Side, f.Price)
			if kind != marketdata.KindDepth || levels[name] {
				return fmt.Errorf("level %+v comes twice, or in topic %x", f, p.topic)
			}
			levels[name] = true
		case marketdata.TagQuote:
			name := fmt.Sprint(f.Instrument, f.Side)
			if kind != marketdata.KindTop || p.key != uint64(f.Side) || quotes[name] {
				return fmt.Errorf("quote %+v comes twice, or in topic %x with key %d", f, p.topic, p.key)
			}
			quotes[name] = true
		}
	}
	fills := 0
	for i := range out.outputs {
		if r := &out.outputs[i].report; r.Tag == TagFill && r.Liquidity == Taking {
			fills++
		}
	}
	changed, moved := differences(before, after)
	if fills != trades || changed != len(levels) || moved != len(quotes) {
		return fmt.Errorf("%d trades, %d changed levels and %d changed quotes made %d, %d and %d frames",
			fills, changed, moved, trades, len(levels), len(quotes))
	}
	return nil
}

// differences counts levels and quotes that changed.
func differences(before, after map[uint64][][]byte) (levels, quotes int) {
	type place struct {
		side       marketdata.Side
		price      int64
		instrument uint32
	}
	values := func(all map[uint64][][]byte) (map[place]marketdata.Frame, map[place]marketdata.Frame) {
		levels, quotes := map[place]marketdata.Frame{}, map[place]marketdata.Frame{}
		for _, frames := range all {
			for _, frame := range frames {
				f, err := marketdata.Decode(frame[4], frame[responseHeader:])
				if err != nil {
					panic(err)
				}
				f.Seq = 0
				if f.Tag == marketdata.TagQuote {
					quotes[place{f.Side, 0, f.Instrument}] = f
				} else {
					levels[place{f.Side, f.Price, f.Instrument}] = f
				}
			}
		}
		return levels, quotes
	}
	was, wasBest := values(before)
	is, isBest := values(after)
	for at, f := range is {
		if was[at] != f {
			levels++
		}
		delete(was, at)
	}
	for at, f := range isBest {
		if wasBest[at] != f {
			quotes++
		}
	}
	return levels + len(was), quotes
}
