package orderbook

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"sluice/actors/sequencer"
)

// compareQueries compares the answers of book and model to queries; the bytes choose pages.
func compareQueries(t *testing.T, book *Book, plain *model, b []byte, seen map[string]int) {
	t.Helper()
	ask := func(c Command, want ...any) {
		t.Helper()
		var got []any
		for _, out := range do(t, book, 0, 1, c) {
			got = append(got, out.answer)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("the answer to %+v is\n%+v, want\n%+v", c, got, want)
		}
	}
	ask(Command{Tag: TagQueryLimits}, plain.used())
	limit := uint16(1 + b[0]%8)
	if b[0] < 32 {
		limit = MaxPage
	}
	for instrument := uint32(0); instrument < 4; instrument++ {
		top := plain.top(instrument)
		ask(Command{Tag: TagQueryTop, Instrument: instrument}, top)
		for kind := byte(1); kind <= 3; kind++ {
			got := bytes.Join(describe(t, book, uint64(kind)<<56|uint64(instrument)), nil)
			if want := plain.topic(kind, instrument); !bytes.Equal(got, want) {
				t.Fatalf("topic %d of instrument %d is described as\n%x, want\n%x", kind, instrument, got, want)
			}
		}
		if top.Bid.Orders > 0 && top.Ask.Orders > 0 && top.Bid.Price >= top.Ask.Price {
			t.Fatalf("the book is crossed: %+v", top)
		}
		var net int64
		for owner := uint64(100); owner < 105; owner++ {
			position := plain.queryPosition(owner, instrument)
			ask(Command{Tag: TagQueryPosition, Account: owner, Instrument: instrument}, position)
			net += position.Net()
		}
		if net != 0 {
			t.Fatalf("net positions in instrument %d add to %d, must be 0", instrument, net)
		}
	}
	for owner := uint64(100); owner < 106; owner++ {
		last := plain.queryPosition(owner, 0).LastID
		after := uint64(b[1]) * plain.seq / 256
		ask(Command{Tag: TagQueryOpenOrders, Account: owner, After: after, Limit: limit},
			plain.queryOpenOrders(owner, after, int(limit))...)
		trade := uint32(b[3] % 3)
		fills := plain.queryFills(owner, after, trade, int(limit))
		ask(Command{Tag: TagQueryFills, Account: owner, After: after, Trade: trade, Limit: limit},
			fills...)
		if fills[len(fills)-1].(Fills).Dropped {
			seen["fills dropped"]++
		}
		for _, id := range []uint64{0, 1, last * uint64(b[4]) / 256, last, last + 1,
			last - min(last, 1023), last - min(last, 1024), last - min(last, 1025)} {
			outcome := plain.queryOutcome(owner, id)
			ask(Command{Tag: TagQueryOutcome, Account: owner, ClientOrderID: id}, outcome)
			seen["outcome "+outcome.Status.String()]++
		}
	}
}

// ledger follows orders by outputs only, as a client or a checker could.
type ledger map[uint64]*entered

type entered struct {
	conn, account, open uint64
	side                Side
}

func (l ledger) check(st *stepper, outputs []output, seen map[string]int) error {
	c, own := &st.c, 0
	for i, out := range outputs {
		r := out.report
		o := l[r.OrderID]
		switch r.Tag {
		case TagAccepted:
			seen["accepted"]++
			o = &entered{conn: st.conn, account: c.Account, open: c.Quantity, side: c.Side}
			l[r.OrderID] = o
		case TagRejected:
			seen[r.Reason.String()]++
			o = &entered{conn: st.conn, account: c.Account}
		case TagCancelOnDisconnect:
			seen["setting"]++
			o = &entered{conn: st.conn}
		case TagLimitsRaised:
			seen["limits raised"]++
			o = &entered{conn: st.conn}
		case TagReplaced:
			seen["replaced"]++
			if r.KeptPriority {
				seen["kept priority"]++
			} else if i+1 < len(outputs) {
				seen["crossing replace"]++
			}
			o.conn, o.open = st.conn, r.Open
		case TagFill:
			seen["fill"]++
			o.open -= r.Quantity
			if err := sides(r, o, outputs[i:]); err != nil {
				return err
			}
		case TagCancelled:
			seen[r.Reason.String()]++
			if r.Reason == SelfTrade && o.conn != st.conn && o.open == 0 {
				if r == outputs[i-1].report && out.conn == st.conn {
					continue // the other copy
				}
			}
			if r.Quantity != o.open {
				return fmt.Errorf("cancel %+v of order %+v", r, *o)
			}
			o.open = 0
			if r.Reason == Requested {
				o.conn = st.conn
			}
		}
		if r.Reason != Expired && own == 0 {
			own = i + 1
		}
		if r.Seq != st.seq || out.conn != o.conn || r.Account != o.account {
			return fmt.Errorf("event %d: %+v went to connection %d, belongs to %+v", st.seq, r,
				out.conn, *o)
		}
	}
	if st.kind == sequencer.KindRequest && (own == 0 || outputs[own-1].conn != st.conn) {
		return fmt.Errorf("no response to the connection of the request: %+v", outputs)
	}
	if st.kind == sequencer.KindRequest && c.TimeInForce == ImmediateOrCancel && l[st.seq] != nil &&
		l[st.seq].open != 0 {
		return fmt.Errorf("order %d was immediate or cancel and has %d open", st.seq, l[st.seq].open)
	}
	return nil
}

// sides checks a fill, and against the next report if it is of the resting side.
func sides(r Report, o *entered, outputs []output) error {
	if r.Quantity == 0 || r.Open != o.open || r.Side != o.side {
		return fmt.Errorf("fill %+v of order %+v", r, *o)
	}
	if r.Liquidity != Resting {
		return nil
	}
	other := outputs[1].report
	if other.Trade != r.Trade || other.Quantity != r.Quantity || other.Price != r.Price ||
		other.Side == r.Side || other.Account == r.Account || other.Liquidity != Taking {
		return fmt.Errorf("sides of a trade disagree: %+v, %+v", r, other)
	}
	return nil
}
