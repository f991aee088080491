package marketdata

import (
	"encoding/binary"
	"fmt"
)

// Tags of the frames of topics. A snapshot of a topic has the same frames as its updates.
const (
	TagQuote uint8 = 0x50 // of KindTop: the best price of a side
	TagTrade uint8 = 0x51 // of KindTrades: a trade
	TagLevel uint8 = 0x52 // of KindDepth: a price level
)

// Side of the book, or of an order.
type Side uint8

const (
	Buy  Side = 1
	Sell Side = 2
)

// BodySize is the size of the body of each frame in bytes.
const BodySize = 33

// FrameSize is the size of a frame in bytes, including the length prefix and the tag.
const FrameSize = 4 + 1 + BodySize

// Frame is one frame of a topic.
type Frame struct {
	Seq        uint64 // event that caused it; in a snapshot, last event that is taken into account
	Price      int64  // ticks; 0 in a Quote of an empty side
	Quantity   uint64 // lots: of a trade, or open in all orders at the price
	Instrument uint32
	Count      uint32 // Quote, Level: orders at the price, 0 for none; Trade: number of the trade within the event
	Tag        uint8
	Side       Side // of the orders; Trade: of the order that arrived
}

// Append appends the whole frame, including the length prefix. It does not validate the values.
func (f *Frame) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(le.AppendUint32(dst, 1+BodySize), f.Tag)
	dst = le.AppendUint64(dst, f.Seq)
	dst = le.AppendUint32(dst, f.Instrument)
	dst = le.AppendUint32(dst, f.Count)
	dst = le.AppendUint64(dst, uint64(f.Price))
	dst = le.AppendUint64(dst, f.Quantity)
	return append(dst, byte(f.Side))
}

// Decode reads the body of a frame with the given tag. The error names the value that is wrong.
func Decode(tag uint8, body []byte) (f Frame, err error) {
	if tag < TagQuote || tag > TagLevel {
		return f, fmt.Errorf("marketdata: tag 0x%02x is not of a topic; those are 0x50 to 0x52", tag)
	}
	if len(body) != BodySize {
		return f, fmt.Errorf("marketdata: body of frame 0x%02x has %d bytes, must have %d", tag, len(body),
			BodySize)
	}
	le := binary.LittleEndian
	f = Frame{Tag: tag, Seq: le.Uint64(body), Instrument: le.Uint32(body[8:]),
		Count: le.Uint32(body[12:]), Price: int64(le.Uint64(body[16:])), Quantity: le.Uint64(body[24:]),
		Side: Side(body[32])}
	switch {
	case f.Side != Buy && f.Side != Sell:
		return f, fmt.Errorf("marketdata: side of frame 0x%02x is %d, must be 1 or 2", tag, f.Side)
	case tag == TagTrade && (f.Count == 0 || f.Quantity == 0):
		return f, fmt.Errorf("marketdata: trade %d of event %d has quantity %d; neither may be 0", f.Count,
			f.Seq, f.Quantity)
	case tag == TagTrade:
	case f.Quantity < uint64(f.Count) || f.Count == 0 && f.Quantity > 0:
		return f, fmt.Errorf("marketdata: %d orders at price %d have quantity %d", f.Count, f.Price, f.Quantity)
	case tag == TagQuote && f.Count == 0 && f.Price != 0:
		return f, fmt.Errorf("marketdata: empty side has price %d, must be 0", f.Price)
	}
	return f, nil
}

// Level is one price of a side: the orders there and what is open of them. Orders is 0 for none.
type Level struct {
	Price    int64
	Quantity uint64
	Orders   uint32
}

// better reports whether a price comes before another one on a side.
func (s Side) better(a, b int64) bool {
	if s == Buy {
		return a > b
	}
	return a < b
}

func (s Side) index() int { return int(s - Buy) }

// crossed reports whether a bid and an ask would have traded.
func crossed(bid, ask Level) bool { return bid.Orders > 0 && ask.Orders > 0 && bid.Price >= ask.Price }
