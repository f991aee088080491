package orderbook

import (
	"encoding/binary"
	"fmt"
)

// Tags of requests: commands from 0x10, which are journaled, and queries from 0x20.
const (
	TagNew                   uint8 = 0x10
	TagCancel                uint8 = 0x11
	TagReplace               uint8 = 0x12
	TagSetCancelOnDisconnect uint8 = 0x13
	TagRaiseLimits           uint8 = 0x14 // of an operator

	TagQueryTop        uint8 = 0x20
	TagQueryPosition   uint8 = 0x21
	TagQueryOpenOrders uint8 = 0x22
	TagQueryOutcome    uint8 = 0x23
	TagQueryFills      uint8 = 0x24
	TagQueryLimits     uint8 = 0x25
)

// MaxPage is the greatest number of open orders or fills in the answer to one query.
const MaxPage = 256

// Side of an order.
type Side uint8

const (
	Buy  Side = 1
	Sell Side = 2
)

func (s Side) valid() bool { return s == Buy || s == Sell }

// OrderType determines whether an order has a price limit.
type OrderType uint8

const (
	Limit  OrderType = 1
	Market OrderType = 2
)

// TimeInForce determines what happens to the quantity that does not trade at once.
type TimeInForce uint8

const (
	GoodTillCancel    TimeInForce = 1 // it rests in the book
	ImmediateOrCancel TimeInForce = 2 // it is cancelled
	GoodTillDate      TimeInForce = 3 // it rests in the book until its expiry
)

// Command is any request of a client. Tag determines the request and the fields that it
// uses; docs/orderbook.md has the layouts.
type Command struct {
	Tag           uint8
	Account       uint64
	ClientOrderID uint64 // id of this command, strictly increasing per account; QueryOutcome: of the command asked for
	Target        uint64 // Cancel, Replace: ClientOrderID of the New that created the order
	Instrument    uint32
	Side          Side
	Type          OrderType
	TimeInForce   TimeInForce
	Price         int64  // ticks, may be negative; 0 for a market order
	Quantity      uint64 // New, Replace: total of the order, including the executed part
	Expiry        int64  // New: ns since 1970 with GoodTillDate, else 0
	On            bool   // SetCancelOnDisconnect
	After         uint64 // QueryOpenOrders: order id; QueryFills: event; the answer begins behind it
	Trade         uint32 // QueryFills: number of the trade within event After
	Limit         uint16 // QueryOpenOrders, QueryFills: 1 to MaxPage
	Limits        Limits // RaiseLimits: new values; 0 leaves a limit as it is
}

const requestHeader = 4 + 8 + 1 // len, request_seq, tag

// bodySize returns the exact size of a request body in bytes. It reports false for an
// unknown tag.
func bodySize(tag uint8) (int, bool) {
	switch tag {
	case TagNew:
		return 48, true
	case TagReplace:
		return 40, true
	case TagCancel:
		return 24, true
	case TagSetCancelOnDisconnect:
		return 1, true
	case TagRaiseLimits:
		return limitsSize, true
	case TagQueryLimits:
		return 0, true
	case TagQueryTop:
		return 4, true
	case TagQueryPosition:
		return 12, true
	case TagQueryOpenOrders:
		return 18, true
	case TagQueryOutcome:
		return 16, true
	case TagQueryFills:
		return 22, true
	}
	return 0, false
}

// isQuery reports whether a request only reads.
func isQuery(tag uint8) bool { return tag >= TagQueryTop }

// namesAccount reports whether a request has an account.
func namesAccount(tag uint8) bool {
	return tag != TagQueryTop && tag != TagSetCancelOnDisconnect && tag != TagRaiseLimits && tag != TagQueryLimits
}

// UsesID reports whether a request has a client order id of its own, which it uses up.
func UsesID(tag uint8) bool { return tag >= TagNew && tag <= TagReplace }

// AppendRequest appends the whole frame of a request, including the length prefix. It does
// not validate the values: a client may send a request that the server rejects. An unknown
// Tag is an error and leaves dst unchanged.
func AppendRequest(dst []byte, requestSeq uint64, c *Command) ([]byte, error) {
	size, ok := bodySize(c.Tag)
	if !ok {
		return dst, fmt.Errorf("orderbook: request tag 0x%02x is unknown; requests are 0x10 to 0x14 "+
			"and 0x20 to 0x25", c.Tag)
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(requestHeader-4+size))
	dst = le.AppendUint64(dst, requestSeq)
	dst = append(dst, c.Tag)
	return c.AppendBody(dst), nil
}

// AppendBody appends the body of a request, whose Tag must be one of this package. It does not
// validate the values.
func (c *Command) AppendBody(dst []byte) []byte {
	le := binary.LittleEndian
	switch c.Tag {
	case TagQueryTop:
		return le.AppendUint32(dst, c.Instrument)
	case TagSetCancelOnDisconnect:
		return append(dst, bit(c.On))
	case TagRaiseLimits:
		return c.Limits.append(dst)
	case TagQueryLimits:
		return dst
	}
	dst = le.AppendUint64(dst, c.Account)
	switch c.Tag {
	case TagQueryPosition:
		return le.AppendUint32(dst, c.Instrument)
	case TagQueryOpenOrders:
		return le.AppendUint16(le.AppendUint64(dst, c.After), c.Limit)
	case TagQueryFills:
		dst = le.AppendUint32(le.AppendUint64(dst, c.After), c.Trade)
		return le.AppendUint16(dst, c.Limit)
	}
	dst = le.AppendUint64(dst, c.ClientOrderID)
	switch c.Tag {
	case TagNew:
		dst = le.AppendUint32(dst, c.Instrument)
		dst = append(dst, byte(c.Side), byte(c.Type), byte(c.TimeInForce), 0)
		dst = le.AppendUint64(dst, uint64(c.Price))
		dst = le.AppendUint64(dst, c.Quantity)
		dst = le.AppendUint64(dst, uint64(c.Expiry))
	case TagCancel:
		dst = le.AppendUint64(dst, c.Target)
	case TagReplace:
		dst = le.AppendUint64(dst, c.Target)
		dst = le.AppendUint64(dst, uint64(c.Price))
		dst = le.AppendUint64(dst, c.Quantity)
	}
	return dst
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// DecodeRequest reads the body of a request with the given tag into c, and overwrites every
// field of c. It rejects requests that are invalid in any state of the book: an unknown
// tag, a wrong length, an undefined enumeration value, a market order with a price, a
// market order that would rest, an expiry of an order that has none.
func DecodeRequest(tag uint8, body []byte, c *Command) error {
	size, ok := bodySize(tag)
	if !ok {
		return fmt.Errorf("orderbook: request tag 0x%02x is unknown; requests are 0x10 to 0x14 "+
			"and 0x20 to 0x25", tag)
	}
	if len(body) != size {
		return fmt.Errorf("orderbook: body of request 0x%02x has %d bytes, must have %d", tag,
			len(body), size)
	}
	le := binary.LittleEndian
	*c = Command{Tag: tag}
	switch tag {
	case TagNew:
		c.Account, c.ClientOrderID = le.Uint64(body), le.Uint64(body[8:])
		c.Instrument = le.Uint32(body[16:])
		c.Side, c.Type, c.TimeInForce = Side(body[20]), OrderType(body[21]), TimeInForce(body[22])
		c.Price, c.Quantity = int64(le.Uint64(body[24:])), le.Uint64(body[32:])
		c.Expiry = int64(le.Uint64(body[40:]))
		return c.validate(body[23])
	case TagCancel, TagReplace:
		c.Account, c.ClientOrderID, c.Target = le.Uint64(body), le.Uint64(body[8:]), le.Uint64(body[16:])
		if tag == TagReplace {
			c.Price, c.Quantity = int64(le.Uint64(body[24:])), le.Uint64(body[32:])
		}
	case TagSetCancelOnDisconnect:
		if c.On = body[0] == 1; body[0] > 1 {
			return fmt.Errorf("orderbook: cancel on disconnect is %d, must be 0 (off) or 1 (on)", body[0])
		}
	case TagRaiseLimits:
		c.Limits = decodeLimits(body)
		return c.Limits.validate()
	case TagQueryTop:
		c.Instrument = le.Uint32(body)
	case TagQueryPosition:
		c.Account, c.Instrument = le.Uint64(body), le.Uint32(body[8:])
	case TagQueryOpenOrders:
		c.Account, c.After, c.Limit = le.Uint64(body), le.Uint64(body[8:]), le.Uint16(body[16:])
		return c.validatePage()
	case TagQueryOutcome:
		c.Account, c.ClientOrderID = le.Uint64(body), le.Uint64(body[8:])
	case TagQueryFills:
		c.Account, c.After = le.Uint64(body), le.Uint64(body[8:])
		c.Trade, c.Limit = le.Uint32(body[16:]), le.Uint16(body[20:])
		return c.validatePage()
	}
	return nil
}

func (c *Command) validatePage() error {
	if c.Limit < 1 || c.Limit > MaxPage {
		return fmt.Errorf("orderbook: limit of a query is %d, must be 1 to %d", c.Limit, MaxPage)
	}
	return nil
}

// validate rejects undefined values of a New.
func (c *Command) validate(reserved byte) error {
	switch {
	case !c.Side.valid():
		return fmt.Errorf("orderbook: side is %d, must be 1 (buy) or 2 (sell)", c.Side)
	case c.Type != Limit && c.Type != Market:
		return fmt.Errorf("orderbook: order type is %d, must be 1 (limit) or 2 (market)", c.Type)
	case c.TimeInForce < GoodTillCancel || c.TimeInForce > GoodTillDate:
		return fmt.Errorf("orderbook: time in force is %d, must be 1 (good till cancel), "+
			"2 (immediate or cancel) or 3 (good till date)", c.TimeInForce)
	case reserved != 0:
		return fmt.Errorf("orderbook: reserved byte 23 of a new order is %d, must be 0", reserved)
	case c.Type == Market && c.TimeInForce != ImmediateOrCancel:
		return fmt.Errorf("orderbook: a market order cannot rest; send it immediate or cancel (2)")
	case c.Type == Market && c.Price != 0:
		return fmt.Errorf("orderbook: a market order has price %d, must be 0", c.Price)
	case c.TimeInForce != GoodTillDate && c.Expiry != 0:
		return fmt.Errorf("orderbook: an order that is not good till date has expiry %d, must be 0",
			c.Expiry)
	}
	return nil
}
