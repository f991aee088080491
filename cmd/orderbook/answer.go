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
	TagLimitUse   uint8 = 0x47
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

// begin writes what an answer begins with. It returns the body, to be filled in.
func (a *Answer) begin(tag uint8, size int, seq, second uint64) []byte {
	a.size = uint8(responseHeader + size)
	le := binary.LittleEndian
	le.PutUint32(a.frame[:], uint32(1+size))
	a.frame[4] = tag
	body := a.frame[responseHeader:][:size]
	le.PutUint64(body, seq)
	le.PutUint64(body[8:], second)
	return body
}

func (v *TopOfBook) encode(a *Answer) {
	le := binary.LittleEndian
	b := a.begin(TagTopOfBook, 52, v.Seq, uint64(v.Instrument)) // the bid begins at 12
	for i, q := range [2]*Quote{&v.Bid, &v.Ask} {
		side := b[12+20*i:]
		le.PutUint64(side, uint64(q.Price))
		le.PutUint64(side[8:], q.Quantity)
		le.PutUint32(side[16:], q.Orders)
	}
}

func (v *Position) encode(a *Answer) {
	le := binary.LittleEndian
	b := a.begin(TagPosition, 64, v.Seq, v.Account)
	le.PutUint32(b[16:], v.Instrument)
	le.PutUint32(b[20:], v.OpenOrders)
	le.PutUint64(b[24:], uint64(v.Net()))
	le.PutUint64(b[32:], v.Bought)
	le.PutUint64(b[40:], v.Sold)
	le.PutUint64(b[48:], v.Accepted)
	le.PutUint64(b[56:], v.LastID)
}

func (v *OpenOrder) encode(a *Answer) {
	le := binary.LittleEndian
	b := a.begin(TagOpenOrder, 70, v.Seq, v.Account)
	le.PutUint64(b[16:], v.ClientOrderID)
	le.PutUint64(b[24:], v.OrderID)
	le.PutUint32(b[32:], v.Instrument)
	b[36], b[37] = byte(v.Side), byte(v.TimeInForce)
	le.PutUint64(b[38:], uint64(v.Price))
	le.PutUint64(b[46:], v.Open)
	le.PutUint64(b[54:], v.Quantity)
	le.PutUint64(b[62:], uint64(v.Expiry))
}

func (v *OpenOrders) encode(a *Answer) {
	b := a.begin(TagOpenOrders, 21, v.Seq, v.Account)
	binary.LittleEndian.PutUint32(b[16:], v.Count)
	b[20] = bit(v.More)
}

func (v *Outcome) encode(a *Answer) {
	le := binary.LittleEndian
	b := a.begin(TagOutcome, 43, v.Seq, v.Account)
	le.PutUint64(b[16:], v.Command)
	le.PutUint64(b[24:], v.Event)
	le.PutUint64(b[32:], v.OrderID)
	b[40], b[41], b[42] = byte(v.Status), v.Request, byte(v.Reason)
}

func (v *Fills) encode(a *Answer) {
	b := a.begin(TagFills, 22, v.Seq, v.Account)
	binary.LittleEndian.PutUint32(b[16:], v.Count)
	b[20], b[21] = bit(v.More), bit(v.Dropped)
}

// encodePast makes the answer PastFill of a report.
func encodePast(r *Report, a *Answer) {
	r.Tag = TagPastFill
	a.size = uint8(len(r.append(a.frame[:0], 66)))
}
