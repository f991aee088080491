package orderbook

import (
	"encoding/binary"
	"fmt"
)

// Tags of requests.
const (
	TagNew           uint8 = 0x10
	TagCancel        uint8 = 0x11
	TagReplace       uint8 = 0x12
	TagQueryTop      uint8 = 0x13
	TagQueryPosition uint8 = 0x14
)

// Side of an order.
type Side uint8

const (
	Buy  Side = 1
	Sell Side = 2
)

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
)

// Command is any request of a client. Tag determines the request and the fields that it
// uses; docs/orderbook.md has the layouts.
type Command struct {
	Tag           uint8
	Account       uint64
	ClientOrderID uint64 // id of this command, strictly increasing per account
	Target        uint64 // Cancel, Replace: ClientOrderID of the New that created the order
	Instrument    uint32
	Side          Side
	Type          OrderType
	TimeInForce   TimeInForce
	Price         int64  // ticks, may be negative; 0 for a market order
	Quantity      uint64 // New, Replace: total of the order, including the executed part
}

const requestHeader = 4 + 8 + 1 // len, request_seq, tag

// bodySize returns the exact size of a request body in bytes. It reports false for an
// unknown tag.
func bodySize(tag uint8) (int, bool) {
	switch tag {
	case TagNew, TagReplace:
		return 40, true
	case TagCancel:
		return 24, true
	case TagQueryTop:
		return 4, true
	case TagQueryPosition:
		return 12, true
	}
	return 0, false
}

// AppendRequest appends the whole frame of a request, including the length prefix. It does
// not validate the values: a client may send a request that the server rejects. An unknown
// Tag is an error and leaves dst unchanged.
func AppendRequest(dst []byte, requestSeq uint64, c *Command) ([]byte, error) {
	size, ok := bodySize(c.Tag)
	if !ok {
		return dst, fmt.Errorf("orderbook: request tag 0x%02x is unknown; requests are 0x10 to 0x14", c.Tag)
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(requestHeader-4+size))
	dst = le.AppendUint64(dst, requestSeq)
	dst = append(dst, c.Tag)
	switch c.Tag {
	case TagNew:
		dst = le.AppendUint64(dst, c.Account)
		dst = le.AppendUint64(dst, c.ClientOrderID)
		dst = le.AppendUint32(dst, c.Instrument)
		dst = append(dst, byte(c.Side), byte(c.Type), byte(c.TimeInForce), 0)
		dst = le.AppendUint64(dst, uint64(c.Price))
		dst = le.AppendUint64(dst, c.Quantity)
	case TagCancel, TagReplace:
		dst = le.AppendUint64(dst, c.Account)
		dst = le.AppendUint64(dst, c.ClientOrderID)
		dst = le.AppendUint64(dst, c.Target)
		if c.Tag == TagReplace {
			dst = le.AppendUint64(dst, uint64(c.Price))
			dst = le.AppendUint64(dst, c.Quantity)
		}
	case TagQueryTop:
		dst = le.AppendUint32(dst, c.Instrument)
	case TagQueryPosition:
		dst = le.AppendUint64(dst, c.Account)
		dst = le.AppendUint32(dst, c.Instrument)
	}
	return dst, nil
}

// DecodeRequest reads the body of a request with the given tag into c, and overwrites every
// field of c. It rejects requests that are invalid in any state of the book: an unknown
// tag, a wrong length, an undefined enumeration value, a market order with a price, a
// market order that would rest.
func DecodeRequest(tag uint8, body []byte, c *Command) error {
	size, ok := bodySize(tag)
	if !ok {
		return fmt.Errorf("orderbook: request tag 0x%02x is unknown; requests are 0x10 to 0x14", tag)
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
		return c.validate(body[23])
	case TagCancel, TagReplace:
		c.Account, c.ClientOrderID, c.Target = le.Uint64(body), le.Uint64(body[8:]), le.Uint64(body[16:])
		if tag == TagReplace {
			c.Price, c.Quantity = int64(le.Uint64(body[24:])), le.Uint64(body[32:])
		}
	case TagQueryTop:
		c.Instrument = le.Uint32(body)
	case TagQueryPosition:
		c.Account, c.Instrument = le.Uint64(body), le.Uint32(body[8:])
	}
	return nil
}

// validate rejects undefined values of a New.
func (c *Command) validate(reserved byte) error {
	switch {
	case c.Side != Buy && c.Side != Sell:
		return fmt.Errorf("orderbook: side is %d, must be 1 (buy) or 2 (sell)", c.Side)
	case c.Type != Limit && c.Type != Market:
		return fmt.Errorf("orderbook: order type is %d, must be 1 (limit) or 2 (market)", c.Type)
	case c.TimeInForce != GoodTillCancel && c.TimeInForce != ImmediateOrCancel:
		return fmt.Errorf("orderbook: time in force is %d, must be 1 (good till cancel) "+
			"or 2 (immediate or cancel)", c.TimeInForce)
	case reserved != 0:
		return fmt.Errorf("orderbook: reserved byte 23 of a new order is %d, must be 0", reserved)
	case c.Type == Market && c.TimeInForce != ImmediateOrCancel:
		return fmt.Errorf("orderbook: a market order cannot rest; send it immediate or cancel (2)")
	case c.Type == Market && c.Price != 0:
		return fmt.Errorf("orderbook: a market order has price %d, must be 0", c.Price)
	}
	return nil
}
