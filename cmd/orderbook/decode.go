package orderbook

import (
	"encoding/binary"
	"fmt"
)

// DecodeAnswer reads the body of an answer with the given tag. It returns a TopOfBook,
// Position, OpenOrder, OpenOrders, Outcome, Fills or LimitUse, or a Report with TagPastFill. For
// clients.
func DecodeAnswer(tag uint8, body []byte) (any, error) {
	switch tag {
	case TagTopOfBook:
		return decodeTop(body)
	case TagPosition:
		return decodePosition(body)
	case TagOpenOrder:
		return decodeOpenOrder(body)
	case TagOpenOrders:
		return decodeOpenOrders(body)
	case TagOutcome:
		return decodeOutcome(body)
	case TagPastFill:
		var r Report
		err := r.decode(tag, body, 66)
		return r, err
	case TagFills:
		return decodeFills(body)
	case TagLimitUse:
		return decodeLimitUse(body)
	}
	return nil, fmt.Errorf("orderbook: response tag 0x%02x is no answer; answers are 0x40 to 0x47", tag)
}

func decodeTop(body []byte) (v TopOfBook, err error) {
	if err := sized(TagTopOfBook, body, 52); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = TopOfBook{Seq: le.Uint64(body), Instrument: le.Uint32(body[8:])}
	v.Bid = Quote{int64(le.Uint64(body[12:])), le.Uint64(body[20:]), le.Uint32(body[28:])}
	v.Ask = Quote{int64(le.Uint64(body[32:])), le.Uint64(body[40:]), le.Uint32(body[48:])}
	return v, nil
}

func decodePosition(body []byte) (v Position, err error) {
	if err := sized(TagPosition, body, 64); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = Position{Seq: le.Uint64(body), Account: le.Uint64(body[8:]),
		Instrument: le.Uint32(body[16:]), OpenOrders: le.Uint32(body[20:]),
		Bought: le.Uint64(body[32:]), Sold: le.Uint64(body[40:]),
		Accepted: le.Uint64(body[48:]), LastID: le.Uint64(body[56:])}
	if net := int64(le.Uint64(body[24:])); net != v.Net() {
		return v, fmt.Errorf("orderbook: net position is %d with %d bought and %d sold", net, v.Bought,
			v.Sold)
	}
	return v, nil
}

func decodeOpenOrder(body []byte) (v OpenOrder, err error) {
	if err := sized(TagOpenOrder, body, 70); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = OpenOrder{Seq: le.Uint64(body), Account: le.Uint64(body[8:]),
		ClientOrderID: le.Uint64(body[16:]), OrderID: le.Uint64(body[24:]),
		Instrument: le.Uint32(body[32:]), Side: Side(body[36]), TimeInForce: TimeInForce(body[37]),
		Price: int64(le.Uint64(body[38:])), Open: le.Uint64(body[46:]),
		Quantity: le.Uint64(body[54:]), Expiry: int64(le.Uint64(body[62:]))}
	if !v.Side.valid() || v.TimeInForce != restingFor(v.Expiry) {
		return v, fmt.Errorf("orderbook: open order has side %d, time in force %d and expiry %d",
			v.Side, v.TimeInForce, v.Expiry)
	}
	return v, nil
}

// restingFor returns the time in force of a resting order.
func restingFor(expiry int64) TimeInForce {
	if expiry != 0 {
		return GoodTillDate
	}
	return GoodTillCancel
}

func decodeOpenOrders(body []byte) (v OpenOrders, err error) {
	if err := sized(TagOpenOrders, body, 21); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = OpenOrders{Seq: le.Uint64(body), Account: le.Uint64(body[8:]), Count: le.Uint32(body[16:])}
	v.More, err = boolean("more", body[20])
	return v, err
}

func decodeOutcome(body []byte) (v Outcome, err error) {
	if err := sized(TagOutcome, body, 43); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = Outcome{Seq: le.Uint64(body), Account: le.Uint64(body[8:]), Command: le.Uint64(body[16:]),
		Event: le.Uint64(body[24:]), OrderID: le.Uint64(body[32:]),
		Status: Status(body[40]), Request: body[41], Reason: Reason(body[42])}
	if v.Status < StatusAccepted || v.Status > StatusTooOld ||
		(v.Status == StatusRejected) != v.Reason.rejects() || v.Reason > TooFarAhead {
		return v, fmt.Errorf("orderbook: outcome is %d with reason %d", v.Status, v.Reason)
	}
	return v, nil
}

func decodeFills(body []byte) (v Fills, err error) {
	if err := sized(TagFills, body, 22); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v = Fills{Seq: le.Uint64(body), Account: le.Uint64(body[8:]), Count: le.Uint32(body[16:])}
	if v.More, err = boolean("more", body[20]); err == nil {
		v.Dropped, err = boolean("dropped", body[21])
	}
	return v, err
}
