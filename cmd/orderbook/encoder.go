package orderbook

import (
	"encoding/binary"
	"fmt"

	"sluice/cmd/orderbook/marketdata"
)

// Encoder encodes reports and answers as frames. It implements
// encode.Encoder[Report, Answer]. It has no state and is safe from any goroutine.
type Encoder struct{}

const responseHeader = 4 + 1 // len, tag

// MaxFrame is the size of the largest response frame in bytes, including the length prefix.
const MaxFrame = responseHeader + 70

// reportSize returns the exact size of the body of a report in bytes. It reports false for
// an unknown tag.
func reportSize(tag uint8) (int, bool) {
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
	case TagCancelOnDisconnect:
		return 9, true
	case TagLimitsRaised:
		return 8, true
	}
	return 0, false
}

// AppendReport appends the whole frame of r, which may be that of a topic. A Tag that is neither a
// report's nor a topic's is an error.
func (Encoder) AppendReport(dst []byte, r *Report) ([]byte, error) {
	size, ok := reportSize(r.Tag)
	if !ok && r.Tag >= marketdata.TagQuote && r.Tag <= marketdata.TagLevel {
		f := r.topicFrame()
		return f.Append(dst), nil
	}
	if !ok {
		return dst, fmt.Errorf("orderbook: report has tag 0x%02x; reports are 0x30 to 0x36, "+
			"frames of topics 0x50 to 0x52", r.Tag)
	}
	return r.append(dst, size), nil
}

// append appends the frame of a report or of a PastFill, whose body has the given size.
func (r *Report) append(dst []byte, size int) []byte {
	le := binary.LittleEndian
	dst = append(le.AppendUint32(dst, uint32(1+size)), r.Tag)
	dst = le.AppendUint64(dst, r.Seq)
	switch r.Tag {
	case TagCancelOnDisconnect:
		return append(dst, bit(r.On))
	case TagLimitsRaised:
		return dst
	}
	dst = le.AppendUint64(dst, r.Account)
	dst = le.AppendUint64(dst, r.ClientOrderID)
	dst = le.AppendUint64(dst, r.OrderID)
	switch r.Tag {
	case TagRejected:
		dst = append(dst, r.Request, byte(r.Reason))
	case TagFill, TagPastFill:
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
		dst = append(dst, bit(r.KeptPriority))
	}
	return dst
}

// IsReport reports whether a response with this tag is a report, which an event caused. Other
// responses of the book are answers to queries.
func IsReport(tag uint8) bool { return tag >= TagAccepted && tag <= TagLimitsRaised }

// DecodeReport reads the body of a report with the given tag into r, every field of which is
// overwritten. For clients.
func DecodeReport(tag uint8, body []byte, r *Report) error {
	size, ok := reportSize(tag)
	if !ok {
		return fmt.Errorf("orderbook: response tag 0x%02x is no report; reports are 0x30 to 0x36", tag)
	}
	return r.decode(tag, body, size)
}

func sized(tag uint8, body []byte, size int) error {
	if len(body) != size {
		return fmt.Errorf("orderbook: body of response 0x%02x has %d bytes, must have %d", tag,
			len(body), size)
	}
	return nil
}

// boolean reads a byte that is 0 or 1.
func boolean(what string, b byte) (bool, error) {
	if b > 1 {
		return false, fmt.Errorf("orderbook: %s is %d, must be 0 or 1", what, b)
	}
	return b == 1, nil
}

func (r *Report) decode(tag uint8, body []byte, size int) (err error) {
	if err := sized(tag, body, size); err != nil {
		return err
	}
	le := binary.LittleEndian
	*r = Report{Tag: tag, Seq: le.Uint64(body)}
	switch tag {
	case TagCancelOnDisconnect:
		r.On, err = boolean("cancel on disconnect", body[8])
		return err
	case TagLimitsRaised:
		return nil
	}
	r.Account, r.ClientOrderID, r.OrderID = le.Uint64(body[8:]), le.Uint64(body[16:]), le.Uint64(body[24:])
	switch tag {
	case TagRejected:
		r.Request, r.Reason = body[32], Reason(body[33])
		if !r.Reason.rejects() {
			return fmt.Errorf("orderbook: reason of a rejection is %d, must be 1 to 13", r.Reason)
		}
	case TagFill, TagPastFill:
		r.Instrument, r.Trade = le.Uint32(body[32:]), le.Uint32(body[36:])
		r.Price, r.Quantity, r.Open = int64(le.Uint64(body[40:])), le.Uint64(body[48:]), le.Uint64(body[56:])
		r.Side, r.Liquidity = Side(body[64]), Liquidity(body[65])
		if !r.Side.valid() || r.Liquidity != Resting && r.Liquidity != Taking {
			return fmt.Errorf("orderbook: fill has side %d and liquidity %d, each must be 1 or 2",
				r.Side, r.Liquidity)
		}
	case TagCancelled:
		r.Command, r.Quantity, r.Reason = le.Uint64(body[32:]), le.Uint64(body[40:]), Reason(body[48])
		if !r.Reason.cancels() {
			return fmt.Errorf("orderbook: reason of a cancellation is %d, must be 32 to 37", r.Reason)
		}
	case TagReplaced:
		r.Command, r.Price = le.Uint64(body[32:]), int64(le.Uint64(body[40:]))
		r.Quantity, r.Open = le.Uint64(body[48:]), le.Uint64(body[56:])
		r.KeptPriority, err = boolean("kept priority", body[64])
	}
	return err
}
