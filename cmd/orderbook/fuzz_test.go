package orderbook

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"sluice/actors/sequencer"
)

// FuzzRequest checks that no body makes the decoder panic, and that a decoded request
// encodes to the same bytes.
func FuzzRequest(f *testing.F) {
	for _, c := range goldenRequests {
		frame, err := AppendRequest(nil, 1, &c.command)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[requestHeader-1], frame[requestHeader:])
	}
	f.Fuzz(func(t *testing.T, tag uint8, body []byte) {
		var c Command
		if DecodeRequest(tag, body, &c) != nil {
			return
		}
		frame, err := AppendRequest(nil, 1, &c)
		if err != nil || !bytes.Equal(frame[requestHeader:], body) {
			t.Fatalf("%x decodes to %+v, which encodes to %x (%v)", body, c, frame, err)
		}
	})
}

// FuzzResponse checks the same for responses.
func FuzzResponse(f *testing.F) {
	for _, g := range goldenResponses {
		frame := encodeResponse(f, g.value)
		f.Add(frame[4], frame[5:])
	}
	f.Fuzz(func(t *testing.T, tag uint8, body []byte) {
		var again []byte
		var r Report
		var a Answer
		if DecodeReport(tag, body, &r) == nil {
			again = encodeResponse(t, r)
		} else if DecodeAnswer(tag, body, &a) == nil {
			again = encodeResponse(t, a)
		} else {
			return
		}
		if again[4] != tag || !bytes.Equal(again[5:], body) {
			t.Fatalf("response 0x%02x %x encodes to %x", tag, body, again)
		}
	})
}

// FuzzBook runs the command sequence encoded in the bytes on the book and on a naive
// model:
//  1. The first byte selects limits: wide, narrow enough to reach each, or quantities near
//     the position limit.
//  2. Every eight bytes are a command with few accounts, instruments and prices, so that
//     orders trade. Client order ids are mostly new, sometimes used.
//  3. After each command, the outputs must equal the model's, the ledger must agree with
//     them, and the structures must be consistent. After every eighth, queries must equal
//     the model's.
//  4. Halfway a second book is restored from a snapshot. From then on both must produce
//     the same outputs.
func FuzzBook(f *testing.F) {
	for seed := uint64(0); seed < 6; seed++ {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 8*200)]
		trial(t, data)
	})
}

func randomBytes(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	data[0] = byte(seed)
	return data
}

func TestBookEqualsTheNaiveModel(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 20
	}
	seen := map[string]int{}
	for seed := range seeds {
		for what, n := range trial(t, randomBytes(seed, 8*500)) {
			seen[what] += n
		}
	}
	// A trial in which something never happened says nothing about it.
	want := []string{"accepted", "fill", "replaced", "kept priority", "crossing replace"}
	for r := Duplicate; r <= TooManyLevels; r++ {
		want = append(want, r.String())
	}
	want = append(want, Requested.String(), Unfilled.String(), SelfTrade.String())
	for _, what := range want {
		if seen[what] == 0 {
			t.Errorf("%q never happened in %d seeds", what, seeds)
		}
	}
	t.Log(seen)
}

func spell(b []byte, next map[uint64]uint64, scale uint) (conn uint64, c Command) {
	c.Account, c.Instrument, conn = uint64(b[0]%5)+100, uint32(b[1]%4), uint64(b[2]%6)+1
	next[c.Account]++
	c.ClientOrderID = next[c.Account]
	if b[1] >= 248 { // one used already
		next[c.Account]--
		c.ClientOrderID = uint64(b[2]) % c.ClientOrderID
	}
	c.Price, c.Quantity = int64(b[4]%8)-3, uint64(b[5]%10)<<scale
	switch b[3] % 16 {
	case 0, 1:
		return conn, Command{Tag: TagCancel, Account: c.Account, ClientOrderID: c.ClientOrderID,
			Target: target(b[6], c.ClientOrderID)}
	case 2, 3, 4, 5:
		return conn, Command{Tag: TagReplace, Account: c.Account, ClientOrderID: c.ClientOrderID,
			Target: target(b[6], c.ClientOrderID), Price: c.Price, Quantity: c.Quantity}
	case 6:
		c.Type, c.TimeInForce, c.Price = Market, ImmediateOrCancel, 0
	case 7:
		c.Type, c.TimeInForce = Limit, ImmediateOrCancel
	default:
		c.Type, c.TimeInForce = Limit, GoodTillCancel
	}
	c.Tag, c.Side = TagNew, Buy+Side(b[7]&1)
	return conn, c
}

// target returns one of the account's recent orders.
func target(b byte, id uint64) uint64 { return id - min(id, uint64(b%12)) }

func trial(t *testing.T, data []byte) map[string]int {
	t.Helper()
	seen := map[string]int{}
	if len(data) < 9 {
		return seen
	}
	config, scale := Config{}, uint(0)
	switch data[0] % 3 {
	case 1:
		config = Config{MaxInstruments: 3, MaxAccounts: 4, MaxPositions: 9, MaxOrders: 12,
			MaxLevels: 3, MaxQuantity: 8}
	case 2:
		config, scale = Config{MaxOrders: 4, MaxQuantity: 1 << 61}, 58
	}
	book, plain, books := mustNew(t, config), newModel(config), ledger{}
	var twin *Book
	next := map[uint64]uint64{}
	steps := data[1:]
	half := len(steps) / 16 * 8
	for i := 0; i+8 <= len(steps); i += 8 {
		if i == half {
			twin = mustNew(t, config)
			if err := twin.Restore(bytes.NewReader(snapshot(t, book))); err != nil {
				t.Fatal(err)
			}
		}
		conn, c := spell(steps[i:i+8], next, scale)
		seq := uint64(i/4 + 1)
		got, want := do(t, book, seq, conn, c), plain.apply(seq, conn, c)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d, %+v:\n got %+v\nwant %+v", i/8, c, got, want)
		}
		if err := books.check(seq, conn, c, got, seen); err != nil {
			t.Fatalf("step %d, %+v: %v", i/8, c, err)
		}
		if i%64 == 0 {
			compareQueries(t, book, plain)
		}
		if err := audit(book); err != nil {
			t.Fatalf("step %d, %+v: %v", i/8, c, err)
		}
		if twin != nil {
			if again := do(t, twin, seq, conn, c); !reflect.DeepEqual(got, again) {
				t.Fatalf("step %d, %+v: the restored book has %+v, the original %+v", i/8, c, again,
					got)
			}
		}
	}
	if twin != nil && !bytes.Equal(snapshot(t, book), snapshot(t, twin)) {
		t.Fatal("snapshots of the original and of the restored book differ")
	}
	return seen
}

func compareQueries(t *testing.T, book *Book, plain *model) {
	t.Helper()
	for instrument := uint32(0); instrument < 4; instrument++ {
		got := do(t, book, 0, 1, Command{Tag: TagQueryTop, Instrument: instrument})[0].answer
		if want := plain.top(instrument); got != want {
			t.Fatalf("top of book is %+v, want %+v", got, want)
		}
		if got.Bid.Orders > 0 && got.Ask.Orders > 0 && got.Bid.Price >= got.Ask.Price {
			t.Fatalf("the book is crossed: %+v", got)
		}
		var net int64
		for owner := uint64(100); owner < 105; owner++ {
			got := do(t, book, 0, 1, Command{Tag: TagQueryPosition, Account: owner,
				Instrument: instrument})[0].answer
			if want := plain.position(owner, instrument); got != want {
				t.Fatalf("position is %+v, want %+v", got, want)
			}
			net += got.Net
		}
		if net != 0 {
			t.Fatalf("net positions in instrument %d add to %d, must be 0", instrument, net)
		}
	}
}

// ledger follows orders by outputs only, as a client or a checker could.
type ledger map[uint64]*entered

type entered struct {
	conn, account, open uint64
	side                Side
}

func (l ledger) check(seq, conn uint64, c Command, outputs []output, seen map[string]int) error {
	for i, out := range outputs {
		r := out.report
		o := l[r.OrderID]
		switch r.Tag {
		case TagAccepted:
			seen["accepted"]++
			o = &entered{conn: conn, account: c.Account, open: c.Quantity, side: c.Side}
			l[r.OrderID] = o
		case TagRejected:
			seen[r.Reason.String()]++
			o = &entered{conn: conn, account: c.Account}
		case TagReplaced:
			seen["replaced"]++
			if r.KeptPriority {
				seen["kept priority"]++
			} else if len(outputs) > 1 {
				seen["crossing replace"]++
			}
			o.conn, o.open = conn, r.Open
		case TagFill:
			seen["fill"]++
			o.open -= r.Quantity
			if r.Quantity == 0 || r.Open != o.open || r.Side != o.side {
				return fmt.Errorf("fill %+v of order %+v", r, *o)
			}
			if r.Liquidity == Resting {
				other := outputs[i+1].report
				if other.Trade != r.Trade || other.Quantity != r.Quantity || other.Price != r.Price ||
					other.Side == r.Side || other.Account == r.Account || other.Liquidity != Taking {
					return fmt.Errorf("sides of a trade disagree: %+v, %+v", r, other)
				}
			}
		case TagCancelled:
			seen[r.Reason.String()]++
			if r.Quantity != o.open {
				return fmt.Errorf("cancel %+v of order %+v", r, *o)
			}
			o.open = 0
			if r.Reason == Requested {
				o.conn = conn
			}
		}
		if r.Seq != seq || out.conn != o.conn || r.Account != o.account {
			return fmt.Errorf("event %d: %+v went to connection %d, belongs to %+v", seq, r,
				out.conn, *o)
		}
	}
	if len(outputs) == 0 || outputs[0].conn != conn {
		return fmt.Errorf("no response to the connection of the request: %+v", outputs)
	}
	if c.TimeInForce == ImmediateOrCancel && l[seq] != nil && l[seq].open != 0 {
		return fmt.Errorf("order %d was immediate or cancel and has %d open", seq, l[seq].open)
	}
	return nil
}

// FuzzRestore checks that damaged snapshots are rejected without a panic and leave the book
// unchanged.
func FuzzRestore(f *testing.F) {
	config := Config{MaxInstruments: 3, MaxAccounts: 4, MaxPositions: 9, MaxOrders: 12,
		MaxLevels: 3, MaxQuantity: 8}
	b := mustNew(f, config)
	next := map[uint64]uint64{}
	data := randomBytes(3, 8*40)
	for i := 0; i < len(data); i += 8 {
		conn, c := spell(data[i:i+8], next, 0)
		do(f, b, uint64(i+1), conn, c)
	}
	good := snapshot(f, b)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		fresh := mustNew(t, config)
		before := snapshot(t, fresh)
		// The checksum would stop nearly every input; put it right to get behind it.
		data = withChecksum(data)
		if err := fresh.Restore(bytes.NewReader(data)); err != nil {
			if !bytes.Equal(before, snapshot(t, fresh)) {
				t.Fatalf("a rejected snapshot (%v) changed the book", err)
			}
			return
		}
		if err := audit(fresh); err != nil {
			t.Fatalf("the restored book is inconsistent: %v", err)
		}
		if again := snapshot(t, fresh); !bytes.Equal(again, data[:len(again)]) {
			t.Fatal("the snapshot of the restored book differs")
		}
	})
}

var _ sequencer.Application[Report, Answer] = (*Book)(nil)
