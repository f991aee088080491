package orderbook

import (
	"bytes"
	"fmt"
	"testing"

	"sluice/actors/sequencer"
)

// output is one slot that the book filled.
type output struct {
	conn    uint64
	isQuery bool
	report  Report
	answer  Answer
}

// tape is an emitter that copies a slot at the next call, when it must be complete, and
// returns the same memory again.
type tape struct {
	slot    output
	pending bool
	outputs []output
}

func (t *tape) next(conn uint64, isQuery bool) {
	if t.pending {
		t.outputs = append(t.outputs, t.slot)
	}
	t.slot, t.pending = output{conn: conn, isQuery: isQuery}, true
}

func (t *tape) Report(conn uint64) *Report { t.next(conn, false); return &t.slot.report }
func (t *tape) Query(conn uint64) *Answer  { t.next(conn, true); return &t.slot.answer }

func (t *tape) take() []output {
	if t.pending {
		t.outputs = append(t.outputs, t.slot)
	}
	outputs := t.outputs
	t.outputs, t.pending = nil, false
	return outputs
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

// do sends one command through Check and Apply or Query.
func do(t testing.TB, b *Book, seq, conn uint64, c Command) []output {
	t.Helper()
	var out tape
	req := request(t, conn, c)
	if err := b.Check(req); err != nil {
		t.Fatalf("command %+v is rejected: %v", c, err)
	}
	req.Seq = seq
	if isQuery(c.Tag) {
		b.Query(req, &out)
	} else {
		b.Apply(req, &out)
	}
	return out.take()
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
					if b.orders.find(o.account, o.client) != slot {
						return fmt.Errorf("order %d is not in the index", o.id)
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
	for i, p := range b.positions {
		if (sums{p.open, p.orders}) != found[i] {
			return fmt.Errorf("position %+v has orders %+v", p, found[i])
		}
	}
	return nil
}
