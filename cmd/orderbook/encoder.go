package orderbook

import (
	"encoding/binary"
	"fmt"
)

// Encoder encodes reports and answers as frames. It implements
// encode.Encoder[Report, Answer]. It has no state and is safe from any goroutine.
type Encoder struct{}

// MaxFrame is the size of the largest response frame in bytes, including the length prefix.
const MaxFrame = 4 + 1 + 66

// responseSize returns the exact size of a response body in bytes. It reports false for an
// unknown tag.
func responseSize(tag uint8) (int, bool) {
	switch tag {
	case TagAccepted:
		return 32, true
	case TagRejected:
		return 34, true
	case TagFill:
		return 66, true
	case TagCancelled:
		return 49, true
	case TagReplaced:
		return 65, true
	case TagTopOfBook:
		return 52, true
	case TagPosition:
		return 64, true
	}
	return 0, false
}

// AppendReport appends the whole frame of r. A Tag that is not a report's is an error.
func (Encoder) AppendReport(dst []byte, r *Report) ([]byte, error) {
	size, ok := responseSize(r.Tag)
	if !ok || r.Tag >= TagTopOfBook {
		return dst, fmt.Errorf("orderbook: report has tag 0x%02x; reports are 0x30 to 0x34", r.Tag)
	}
	le := binary.LittleEndian
	dst = append(le.AppendUint32(dst, uint32(1+size)), r.Tag)
	dst = le.AppendUint64(dst, r.Seq)
	dst = le.AppendUint64(dst, r.Account)
	dst = le.AppendUint64(dst, r.ClientOrderID)
	dst = le.AppendUint64(dst, r.OrderID)
	switch r.Tag {
	case TagRejected:
		dst = append(dst, r.Request, byte(r.Reason))
	case TagFill:
		dst = le.AppendUint32(dst, r.Instrument)
		dst = le.AppendUint32(dst, r.Trade)
		dst = le.AppendUint64(dst, uint64(r.Price))
		dst = le.AppendUint64(dst, r.Quantity)
		dst = le.AppendUint64(dst, r.Open)
		dst = append(dst, byte(r.Side), byte(r.Liquidity))
	case TagCancelled:
		dst = le.AppendUint64(dst, r.Command)
		dst = le.AppendUint64(dst, r.Quantity)
		dst = append(dst, byte(r.Reason))
	case TagReplaced:
		dst = le.AppendUint64(dst, r.Command)
		dst = le.AppendUint64(dst, uint64(r.Price))
		dst = le.AppendUint64(dst, r.Quantity)
		dst = le.AppendUint64(dst, r.Open)
		kept := byte(0)
		if r.KeptPriority {
			kept = 1
		}
		dst = append(dst, kept)
	}
	return dst, nil
}

// AppendQuery appends the whole frame of q. An Answer whose Tag is no answer's is an error.
func (Encoder) AppendQuery(dst []byte, q *Answer) ([]byte, error) {
	size, _ := responseSize(q.Tag)
	le := binary.LittleEndian
	switch q.Tag {
	case TagTopOfBook:
		dst = append(le.AppendUint32(dst, uint32(1+size)), q.Tag)
		dst = le.AppendUint64(dst, q.Seq)
		dst = le.AppendUint32(dst, q.Instrument)
		for _, quote := range [2]Quote{q.Bid, q.Ask} {
			dst = le.AppendUint64(dst, uint64(quote.Price))
			dst = le.AppendUint64(dst, quote.Quantity)
			dst = le.AppendUint32(dst, quote.Orders)
		}
	case TagPosition:
		dst = append(le.AppendUint32(dst, uint32(1+size)), q.Tag)
		dst = le.AppendUint64(dst, q.Seq)
		dst = le.AppendUint64(dst, q.Account)
		dst = le.AppendUint32(dst, q.Instrument)
		dst = le.AppendUint32(dst, q.OpenOrders)
		dst = le.AppendUint64(dst, uint64(q.Net))
		dst = le.AppendUint64(dst, q.Bought)
		dst = le.AppendUint64(dst, q.Sold)
		dst = le.AppendUint64(dst, q.Accepted)
		dst = le.AppendUint64(dst, q.ClientOrderID)
	default:
		return dst, fmt.Errorf("orderbook: answer has tag 0x%02x; answers are 0x35 and 0x36", q.Tag)
	}
	return dst, nil
}

// DecodeReport reads the body of a response with the given tag into r, every field of
// which is overwritten. For clients.
func DecodeReport(tag uint8, body []byte, r *Report) error {
	size, ok := responseSize(tag)
	if !ok || tag >= TagTopOfBook {
		return fmt.Errorf("orderbook: response tag 0x%02x is no report; reports are 0x30 to 0x34", tag)
	}
	if len(body) != size {
		return fmt.Errorf("orderbook: body of response 0x%02x has %d bytes, must have %d", tag,
			len(body), size)
	}
	le := binary.LittleEndian
	*r = Report{
		Tag: tag, Seq: le.Uint64(body), Account: le.Uint64(body[8:]),
		ClientOrderID: le.Uint64(body[16:]), OrderID: le.Uint64(body[24:]),
	}
	switch tag {
	case TagRejected:
		r.Request, r.Reason = body[32], Reason(body[33])
		if !r.Reason.rejects() {
			return fmt.Errorf("orderbook: reason of a rejection is %d, must be 1 to 10", r.Reason)
		}
	case TagFill:
		r.Instrument, r.Trade = le.Uint32(body[32:]), le.Uint32(body[36:])
		r.Price, r.Quantity, r.Open = int64(le.Uint64(body[40:])), le.Uint64(body[48:]), le.Uint64(body[56:])
		r.Side, r.Liquidity = Side(body[64]), Liquidity(body[65])
		if r.Side != Buy && r.Side != Sell || r.Liquidity != Resting && r.Liquidity != Taking {
			return fmt.Errorf("orderbook: fill has side %d and liquidity %d, each must be 1 or 2",
				r.Side, r.Liquidity)
		}
	case TagCancelled:
		r.Command, r.Quantity, r.Reason = le.Uint64(body[32:]), le.Uint64(body[40:]), Reason(body[48])
		if !r.Reason.cancels() {
			return fmt.Errorf("orderbook: reason of a cancellation is %d, must be 32 to 34", r.Reason)
		}
	case TagReplaced:
		r.Command, r.Price = le.Uint64(body[32:]), int64(le.Uint64(body[40:]))
		r.Quantity, r.Open, r.KeptPriority = le.Uint64(body[48:]), le.Uint64(body[56:]), body[64] == 1
		if body[64] > 1 {
			return fmt.Errorf("orderbook: kept-priority byte is %d, must be 0 or 1", body[64])
		}
	}
	return nil
}

// DecodeAnswer reads the body of a response to a query into q, every field of which is
// overwritten. For clients.
func DecodeAnswer(tag uint8, body []byte, q *Answer) error {
	size, ok := responseSize(tag)
	if !ok || tag < TagTopOfBook {
		return fmt.Errorf("orderbook: response tag 0x%02x is no answer; answers are 0x35 and 0x36", tag)
	}
	if len(body) != size {
		return fmt.Errorf("orderbook: body of response 0x%02x has %d bytes, must have %d", tag,
			len(body), size)
	}
	le := binary.LittleEndian
	*q = Answer{Tag: tag, Seq: le.Uint64(body)}
	if tag == TagTopOfBook {
		q.Instrument = le.Uint32(body[8:])
		q.Bid = Quote{int64(le.Uint64(body[12:])), le.Uint64(body[20:]), le.Uint32(body[28:])}
		q.Ask = Quote{int64(le.Uint64(body[32:])), le.Uint64(body[40:]), le.Uint32(body[48:])}
		return nil
	}
	q.Account = le.Uint64(body[8:])
	q.Instrument, q.OpenOrders = le.Uint32(body[16:]), le.Uint32(body[20:])
	q.Net, q.Bought, q.Sold = int64(le.Uint64(body[24:])), le.Uint64(body[32:]), le.Uint64(body[40:])
	q.Accepted, q.ClientOrderID = le.Uint64(body[48:]), le.Uint64(body[56:])
	return nil
}
