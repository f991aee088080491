package orderbook

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot, little-endian (docs/orderbook.md has the records):
//
//	magic "OBSN", version u32, length u64 of the payload, payload, CRC-32C u32 of all before
//
// The payload has no derived values. Restore rebuilds indexes, level quantities and open
// quantities, so these cannot disagree with the payload.
const (
	snapshotMagic   = "OBSN"
	snapshotVersion = 4
	snapshotHeader  = 4 + 4 + 8
	snapshotChunk   = 64 << 10 // bytes per read or write

	configSize     = 7*8 + limitsSize
	accountSize    = 6*8 + 4
	outcomeSize    = 3*8 + 2
	fillSize       = 6*8 + 2*4 + 2
	instrumentSize = 4
	positionSize   = 2*4 + 2*8
	levelSize      = 8 + 4
	orderSize      = 6*8 + 2*4
)

// castagnoli returns the table of CRC-32C, which the standard library caches.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (c Config) words() [7]uint64 {
	return [7]uint64{uint64(c.MaxInstruments), uint64(c.MaxAccounts), uint64(c.MaxPositions),
		uint64(c.MaxOrders), uint64(c.MaxLevels), c.MaxQuantity, uint64(c.MaxTrades)}
}

// payloadSize returns the exact size of the payload of a snapshot in bytes.
func (s *state) payloadSize() uint64 {
	levels, outcomes, fills := 0, 0, 0
	for i := range s.accounts {
		outcomes += len(s.accounts[i].outcomes.values)
		fills += len(s.accounts[i].fills.values)
	}
	for i := range s.instruments {
		levels += len(s.instruments[i].sides[0].levels) + len(s.instruments[i].sides[1].levels)
	}
	return uint64(configSize + 2*8 + 4*4 + len(s.accounts)*accountSize +
		outcomes*outcomeSize + fills*fillSize + len(s.connections.cancelling())*8 +
		len(s.instruments)*(instrumentSize+2*4) + len(s.positions)*positionSize +
		levels*levelSize + s.orders.count*orderSize)
}

// Snapshot writes the whole state. The bytes depend only on the state, not on its history.
// An error is from w.
func (b *Book) Snapshot(w io.Writer) error {
	s := &snapshotWriter{w: w, buf: make([]byte, 0, snapshotChunk+8)}
	s.buf = append(s.buf, snapshotMagic...)
	s.u32(snapshotVersion)
	s.u64(b.payloadSize())
	for _, word := range b.config.words() {
		s.u64(word)
	}
	for _, limit := range b.limits.fields() {
		s.u32(*limit)
	}
	s.u64(b.seq)
	s.u64(uint64(b.time))
	s.u32(uint32(len(b.accounts)))
	for i := range b.accounts {
		s.account(&b.accounts[i])
	}
	s.u32(uint32(len(b.instruments)))
	for i := range b.instruments {
		s.u32(b.instruments[i].id)
	}
	s.u32(uint32(len(b.positions)))
	for i := range b.positions {
		p := &b.positions[i]
		s.u32(p.account)
		s.u32(p.instrument)
		s.u64(p.traded[0])
		s.u64(p.traded[1])
	}
	for i := range b.instruments {
		s.ladder(&b.orders, Buy, &b.instruments[i])
		s.ladder(&b.orders, Sell, &b.instruments[i])
	}
	cancelling := b.connections.cancelling()
	s.u32(uint32(len(cancelling)))
	for _, id := range cancelling {
		s.u64(id)
	}
	s.flush() // so that the sum includes everything
	s.u32(s.sum)
	s.flush()
	if s.err != nil {
		return fmt.Errorf("orderbook: writing a snapshot: %w", s.err)
	}
	return nil
}

// snapshotWriter buffers bytes, and sums and writes them in chunks. It keeps the first
// error.
type snapshotWriter struct {
	w   io.Writer
	buf []byte
	sum uint32
	err error
}

func (s *snapshotWriter) u32(v uint32) {
	s.buf = binary.LittleEndian.AppendUint32(s.buf, v)
	if len(s.buf) >= snapshotChunk {
		s.flush()
	}
}

func (s *snapshotWriter) u64(v uint64) {
	s.buf = binary.LittleEndian.AppendUint64(s.buf, v)
	if len(s.buf) >= snapshotChunk {
		s.flush()
	}
}

func (s *snapshotWriter) flush() {
	s.sum = crc32.Update(s.sum, castagnoli(), s.buf)
	if s.err == nil {
		_, s.err = s.w.Write(s.buf)
	}
	s.buf = s.buf[:0]
}

func (s *snapshotWriter) u8(v uint8) { s.buf = append(s.buf, v) } // the next u64 flushes

// account writes an account and its history.
func (s *snapshotWriter) account(a *account) {
	for _, v := range [...]uint64{a.id, a.last, a.accepted, a.outcomes.total, a.fills.total,
		a.lost.event} {
		s.u64(v)
	}
	s.u32(a.lost.trade)
	for n := a.outcomes.first(); n < a.outcomes.total; n++ {
		o := a.outcomes.get(n)
		s.u64(o.client)
		s.u64(o.event)
		s.u64(o.order)
		s.u8(o.request)
		s.u8(uint8(o.reason))
	}
	for n := a.fills.first(); n < a.fills.total; n++ {
		f := a.fills.get(n)
		for _, v := range [...]uint64{f.event, f.client, f.order, uint64(f.price), f.quantity, f.open} {
			s.u64(v)
		}
		s.u32(f.instrument)
		s.u32(f.trade)
		s.u8(uint8(f.side))
		s.u8(uint8(f.liquidity))
	}
}

// ladder writes the levels of a side, best first, each with its orders, oldest first.
func (s *snapshotWriter) ladder(orders *orders, side Side, i *instrument) {
	levels := i.sides[side.index()].levels
	s.u32(uint32(len(levels)))
	for at := len(levels) - 1; at >= 0; at-- {
		l := &levels[at]
		s.u64(uint64(side.price(l.key)))
		s.u32(l.count)
		for slot := l.head; slot != 0; slot = orders.slots[slot].next {
			o := &orders.slots[slot]
			s.u64(o.id)
			s.u64(o.client)
			s.u64(o.conn)
			s.u64(o.open)
			s.u64(o.total)
			s.u64(uint64(o.expiry))
			s.u32(o.position)
			s.u32(o.identity)
		}
	}
}
