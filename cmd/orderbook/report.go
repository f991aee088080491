package orderbook

import "fmt"

// Tags of reports.
const (
	TagAccepted           uint8 = 0x30
	TagRejected           uint8 = 0x31
	TagFill               uint8 = 0x32
	TagCancelled          uint8 = 0x33
	TagReplaced           uint8 = 0x34
	TagCancelOnDisconnect uint8 = 0x35
	TagLimitsRaised       uint8 = 0x36
)

// Reason is why a command was rejected (below 32) or an order cancelled (from 32).
type Reason uint8

const (
	Duplicate          Reason = 1 // client order id not above the account's last
	UnknownOrder       Reason = 2 // the account has no such open order
	BadQuantity        Reason = 3 // 0 or above Config.MaxQuantity
	AlreadyExecuted    Reason = 4 // replace to a total that is already executed
	PositionLimit      Reason = 5 // the quantity bought or sold could exceed 1<<62
	TooManyAccounts    Reason = 6 // Limits, as the next four
	TooManyInstruments Reason = 7
	TooManyPositions   Reason = 8
	TooManyOrders      Reason = 9
	TooManyLevels      Reason = 10
	BadExpiry          Reason = 11 // not after the time of the event
	TooFarAhead        Reason = 12 // client order id more than 1<<32 above the account's last
	BadLimit           Reason = 13 // lower than the limit in force, or more orders than quantities can be added up for

	Requested    Reason = 32 // by a Cancel
	Unfilled     Reason = 33 // rest of an immediate-or-cancel or market order
	SelfTrade    Reason = 34 // an order of the same account would have traded with it
	Expired      Reason = 35 // good till date
	Disconnected Reason = 36 // its connection ended and had cancel on disconnect
	TooDeep      Reason = 37 // rest of an order that met Config.MaxTrades orders with one command, and would meet more
)

// String returns the reason in words, for logs and clients.
func (r Reason) String() string {
	switch r {
	case Duplicate:
		return "client order id is not above the last one of the account"
	case UnknownOrder:
		return "the account has no such open order"
	case BadQuantity:
		return "quantity is zero or above the limit"
	case AlreadyExecuted:
		return "the quantity is already executed"
	case PositionLimit:
		return "position limit"
	case TooManyAccounts:
		return "too many accounts"
	case TooManyInstruments:
		return "too many instruments"
	case TooManyPositions:
		return "too many positions"
	case TooManyOrders:
		return "too many open orders"
	case TooManyLevels:
		return "too many price levels"
	case BadExpiry:
		return "the expiry is not in the future"
	case TooFarAhead:
		return "client order id is too far above the last one of the account"
	case BadLimit:
		return "a limit is lower than the one in force, or too high"
	case Requested:
		return "requested"
	case Unfilled:
		return "nothing left to trade with"
	case SelfTrade:
		return "self-trade prevention"
	case Expired:
		return "expired"
	case Disconnected:
		return "its connection ended"
	case TooDeep:
		return "it has met as many orders as one command may; enter the rest again"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

func (r Reason) rejects() bool { return r >= Duplicate && r <= BadLimit }
func (r Reason) cancels() bool { return r >= Requested && r <= TooDeep }

// Liquidity is the side of a trade that an order was on.
type Liquidity uint8

const (
	Resting Liquidity = 1 // the order was in the book
	Taking  Liquidity = 2 // the order arrived
)

// Report is one output of a journaled event. Tag determines the message (Accepted, Rejected,
// Fill, Cancelled, Replaced, CancelOnDisconnect, LimitsRaised) and the fields that it uses; the others are
// zero. It is also the answer PastFill, with the fields of a Fill, and a frame for the subscribers of
// a topic: it then has a tag of package marketdata, Seq, Price, Quantity, Instrument, Side, and the
// Count of a marketdata.Frame in Trade.
type Report struct {
	Seq           uint64 // journal sequence number of the event that caused it
	Account       uint64
	ClientOrderID uint64 // id of the order; Rejected: id of the command
	OrderID       uint64 // sequence number of the New that created the order; Rejected: 0 if no order is named
	Command       uint64 // Cancelled, Replaced: ClientOrderID of the command; 0 if no command of the account caused it
	Price         int64  // Fill: price of the trade in ticks; Replaced: new limit
	Quantity      uint64 // Fill: traded; Cancelled: cancelled; Replaced: new total
	Open          uint64 // Fill, Replaced: open quantity after this message of the event
	Instrument    uint32 // Fill
	Trade         uint32 // Fill: number of the trade within the event, from 1; equal on both sides
	Tag           uint8
	Request       uint8 // Rejected: tag of the request
	Reason        Reason
	Side          Side      // Fill
	Liquidity     Liquidity // Fill
	KeptPriority  bool      // Replaced
	On            bool      // CancelOnDisconnect
}

// Unasked reports whether the report is about a resting order that the command which caused
// it did not name: a fill of the resting side, or a cancel that the account did not request.
// Such a report is not part of the response to a command, even if it arrives with one.
func (r *Report) Unasked() bool {
	return r.Tag == TagFill && r.Liquidity == Resting ||
		r.Tag == TagCancelled && r.Reason >= SelfTrade && r.Reason <= Disconnected
}
