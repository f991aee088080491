package orderbook

import (
	"fmt"
	"math/bits"

	"sluice/actors/sequencer"
)

// Config bounds the size of the book. A zero field means the default. The limits decide
// which commands are rejected, so they are part of the state machine: a journal must be
// replayed with the limits that it was written with. Restore checks that.
type Config struct {
	MaxInstruments int    // default 1024; an instrument is created by its first accepted order
	MaxAccounts    int    // default 1<<20; an account is created by its first command
	MaxPositions   int    // pairs of account and instrument, default 1<<20
	MaxOrders      int    // open orders, default 1<<20
	MaxLevels      int    // prices per side of an instrument, default 4096
	MaxQuantity    uint64 // of one order, default 1<<40
}

// tradedMax bounds the quantity that an account may buy of an instrument, and the quantity
// that it may sell, including open orders. Their difference therefore fits an int64.
const tradedMax = 1 << 62

// limitMax bounds the counts of a Config, so that they fit the slot numbers.
const limitMax = 1 << 30

func (c Config) withDefaults() Config {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&c.MaxInstruments, 1024}, {&c.MaxAccounts, 1 << 20}, {&c.MaxPositions, 1 << 20},
		{&c.MaxOrders, 1 << 20}, {&c.MaxLevels, 4096},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if c.MaxQuantity == 0 {
		c.MaxQuantity = 1 << 40
	}
	return c
}

func (c Config) validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"MaxInstruments", c.MaxInstruments}, {"MaxAccounts", c.MaxAccounts},
		{"MaxPositions", c.MaxPositions}, {"MaxOrders", c.MaxOrders}, {"MaxLevels", c.MaxLevels},
	} {
		if f.value < 1 || f.value > limitMax {
			return fmt.Errorf("orderbook: %s is %d, must be 1 to %d", f.name, f.value, limitMax)
		}
	}
	// The quantity of a level is at most the quantity of all open orders.
	high, low := bits.Mul64(c.MaxQuantity, uint64(c.MaxOrders))
	if high != 0 || low > 1<<63 || c.MaxQuantity > tradedMax {
		return fmt.Errorf("orderbook: MaxQuantity is %d with %d orders; "+
			"their product must be at most 1<<63 and the quantity at most 1<<62",
			c.MaxQuantity, c.MaxOrders)
	}
	return nil
}

// Book has the order books of all instruments and the accounts that trade in them, as one
// deterministic state machine. It implements sequencer.Application[Report, Answer]. All
// methods except Requests and Check belong to one goroutine.
type Book struct {
	config Config
	*state
}

// state is the content of a snapshot. The maps and the index of orders are used only for
// lookups. Every iteration is over slices, which are in order of creation.
type state struct {
	seq         uint64 // last event applied
	accounts    []account
	instruments []instrument
	positions   []position
	orders      orders

	accountAt    map[uint64]uint32
	instrumentAt map[uint32]uint32
	positionAt   map[holding]uint32
}

type account struct {
	id       uint64
	last     uint64 // client order id of the last command that was not a duplicate
	accepted uint64 // number of accepted New orders
}

type instrument struct {
	id    uint32
	sides [2]ladder // by Side.index
}

// holding identifies a position by indices into state.accounts and state.instruments.
type holding struct{ account, instrument uint32 }

// position is the position of one account in one instrument. Arrays are by Side.index.
// Invariant: traded[i] + open[i] <= tradedMax.
type position struct {
	holding
	traded [2]uint64 // quantity bought and sold
	open   [2]uint64 // open quantity, including an order that is being matched
	orders uint32    // number of resting orders
}

// room reports whether a further quantity may be ordered on a side. The sum cannot
// overflow, because it is at most three times tradedMax.
func (p *position) room(side Side, quantity uint64) bool {
	return p.traded[side.index()]+p.open[side.index()]+quantity <= tradedMax
}

func newState() *state {
	return &state{
		orders:       newOrders(),
		accountAt:    make(map[uint64]uint32),
		instrumentAt: make(map[uint32]uint32),
		positionAt:   make(map[holding]uint32),
	}
}

// New returns an empty book. The error names the limit that is out of range.
func New(config Config) (*Book, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Book{config: config, state: newState()}, nil
}

// Seq returns the sequence number of the last event applied, 0 before the first.
func (b *Book) Seq() uint64 { return b.seq }

// Requests lists the commands, which need role trader, and the queries.
func (*Book) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{
		{Tag: TagNew, Name: "new", Size: 40, Role: sequencer.RoleTrader},
		{Tag: TagCancel, Name: "cancel", Size: 24, Role: sequencer.RoleTrader},
		{Tag: TagReplace, Name: "replace", Size: 40, Role: sequencer.RoleTrader},
		{Tag: TagQueryTop, Name: "top of book", Size: 4, Role: sequencer.RoleReadonly, Query: true},
		{Tag: TagQueryPosition, Name: "position", Size: 12, Role: sequencer.RoleReadonly, Query: true},
	}
}

// Check rejects requests that cannot be decoded. It is safe from any goroutine.
func (b *Book) Check(ev *sequencer.Event) error {
	var c Command
	return DecodeRequest(ev.Tag, ev.Body, &c)
}

func isQuery(tag uint8) bool { return tag == TagQueryTop || tag == TagQueryPosition }

// Apply executes one request. Sequence numbers must increase; gaps are allowed, because a
// journal may have events that do not concern the book. It panics if they do not increase,
// or if the request cannot have passed Check: both mean that the journal belongs to
// another application.
func (b *Book) Apply(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	seq := ev.Seq
	e := event{Book: b, seq: seq, conn: ev.Conn, out: out}
	if err := DecodeRequest(ev.Tag, ev.Body, &e.cmd); err != nil || isQuery(ev.Tag) {
		panic(fmt.Sprintf("orderbook: event %d with tag 0x%02x is not a command: %v", seq, ev.Tag,
			err))
	}
	if seq <= b.seq {
		panic(fmt.Sprintf("orderbook: event %d after event %d; sequence numbers must increase", seq,
			b.seq))
	}
	b.state.seq = seq
	e.run()
}

// Query answers one query. An unknown instrument or account has no orders. It panics on a
// request that cannot have passed Check.
func (b *Book) Query(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	var c Command
	if err := DecodeRequest(ev.Tag, ev.Body, &c); err != nil || !isQuery(ev.Tag) {
		panic(fmt.Sprintf("orderbook: request with tag 0x%02x is not a query: %v", ev.Tag, err))
	}
	a := out.Query(ev.Conn)
	a.Seq, a.Instrument = b.seq, c.Instrument
	at, known := b.instrumentAt[c.Instrument]
	if ev.Tag == TagQueryTop {
		a.Tag = TagTopOfBook
		if known {
			a.Bid, a.Ask = b.instruments[at].quote(Buy), b.instruments[at].quote(Sell)
		}
		return
	}
	a.Tag, a.Account = TagPosition, c.Account
	owner, ok := b.accountAt[c.Account]
	if !ok {
		return
	}
	a.Accepted, a.ClientOrderID = b.accounts[owner].accepted, b.accounts[owner].last
	if !known {
		return
	}
	if at, ok := b.positionAt[holding{owner, at}]; ok {
		p := &b.positions[at]
		a.Bought, a.Sold, a.OpenOrders = p.traded[0], p.traded[1], p.orders
		a.Net = int64(a.Bought) - int64(a.Sold)
	}
}

func (i *instrument) quote(side Side) Quote {
	l := i.sides[side.index()].best()
	if l == nil {
		return Quote{}
	}
	return Quote{Price: side.price(l.key), Quantity: l.quantity, Orders: l.count}
}
