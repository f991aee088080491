package orderbook

import (
	"errors"
	"fmt"

	"sluice/actors/sequencer"
)

// Config bounds the size of the book. A zero field means the default. The limits decide
// which commands are rejected, so they are part of the state machine: a journal must be
// replayed with the Config that it was written with. Restore checks that. The first five are those of an empty
// book; RaiseLimits changes them.
type Config struct {
	MaxInstruments int    // default 1024; an instrument is created by its first accepted order
	MaxAccounts    int    // default 1<<20; an account is created by its first accepted order
	MaxPositions   int    // pairs of account and instrument, default 1<<20
	MaxOrders      int    // open orders, default 1<<20
	MaxLevels      int    // prices per side of an instrument, default 4096
	MaxTrades      int    // orders that one command meets, default 1000; the rest of its order is cancelled then
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
		{&c.MaxTrades, 1000},
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
		{"MaxTrades", c.MaxTrades},
	} {
		if f.value < 1 || f.value > limitMax {
			return fmt.Errorf("orderbook: %s is %d, must be 1 to %d", f.name, f.value, limitMax)
		}
	}
	// The quantity of a level is at most the quantity of all open orders.
	if !fits(c.MaxQuantity, uint64(c.MaxOrders)) || c.MaxQuantity > tradedMax {
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
	config  Config
	touched []touch // levels that the current event has changed
	rules   uint32  // version of the rules in use
	*state
}

// state is the content of a snapshot. The maps and the index of orders are used only for
// lookups. Every iteration is over slices, which are in order of creation.
type state struct {
	seq         uint64 // last event applied
	time        int64  // of that event, ns since 1970
	limits      Limits
	accounts    []account
	instruments []instrument
	positions   []position
	orders      orders
	expiries    expiries
	connections connections

	accountAt    map[uint64]uint32
	instrumentAt map[uint32]uint32
	positionAt   map[holding]uint32

	ending []uint32 // memory for the orders of a connection that ends
}

type account struct {
	id       uint64
	last     uint64 // client order id of the last command that was not a duplicate
	accepted uint64 // number of accepted New orders
	open     openList
	outcomes ring[outcome] // of commands that were not duplicates
	fills    ring[fill]
	lost     place // last fill that was dropped, zero for none
}

type instrument struct {
	id    uint32
	sides [2]ladder // by Side.index
	moved [2]bool   // by Side.index; while an event is published: the best quote has changed
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

func newState(limits Limits) *state {
	return &state{
		limits:       limits,
		orders:       newOrders(),
		connections:  newConnections(),
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
	return &Book{config: config, state: newState(config.limits()), rules: Rules}, nil
}

// Factory returns a function that makes empty books of one configuration, for node.Config. The error
// names the limit that is out of range.
func Factory(config Config) (func() sequencer.Application[Report, Answer], error) {
	if _, err := New(config); err != nil {
		return nil, err
	}
	return func() sequencer.Application[Report, Answer] {
		book, err := New(config)
		if err != nil {
			panic(err) // the same configuration was valid above
		}
		return book
	}, nil
}

// Rules is the version of the rules for new events. Version 0 created accounts for commands that it
// rejected, and had no bound on jumps of client order ids. Up to version 1, one command could meet any number of
// orders.
const Rules = 2

// Version implements sequencer.Versioned.
func (*Book) Version() uint32 { return Rules }

// UseRules implements sequencer.Versioned: a journal is replayed with the rules that it was written with.
func (b *Book) UseRules(version uint32) error {
	if version > Rules {
		return fmt.Errorf("orderbook: this program has the rules of versions 0 to %d", Rules)
	}
	b.rules = version
	return nil
}

// Seq returns the sequence number of the last event applied, 0 before the first.
func (b *Book) Seq() uint64 { return b.seq }

// Requests lists the commands, which need role trader, RaiseLimits, which needs role operator, and the queries.
func (*Book) Requests() []sequencer.RequestType {
	types := []sequencer.RequestType{
		{Tag: TagNew, Name: "new order"},
		{Tag: TagCancel, Name: "cancel"},
		{Tag: TagReplace, Name: "replace"},
		{Tag: TagSetCancelOnDisconnect, Name: "set cancel on disconnect"},
		{Tag: TagRaiseLimits, Name: "raise limits"},
		{Tag: TagQueryTop, Name: "top of book"},
		{Tag: TagQueryPosition, Name: "position"},
		{Tag: TagQueryOpenOrders, Name: "open orders"},
		{Tag: TagQueryOutcome, Name: "outcome of a command"},
		{Tag: TagQueryFills, Name: "fills"},
		{Tag: TagQueryLimits, Name: "limits"},
	}
	for i := range types {
		t := &types[i]
		t.Size, _ = bodySize(t.Tag)
		t.Role, t.Query = sequencer.RoleTrader, isQuery(t.Tag)
		if t.Query {
			t.Role = sequencer.RoleReadonly
		} else if t.Tag == TagRaiseLimits {
			t.Role = sequencer.RoleOperator
		}
	}
	return types
}

// errForeignAccount is why a request is rejected that names an account which is not its client's. The
// client is told what it is told about a malformed request, so nothing about the account.
var errForeignAccount = errors.New("orderbook: the account does not belong to the client's key")

// errForeignInstrument is why an order is rejected in an instrument that the client's key does not have. So a key
// that has few cannot create many.
var errForeignInstrument = errors.New("orderbook: the client's key may not enter orders in the instrument")

// Check rejects requests that cannot be decoded, those that name an account for which the client
// may not act, and orders in an instrument that its key does not have. It is safe from any goroutine.
func (b *Book) Check(ev *sequencer.Event) error {
	var c Command
	if err := DecodeRequest(ev.Tag, ev.Body, &c); err != nil {
		return err
	}
	if namesAccount(c.Tag) && !ev.Client.MayAct(c.Account) {
		return errForeignAccount
	}
	if c.Tag == TagNew && !ev.Client.MayTrade(uint64(c.Instrument)) {
		return errForeignInstrument
	}
	return nil
}

// errOrders is why an order is refused whose client has as many open orders as its key may have.
var errOrders = errors.New("orderbook: the key has as many open orders as it may have")

// Admit refuses an order that may rest in the book if its client has as many open orders as its key may
// have, in all accounts and on all connections.
func (b *Book) Admit(ev *sequencer.Event) error {
	if ev.Client == nil || ev.Client.Orders == 0 || ev.Tag != TagNew ||
		b.orders.of(ev.Identity.Number) < ev.Client.Orders {
		return nil
	}
	var c Command
	if err := DecodeRequest(ev.Tag, ev.Body, &c); err != nil || c.TimeInForce == ImmediateOrCancel {
		return err
	}
	return errOrders
}

// Apply executes one command. Sequence numbers must increase; gaps are allowed, because a
// journal may have events that do not concern the book. It panics if they do not increase,
// if the time falls, or if the request cannot have passed Check: these mean that the journal
// belongs to another application.
func (b *Book) Apply(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	e := event{Book: b, conn: ev.Conn, who: ev.Identity.Number, out: out}
	if err := DecodeRequest(ev.Tag, ev.Body, &e.cmd); err != nil || isQuery(ev.Tag) {
		panic(fmt.Sprintf("orderbook: event %d with tag 0x%02x is not a command: %v", ev.Seq, ev.Tag,
			err))
	}
	e.begin(ev)
	switch e.cmd.Tag {
	case TagSetCancelOnDisconnect:
		e.setCancelOnDisconnect()
	case TagRaiseLimits:
		e.raise()
	default:
		e.run()
	}
	e.publish()
}

// Connected executes the beginning of a connection: only orders may expire.
func (b *Book) Connected(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	e := event{Book: b, conn: ev.Conn, out: out}
	e.begin(ev)
	e.publish()
}

// Disconnected executes the end of a connection. It cancels the orders of the connection if
// that was asked for.
func (b *Book) Disconnected(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	e := event{Book: b, conn: ev.Conn, out: out}
	e.begin(ev)
	e.ended()
	e.publish()
}

// NextTick returns the earliest expiry of the open orders, 0 if none has one.
func (b *Book) NextTick() int64 {
	if len(b.expiries) == 0 {
		return 0
	}
	return b.orders.slots[b.expiries[0]].expiry
}

// Tick cancels the orders that have expired.
func (b *Book) Tick(ev *sequencer.Event, out sequencer.Emitter[Report, Answer]) {
	e := event{Book: b, out: out}
	e.begin(ev)
	e.publish()
}
