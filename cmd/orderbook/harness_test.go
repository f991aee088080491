package orderbook

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"sluice/actors/sequencer"
)

// output is one slot that the book filled. The answer to a query is decoded.
type output struct {
	conn   uint64
	report Report
	answer any
}

// tape is an emitter that copies a slot at the next call, when it must be complete, and
// returns the same memory again.
type tape struct {
	conn    uint64
	report  Report
	answer  Answer
	pending bool
	outputs []output
	topic   *published // set while a topic frame is pending
	topics  []published
}

// published is one topic frame that the book filled.
type published struct {
	topic, key uint64
	report     Report
	after      int // number of outputs before it
}

func (t *tape) Report(conn uint64) *Report { t.next(conn); return &t.report }
func (t *tape) Query(conn uint64) *Answer  { t.next(conn); return &t.answer }

func (t *tape) Publish(topic, key uint64) *Report {
	t.take()
	t.topic = &published{topic: topic, key: key, after: len(t.outputs)}
	return &t.topic.report
}

func (t *tape) next(conn uint64) {
	t.take()
	t.conn, t.pending, t.report, t.answer = conn, true, Report{}, Answer{}
}

// take returns all outputs so far.
func (t *tape) take() []output {
	if t.topic != nil {
		t.topics, t.topic = append(t.topics, *t.topic), nil
	}
	if t.pending {
		out := output{conn: t.conn, report: t.report}
		if frame := t.answer.Frame(); len(frame) > 0 {
			var err error
			if out.answer, err = DecodeAnswer(frame[4], frame[responseHeader:]); err != nil {
				panic(err)
			}
		}
		t.outputs, t.pending = append(t.outputs, out), false
	}
	return t.outputs
}

func mustNew(t testing.TB, config Config) *Book {
	t.Helper()
	b, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// request encodes a command and returns the parts of the frame, like the reader of a server.
func request(t testing.TB, conn uint64, c Command) *sequencer.Event {
	t.Helper()
	frame, err := AppendRequest(nil, 7, &c)
	if err != nil {
		t.Fatal(err)
	}
	return &sequencer.Event{Kind: sequencer.KindRequest, Conn: conn, Request: 7, Tag: c.Tag,
		Identity: sequencer.Identity{Role: sequencer.RoleTrader}, Body: frame[requestHeader:]}
}

// do sends one command through Check and Apply or Query, at the time of the last event.
func do(t testing.TB, b *Book, seq, conn uint64, c Command) []output {
	t.Helper()
	ev := request(t, conn, c)
	ev.Seq, ev.Time = seq, b.time
	return deliver(t, b, ev)
}

// deliver gives the book an event or a query.
func deliver(t testing.TB, b *Book, ev *sequencer.Event) []output {
	t.Helper()
	var out tape
	deliverTo(t, b, ev, &out)
	return out.take()
}

func deliverTo(t testing.TB, b *Book, ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	t.Helper()
	if ev.Kind == sequencer.KindRequest {
		if err := b.Check(ev); err != nil {
			t.Fatalf("request 0x%02x %x is rejected: %v", ev.Tag, ev.Body, err)
		}
	}
	if ev.Kind == sequencer.KindRequest && isQuery(ev.Tag) {
		b.Query(ev, out)
	} else if !sequencer.Deliver(b, ev, out) {
		t.Fatalf("the book takes no event of kind %v", ev.Kind)
	}
}

func snapshot(t testing.TB, b *Book) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// audit checks the structures of the book: all derived values must match the values that
// they derive from.
func audit(b *Book) error {
	type sums struct {
		open   [2]uint64
		orders uint32
	}
	found := make([]sums, len(b.positions))
	count := 0
	for i := range b.instruments {
		in := &b.instruments[i]
		for _, side := range []Side{Buy, Sell} {
			levels := in.sides[side.index()].levels
			for at := range levels {
				l := &levels[at]
				if at > 0 && levels[at-1].key >= l.key {
					return fmt.Errorf("levels %d and %d out of order", at-1, at)
				}
				var quantity uint64
				var orders, before uint32
				for slot := l.head; slot != 0; slot = b.orders.slots[slot].next {
					o := &b.orders.slots[slot]
					p := &b.positions[o.position]
					if o.open == 0 || o.open > o.total || o.side != side ||
						side.key(o.price) != l.key ||
						o.prev != before || p.instrument != uint32(i) || p.account != o.account {
						return fmt.Errorf("order %+v does not belong at level %+v", *o, *l)
					}
					if err := auditLists(b, slot); err != nil {
						return err
					}
					found[o.position].open[side.index()] += o.open
					found[o.position].orders++
					quantity += o.open
					orders++
					before = slot
				}
				if orders == 0 || orders != l.count || quantity != l.quantity || l.tail != before {
					return fmt.Errorf("level %+v holds %d orders with %d", *l, orders, quantity)
				}
				count += int(orders)
			}
		}
	}
	if err := auditCounts(b, count); err != nil {
		return err
	}
	for i, p := range b.positions {
		if (sums{p.open, p.orders}) != found[i] {
			return fmt.Errorf("position %+v has orders %+v", p, found[i])
		}
	}
	return nil
}

// auditLists checks that an order in a level is in all lists that it must be in.
func auditLists(b *Book, slot uint32) error {
	o := &b.orders.slots[slot]
	if b.orders.find(o.account, o.client) != slot {
		return fmt.Errorf("order %d is not in the index", o.id)
	}
	open := &b.accounts[o.account].open
	if e := open.entries[o.listed]; e.slot != slot || e.id != o.id {
		return fmt.Errorf("order %d is not among those of its account", o.id)
	}
	x := &b.connections.slots[o.link]
	if x.id != o.conn || o.newer == 0 && x.newest != slot ||
		o.newer != 0 && b.orders.slots[o.newer].older != slot ||
		o.older != 0 && b.orders.slots[o.older].newer != slot {
		return fmt.Errorf("order %d is not among those of its connection", o.id)
	}
	if o.expiry == 0 {
		return nil
	}
	if b.expiries[o.due] != slot || o.expiry <= b.time ||
		o.due > 0 && b.orders.before(slot, b.expiries[(o.due-1)/2]) {
		return fmt.Errorf("order %d is not at its place among those that expire", o.id)
	}
	return nil
}

// auditCounts checks that no list has more than the orders in levels.
func auditCounts(b *Book, count int) error {
	listed, linked, due := 0, 0, 0
	for i := range b.accounts {
		a := &b.accounts[i]
		listed += a.open.count
		if len(a.open.entries) > 2*a.open.count+openSlack {
			return fmt.Errorf("account %d has a list of %d entries for %d orders", a.id,
				len(a.open.entries), a.open.count)
		}
		if len(a.outcomes.values) > kept || cap(a.fills.values) > kept {
			return fmt.Errorf("account %d keeps %d outcomes and %d fills", a.id,
				len(a.outcomes.values), cap(a.fills.values))
		}
	}
	for at := range b.connections.slots {
		x := &b.connections.slots[at]
		linked += int(x.count)
		if x.id != 0 && (b.connections.at[x.id] != uint32(at) || x.count == 0 && !x.live ||
			x.cancel && !x.live) {
			return fmt.Errorf("connection %+v is kept", *x)
		}
	}
	for slot := range b.orders.slots {
		if b.orders.slots[slot].expiry != 0 {
			due++
		}
	}
	if listed != count || linked != count || due != len(b.expiries) {
		return fmt.Errorf("%d orders, %d in accounts, %d in connections; %d of %d expire", count,
			listed, linked, len(b.expiries), due)
	}
	owned := make([]uint32, len(b.orders.owned))
	for slot := range b.orders.slots {
		if o := &b.orders.slots[slot]; o.id != 0 {
			owned[o.identity]++
		}
	}
	if !slices.Equal(owned, b.orders.owned) {
		return fmt.Errorf("identities have %d orders, %d are counted", owned, b.orders.owned)
	}
	indexed := 0
	for _, e := range b.orders.table {
		if e.slot != 0 {
			indexed++
		}
	}
	if count != b.orders.count || indexed != count {
		return fmt.Errorf("%d orders in levels, %d counted, %d in the index", count, b.orders.count,
			indexed)
	}
	return nil
}
