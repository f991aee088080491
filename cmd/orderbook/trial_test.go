package orderbook

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"sluice/actors/sequencer"
)

// FuzzBook runs the events encoded in the bytes on the book and on a naive model:
//  1. The first byte selects limits: wide, narrow enough to reach each, or quantities near
//     the position limit.
//     Some trials follow the rules of version 0 or 1.
//  2. Every eight bytes are an event: a command with few accounts, instruments and prices, so
//     that orders trade, the beginning or end of a connection, or a tick. Client order ids are
//     mostly new, sometimes used or left out. Time passes slowly, and orders expire soon.
//  3. After each event, the outputs and the next tick must equal the model's, the ledger must
//     agree with them, and the structures must be consistent. After some, answers to queries
//     and snapshots must equal the model's.
//  4. Halfway a second book is restored from a snapshot. From then on both must produce
//     the same outputs.
func FuzzBook(f *testing.F) {
	for seed := uint64(0); seed < 6; seed++ {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 8*200)]
		trial(t, data, 8)
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

// 200,000 events. Some trials are long enough for histories to drop their oldest entries.
func TestBookEqualsTheNaiveModel(t *testing.T) {
	trials := []struct{ seeds, events, every int }{{100, 500, 8}, {9, 16_700, 512}}
	if testing.Short() {
		trials = trials[:1]
		trials[0].seeds = 20
	}
	seen := map[string]int{}
	for i, trials := range trials {
		for seed := range trials.seeds {
			data := randomBytes(uint64(seed+1000*i), 8*trials.events)
			if i == 1 && seed%4 > 0 {
				data[0] = 0 // most of the long ones with wide limits
			}
			for what, n := range trial(t, data, trials.every) {
				seen[what] += n
			}
		}
	}
	// A trial in which something never happened says nothing about it.
	want := []string{"accepted", "fill", "replaced", "kept priority", "crossing replace",
		"setting", "limits raised"}
	for r := Duplicate; r <= BadLimit; r++ {
		want = append(want, r.String())
	}
	for r := Requested; r <= TooDeep; r++ {
		want = append(want, r.String())
	}
	for s := StatusAccepted; s <= StatusTooOld; s++ {
		if s != StatusTooOld || !testing.Short() {
			want = append(want, "outcome "+s.String())
		}
	}
	if !testing.Short() {
		want = append(want, "fills dropped")
	}
	for _, what := range want {
		if seen[what] == 0 {
			t.Errorf("%q never happened", what)
		}
	}
	t.Log(seen)
}

// stepper makes events from bytes.
type stepper struct {
	next  map[uint64]uint64 // last client order id by account
	ended [6]uint64         // connections of each client that have ended
	scale uint
	kind  sequencer.Kind
	seq   uint64
	time  int64
	conn  uint64
	c     Command
}

// spell makes the next event.
func (s *stepper) spell(b []byte) {
	s.seq += 1 + uint64(b[6]&1)
	s.time += int64(b[7] >> 6)
	client := b[2] % 6
	s.conn = uint64(client) + 1 + 6*s.ended[client]
	s.kind = sequencer.KindRequest
	switch b[3] >> 4 {
	case 0:
		s.kind = sequencer.KindTick
	case 1:
		if b[6]%4 == 0 {
			s.kind = sequencer.KindDisconnected
			s.ended[client]++
			return
		}
		if b[6]%4 == 2 {
			s.c = Command{Tag: TagRaiseLimits, Limits: Limits{Instruments: uint32(b[0] % 5), Accounts: uint32(b[1] % 7),
				Positions: uint32(b[2]%4) * 5, Orders: uint32(b[4]%4) * 6, Levels: uint32(b[5] % 5)}}
			return
		}
		s.c = Command{Tag: TagSetCancelOnDisconnect, On: b[6]%4 < 3}
	case 2:
		s.kind = sequencer.KindConnected
		if b[6]%8 == 0 { // without it, as after an old snapshot
			s.kind = sequencer.KindTick
		}
	default:
		s.command(b)
	}
}

func (s *stepper) command(b []byte) {
	c := &s.c
	*c = Command{Account: uint64(b[0]%5) + 100, Instrument: uint32(b[1] % 4)}
	s.next[c.Account]++
	if b[1] >= 250 { // one left out
		s.next[c.Account]++
	}
	c.ClientOrderID = s.next[c.Account]
	if b[1] >= 244 && b[1] < 250 { // one used already
		s.next[c.Account]--
		c.ClientOrderID = uint64(b[2]) % c.ClientOrderID
	}
	if b[1] >= 238 && b[1] < 244 { // one too far ahead
		s.next[c.Account]--
		c.ClientOrderID += 1<<32 + uint64(b[2])
	}
	price, quantity := int64(b[4]%8)-3, uint64(b[5]%10)<<s.scale
	target := c.ClientOrderID - min(c.ClientOrderID, uint64(b[6]%10))
	switch b[3] % 16 {
	case 0:
		c.Tag, c.Target, c.Instrument = TagCancel, target, 0
		return
	case 1, 2:
		c.Tag, c.Target, c.Instrument, c.Price, c.Quantity = TagReplace, target, 0, price, quantity
		return
	case 6:
		c.Type, c.TimeInForce, price = Market, ImmediateOrCancel, 0
	case 7:
		c.Type, c.TimeInForce = Limit, ImmediateOrCancel
	case 3, 4, 5, 8:
		c.Type, c.TimeInForce, c.Expiry = Limit, GoodTillDate, s.time-2+int64(b[6]%64)
	default:
		c.Type, c.TimeInForce = Limit, GoodTillCancel
	}
	c.Tag, c.Side, c.Price, c.Quantity = TagNew, Buy+Side(b[7]&1), price, quantity
}

func (s *stepper) event(t testing.TB) *sequencer.Event {
	ev := &sequencer.Event{Kind: s.kind, Conn: s.conn}
	if s.kind == sequencer.KindTick {
		ev.Conn = 0
	} else if s.kind == sequencer.KindRequest {
		ev = request(t, s.conn, s.c)
		ev.Identity.Number = identityOf(s.conn)
	}
	ev.Seq, ev.Time = s.seq, s.time
	return ev
}

func limitsOf(first byte) (config Config, scale uint) {
	switch first % 3 {
	case 1:
		config = Config{MaxInstruments: 3, MaxAccounts: 4, MaxPositions: 9, MaxOrders: 12,
			MaxLevels: 3, MaxQuantity: 8, MaxTrades: 2}
	case 2:
		config, scale = Config{MaxOrders: 4, MaxQuantity: 1 << 61}, 58
	}
	return config, scale
}

// trial runs the events of the bytes. Queries and snapshots are compared after every few events.
func trial(t *testing.T, data []byte, every int) map[string]int {
	t.Helper()
	seen := map[string]int{}
	if len(data) < 9 {
		return seen
	}
	config, scale := limitsOf(data[0])
	book, plain, books := mustNew(t, config), newModel(config), ledger{}
	switch data[0] % 7 {
	case 5:
		book.rules, plain.deep = 1, true
	case 6:
		book.rules, plain.deep, plain.old = 0, true, true
	}
	var twin *Book
	st := stepper{next: map[uint64]uint64{}, scale: scale}
	steps := data[1:]
	half := len(steps) / 16 * 8
	for i := 0; i+8 <= len(steps); i += 8 {
		if i == half {
			twin = mustNew(t, config)
			twin.rules = book.rules
			if err := twin.Restore(bytes.NewReader(snapshot(t, book))); err != nil {
				t.Fatal(err)
			}
		}
		st.spell(steps[i : i+8])
		got := deliver(t, book, st.event(t))
		want := plain.apply(st.kind, st.seq, st.time, st.conn, st.c)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d, %v %+v:\n got %+v\nwant %+v", i/8, st.kind, st.c, got, want)
		}
		if err := books.check(&st, got, seen); err != nil {
			t.Fatalf("step %d, %v %+v: %v", i/8, st.kind, st.c, err)
		}
		next := int64(0)
		if o := plain.nextToExpire(); o != nil {
			next = o.expiry
		}
		if book.NextTick() != next {
			t.Fatalf("step %d: the next tick is %d, want %d", i/8, book.NextTick(), next)
		}
		if i/8%every == 0 {
			compareQueries(t, book, plain, steps[i:i+8], seen)
			if got, want := snapshot(t, book), plain.snapshot(); !bytes.Equal(got, want) {
				t.Fatalf("step %d: snapshot\n%x, want\n%x", i/8, got, want)
			}
		}
		if err := audit(book); err != nil {
			t.Fatalf("step %d, %v %+v: %v", i/8, st.kind, st.c, err)
		}
		if twin != nil {
			if again := deliver(t, twin, st.event(t)); !reflect.DeepEqual(got, again) {
				t.Fatalf("step %d, %+v: the restored book has %+v, the original %+v", i/8, st.c, again,
					got)
			}
		}
	}
	if twin != nil && (!bytes.Equal(snapshot(t, book), snapshot(t, twin)) || audit(twin) != nil) {
		t.Fatalf("the original and the restored book differ, audit: %v", audit(twin))
	}
	return seen
}
