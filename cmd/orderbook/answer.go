package orderbook

import (
	"encoding/binary"
	"fmt"
)

// Tags of answers to queries.
const (
	TagTopOfBook  uint8 = 0x40
	TagPosition   uint8 = 0x41
	TagOpenOrder  uint8 = 0x42
	TagOpenOrders uint8 = 0x43
	TagOutcome    uint8 = 0x44
	TagPastFill   uint8 = 0x45
	TagFills      uint8 = 0x46
)

// Answer is the output of a query: one frame, already encoded. The answers have few fields in
// common, so a struct with all of them would be twice as large, and a query costs no more
// when it writes the bytes at once.
type Answer struct {
	size  uint8
	frame [MaxFrame]byte
}

// Frame returns the frame, including the length prefix. It belongs to the answer.
func (a *Answer) Frame() []byte { return a.frame[:a.size] }

// AppendQuery appends the frame of an answer. An answer without one is an error.
func (Encoder) AppendQuery(dst []byte, a *Answer) ([]byte, error) {
	if a.size == 0 {
		return dst, fmt.Errorf("orderbook: the answer is empty; Book.Query fills in every answer")
	}
	return append(dst, a.frame[:a.size]...), nil
}

// Quote is the best price of one side. Orders is 0 if the side is empty.
type Quote struct {
	Price    int64
	Quantity uint64
	Orders   uint32
}

// TopOfBook is the answer to QueryTop.
type TopOfBook struct {
	Seq        uint64 // last event that the answer takes into account
	Instrument uint32
	Bid, Ask   Quote
}

// Position is the answer to QueryPosition.
type Position struct {
	Seq        uint64 // last event that the answer takes into account
	Account    uint64
	Instrument uint32
	OpenOrders uint32 // of the account in the instrument
	Bought     uint64 // quantity ever bought in the instrument
	Sold       uint64
	Accepted   uint64 // number of accepted New orders of the account in all instruments
	LastID     uint64 // last client order id that the account has used
}

// Net returns what was bought minus what was sold.
func (p *Position) Net() int64 { return int64(p.Bought) - int64(p.Sold) }

// OpenOrder is one of the answers to QueryOpenOrders.
type OpenOrder struct {
	Seq           uint64 // last event that the answer takes into account
	Account       uint64
	ClientOrderID uint64
	OrderID       uint64
	Instrument    uint32
	Side          Side
	TimeInForce   TimeInForce
	Price         int64
	Open          uint64
	Quantity      uint64 // total, including the executed part
	Expiry        int64  // ns since 1970; 0 unless good till date
}

// OpenOrders is the last answer to QueryOpenOrders.
type OpenOrders struct {
	Seq     uint64 // last event that the answer takes into account
	Account uint64
	Count   uint32 // OpenOrder answers before this one
	More    bool   // further orders follow
}

// Status is what a command did.
type Status uint8

const (
	StatusAccepted  Status = 1 // a New
	StatusRejected  Status = 2
	StatusCancelled Status = 3 // a Cancel
	StatusReplaced  Status = 4 // a Replace
	StatusUnknown   Status = 5 // id above the last one of the account: not executed
	StatusNotUsed   Status = 6 // the account used a higher id and not this one
	StatusTooOld    Status = 7 // no longer kept
)

// String returns the status in words.
func (s Status) String() string {
	names := [...]string{StatusAccepted: "accepted", StatusRejected: "rejected",
		StatusCancelled: "cancelled", StatusReplaced: "replaced", StatusUnknown: "unknown",
		StatusNotUsed: "not used", StatusTooOld: "too old"}
	if s == 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", uint8(s))
	}
	return names[s]
}

// Outcome is the answer to QueryOutcome.
type Outcome struct {
	Seq     uint64 // last event that the answer takes into account
	Account uint64
	Command uint64 // client order id of the command
	Event   uint64 // that executed it; 0 if it is not known
	OrderID uint64 // 0 for none
	Status  Status
	Request uint8  // tag of the command; 0 if it is not known
	Reason  Reason // only of a rejected command
}

// Fills is the last answer to QueryFills. Those before it are Reports with TagPastFill.
type Fills struct {
	Seq     uint64 // last event that the answer takes into account
	Account uint64
	Count   uint32 // PastFill answers before this one
	More    bool   // further fills follow
	Dropped bool   // fills behind the one that was named are no longer kept
}

// begin writes the fields that answers begin with.
func (a *Answer) begin(tag uint8, seq uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(a.frame[:0], 0, 0, 0, 0, tag), seq)
}

// end completes a frame, which is in a.frame.
func (a *Answer) end(frame []byte) {
	a.size = uint8(len(frame))
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-4))
}

func (v *TopOfBook) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint32(a.begin(TagTopOfBook, v.Seq), v.Instrument)
	for _, q := range [2]*Quote{&v.Bid, &v.Ask} {
		b = le.AppendUint64(b, uint64(q.Price))
		b = le.AppendUint64(b, q.Quantity)
		b = le.AppendUint32(b, q.Orders)
	}
	a.end(b)
}

func (v *Position) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint64(a.begin(TagPosition, v.Seq), v.Account)
	b = le.AppendUint32(b, v.Instrument)
	b = le.AppendUint32(b, v.OpenOrders)
	b = le.AppendUint64(b, uint64(v.Net()))
	b = le.AppendUint64(b, v.Bought)
	b = le.AppendUint64(b, v.Sold)
	b = le.AppendUint64(b, v.Accepted)
	a.end(le.AppendUint64(b, v.LastID))
}

func (v *OpenOrder) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint64(a.begin(TagOpenOrder, v.Seq), v.Account)
	b = le.AppendUint64(b, v.ClientOrderID)
	b = le.AppendUint64(b, v.OrderID)
	b = append(le.AppendUint32(b, v.Instrument), byte(v.Side), byte(v.TimeInForce))
	b = le.AppendUint64(b, uint64(v.Price))
	b = le.AppendUint64(b, v.Open)
	b = le.AppendUint64(b, v.Quantity)
	a.end(le.AppendUint64(b, uint64(v.Expiry)))
}

func (v *OpenOrders) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint64(a.begin(TagOpenOrders, v.Seq), v.Account)
	a.end(append(le.AppendUint32(b, v.Count), bit(v.More)))
}

func (v *Outcome) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint64(a.begin(TagOutcome, v.Seq), v.Account)
	b = le.AppendUint64(b, v.Command)
	b = le.AppendUint64(b, v.Event)
	b = le.AppendUint64(b, v.OrderID)
	a.end(append(b, byte(v.Status), v.Request, byte(v.Reason)))
}

func (v *Fills) encode(a *Answer) {
	le := binary.LittleEndian
	b := le.AppendUint64(a.begin(TagFills, v.Seq), v.Account)
	a.end(append(le.AppendUint32(b, v.Count), bit(v.More), bit(v.Dropped)))
}

// encodePast makes the answer PastFill of a report.
func encodePast(r *Report, a *Answer) {
	r.Tag = TagPastFill
	a.end(r.append(a.frame[:0], 66))
}
