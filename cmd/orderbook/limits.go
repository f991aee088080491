package orderbook

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"sluice/actors/sequencer"
)

// Limits bound what the book has room for. They are state: Config has their first values, and an operator
// raises them with RaiseLimits, which is an event as any command. They are never lowered.
type Limits struct {
	Instruments uint32
	Accounts    uint32
	Positions   uint32 // pairs of account and instrument
	Orders      uint32 // open orders
	Levels      uint32 // prices per side of an instrument
}

const (
	limitCount = 5
	limitsSize = limitCount * 4
)

func (l *Limits) fields() [limitCount]*uint32 {
	return [limitCount]*uint32{&l.Instruments, &l.Accounts, &l.Positions, &l.Orders, &l.Levels}
}

// LimitNames returns the names of the limits, in the order of Limits.
func LimitNames() [limitCount]string {
	return [limitCount]string{"instruments", "accounts", "positions", "orders", "levels"}
}

// Named returns the limit with a name of LimitNames, nil for any other name.
func (l *Limits) Named(name string) *uint32 {
	for i, known := range LimitNames() {
		if known == name {
			return l.fields()[i]
		}
	}
	return nil
}

func (l Limits) append(dst []byte) []byte {
	for _, f := range l.fields() {
		dst = binary.LittleEndian.AppendUint32(dst, *f)
	}
	return dst
}

func decodeLimits(b []byte) (l Limits) {
	for i, f := range l.fields() {
		*f = binary.LittleEndian.Uint32(b[4*i:])
	}
	return l
}

// validate rejects limits that no book can have.
func (l Limits) validate() error {
	for i, f := range l.fields() {
		if *f > limitMax {
			return fmt.Errorf("orderbook: limit %s is %d, must be at most %d", LimitNames()[i], *f, limitMax)
		}
	}
	return nil
}

// raised returns the limits with the values of to that are not 0, and whether none is lower than before and
// the quantity of a level still fits.
func (l Limits) raised(to Limits, quantity uint64) (Limits, bool) {
	values := to.fields()
	for i, f := range l.fields() {
		if v := *values[i]; v != 0 {
			if v < *f {
				return l, false
			}
			*f = v
		}
	}
	return l, fits(quantity, uint64(l.Orders))
}

// fits reports whether the open quantity of a level, at most that of all open orders, fits its type.
func fits(quantity, orders uint64) bool {
	high, low := bits.Mul64(quantity, orders)
	return high == 0 && low <= 1<<63
}

func (c *Config) limits() Limits {
	return Limits{uint32(c.MaxInstruments), uint32(c.MaxAccounts), uint32(c.MaxPositions), uint32(c.MaxOrders),
		uint32(c.MaxLevels)}
}

// used is what the book uses of its limits. Of levels it is the side with the most.
func (b *Book) used() Limits {
	l := Limits{uint32(len(b.instruments)), uint32(len(b.accounts)), uint32(len(b.positions)),
		uint32(b.orders.count), 0}
	for i := range b.instruments {
		for _, side := range b.instruments[i].sides {
			l.Levels = max(l.Levels, uint32(len(side.levels)))
		}
	}
	return l
}

// Limits implements sequencer.Limited.
func (*Book) Limits() []string {
	names := LimitNames()
	return names[:]
}

// Use implements sequencer.Limited.
func (b *Book) Use(of []sequencer.Use) {
	used := b.used()
	for i, f := range used.fields() {
		of[i] = sequencer.Use{Used: uint64(*f), Limit: uint64(*b.limits.fields()[i])}
	}
}

// raise executes a RaiseLimits.
func (e *event) raise() {
	to, ok := e.limits.raised(e.cmd.Limits, e.config.MaxQuantity)
	if !ok {
		e.rejected(BadLimit, 0)
		return
	}
	e.limits = to
	e.report(TagLimitsRaised, e.conn)
}

// LimitUse is the answer to QueryLimits.
type LimitUse struct {
	Seq         uint64 // last event that the answer takes into account
	Used, Limit Limits // Used.Levels: of the side with the most
}

func (v *LimitUse) encode(a *Answer) {
	le := binary.LittleEndian
	b := a.begin(TagLimitUse, 8+2*limitsSize, v.Seq, uint64(v.Used.Instruments)|uint64(v.Limit.Instruments)<<32)
	used, limit := v.Used.fields(), v.Limit.fields()
	for i := range used {
		le.PutUint32(b[8+8*i:], *used[i])
		le.PutUint32(b[12+8*i:], *limit[i])
	}
}

func decodeLimitUse(body []byte) (v LimitUse, err error) {
	if err := sized(TagLimitUse, body, 8+2*limitsSize); err != nil {
		return v, err
	}
	le := binary.LittleEndian
	v.Seq = le.Uint64(body)
	used, limit := v.Used.fields(), v.Limit.fields()
	for i := range used {
		*used[i], *limit[i] = le.Uint32(body[8+8*i:]), le.Uint32(body[12+8*i:])
	}
	return v, nil
}
