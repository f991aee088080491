package orderbook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"sluice/actors/sequencer"
)

// Restore replaces the state by that of a snapshot. It reads exactly the snapshot from r. On
// an error the book is unchanged. The error distinguishes data that is not a snapshot, has
// a newer version, is truncated or damaged, or is from a book with other limits.
func (b *Book) Restore(r io.Reader) error {
	var header [snapshotHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return fmt.Errorf("orderbook: snapshot is truncated in its header: %w", err)
	}
	if magic := string(header[:4]); magic != snapshotMagic {
		return fmt.Errorf("orderbook: not a snapshot of an order book: it begins with %q, not %q",
			magic, snapshotMagic)
	}
	version := binary.LittleEndian.Uint32(header[4:])
	if version < withoutIdentities || version > snapshotVersion {
		return fmt.Errorf("orderbook: snapshot has version %d, this program reads versions %d to %d; "+
			"restore it with the program that wrote it", version, withoutIdentities, snapshotVersion)
	}
	length := binary.LittleEndian.Uint64(header[8:])
	if length > 1<<50 {
		return fmt.Errorf("orderbook: snapshot is damaged: it claims %d bytes", length)
	}
	s := &snapshotReader{
		r: r, unread: length, sum: crc32.Checksum(header[:], castagnoli()), state: newState(b.config.limits()),
		buf: make([]byte, min(length, snapshotChunk)), version: version,
	}
	s.payload(b.config)
	s.index()
	if left := s.unread + uint64(len(s.window)); s.err == nil && left != 0 {
		s.fail("%d bytes are left after the last connection", left)
	}
	if s.err == nil {
		s.checksum()
	}
	if s.err != nil {
		return s.err
	}
	b.state = s.state
	return nil
}

// Older versions of snapshots.
const (
	withoutIdentities = 2 // orders have none
	withoutLimits     = 3 // limits cannot be raised, and trades have none
)

// snapshotReader builds a state. It keeps the first error. After an error it reads zeros, so
// that every loop ends.
type snapshotReader struct {
	r       io.Reader
	version uint32
	unread  uint64 // bytes of the payload that are still in r
	buf     []byte
	window  []byte // part of buf that is read and summed but not yet used
	sum     uint32
	err     error
	*state
}

func (s *snapshotReader) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("orderbook: snapshot is damaged: "+format, args...)
	}
}

func (s *snapshotReader) u8() uint8 {
	if len(s.window) < 1 && !s.refill(1) {
		return 0
	}
	v := s.window[0]
	s.window = s.window[1:]
	return v
}

func (s *snapshotReader) u32() uint32 {
	if len(s.window) < 4 && !s.refill(4) {
		return 0
	}
	v := binary.LittleEndian.Uint32(s.window)
	s.window = s.window[4:]
	return v
}

func (s *snapshotReader) u64() uint64 {
	if len(s.window) < 8 && !s.refill(8) {
		return 0
	}
	v := binary.LittleEndian.Uint64(s.window)
	s.window = s.window[8:]
	return v
}

// refill makes at least n bytes readable. It returns false on an error.
func (s *snapshotReader) refill(n int) bool {
	rest := copy(s.buf, s.window)
	s.window = nil // drops bytes that precede an error
	more := int(min(uint64(len(s.buf)-rest), s.unread))
	if s.err == nil && rest+more < n {
		s.fail("its records exceed the length in its header")
	}
	if s.err != nil {
		return false
	}
	got, err := io.ReadFull(s.r, s.buf[rest:rest+more])
	switch s.unread -= uint64(got); {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.err = fmt.Errorf("orderbook: snapshot is truncated, %d bytes of its payload are missing: %w",
			s.unread, io.ErrUnexpectedEOF)
		return false
	case err != nil:
		s.err = fmt.Errorf("orderbook: reading a snapshot: %w", err)
		return false
	}
	s.sum = crc32.Update(s.sum, castagnoli(), s.buf[rest:rest+more])
	s.window = s.buf[:rest+more]
	return true
}

// count reads a number of records and rejects one above its limit.
func (s *snapshotReader) count(what string, max int) int {
	n := s.u32()
	if uint64(n) > uint64(max) {
		s.fail("it has %d %s, above the limit of %d", n, what, max)
		return 0
	}
	return int(n)
}

func (s *snapshotReader) checksum() {
	var trailer [4]byte
	if _, err := io.ReadFull(s.r, trailer[:]); err != nil {
		s.err = fmt.Errorf("orderbook: snapshot is truncated, its checksum is missing: %w", err)
	} else if got := binary.LittleEndian.Uint32(trailer[:]); got != s.sum {
		s.fail("its checksum is %08x, that of its bytes is %08x", got, s.sum)
	}
}

func (s *snapshotReader) payload(config Config) {
	words := config.words()
	for i := range words {
		if i < 6 || s.version > withoutLimits {
			words[i] = s.u64()
		}
	}
	if s.err == nil && words != config.words() {
		s.err = fmt.Errorf("orderbook: snapshot is from a book with limits %v, this one has %v"+
			" (instruments, accounts, positions, orders, levels, quantity, trades); start with the "+
			"limits of the snapshot", words, config.words())
	}
	s.readLimits(&config)
	s.seq, s.time = s.u64(), int64(s.u64())
	for n := s.count("accounts", config.MaxAccounts); n > 0 && s.err == nil; n-- {
		s.account()
	}
	for n := s.count("instruments", config.MaxInstruments); n > 0 && s.err == nil; n-- {
		id := s.u32()
		if _, twice := s.instrumentAt[id]; twice {
			s.fail("instrument %d occurs twice", id)
		}
		s.instrumentAt[id] = uint32(len(s.instruments))
		s.instruments = append(s.instruments, instrument{id: id})
	}
	for n := s.count("positions", config.MaxPositions); n > 0 && s.err == nil; n-- {
		s.position()
	}
	for i := 0; i < len(s.instruments) && s.err == nil; i++ {
		s.ladder(config, uint32(i), Buy)
		s.ladder(config, uint32(i), Sell)
		buy, sell := s.instruments[i].sides[0].best(), s.instruments[i].sides[1].best()
		if s.err == nil && buy != nil && sell != nil && buy.key >= Sell.price(sell.key) {
			s.fail("instrument %d is crossed, best bid %d, best ask %d", s.instruments[i].id,
				buy.key, Sell.price(sell.key))
		}
	}
	s.cancelling()
}

// readLimits reads the limits in force, and puts them in the place of those of an empty book.
func (s *snapshotReader) readLimits(config *Config) {
	if s.version <= withoutLimits {
		return
	}
	first := s.limits
	for _, limit := range s.limits.fields() {
		*limit = s.u32()
	}
	if to, ok := first.raised(s.limits, config.MaxQuantity); s.err == nil &&
		(!ok || to != s.limits || s.limits.validate() != nil) {
		s.fail("the limits in force are %+v, those of an empty book %+v", s.limits, first)
	}
	l := &s.limits
	config.MaxInstruments, config.MaxAccounts, config.MaxPositions = int(l.Instruments), int(l.Accounts), int(l.Positions)
	config.MaxOrders, config.MaxLevels = int(l.Orders), int(l.Levels)
}

// ladder reads the levels of a side. They are written best first and stored best last.
func (s *snapshotReader) ladder(config Config, at uint32, side Side) {
	n := s.count("levels", config.MaxLevels)
	var levels []level
	for ; n > 0 && s.err == nil; n-- {
		price := int64(s.u64())
		l := level{key: side.key(price)}
		orders := s.count("orders in a level", config.MaxOrders)
		if s.err == nil && (orders == 0 || len(levels) > 0 && levels[len(levels)-1].key <= l.key) {
			s.fail("level %d of instrument %d is empty or out of order", price, s.instruments[at].id)
		}
		for ; orders > 0 && s.err == nil; orders-- {
			s.order(config, at, order{price: price, side: side}, &l)
		}
		levels = append(levels, l)
	}
	for i, j := 0, len(levels)-1; i < j; i, j = i+1, j-1 {
		levels[i], levels[j] = levels[j], levels[i]
	}
	s.instruments[at].sides[side.index()].levels = levels
}

// reserveFrom is the number of orders from which on a reader believes the length of a snapshot, and
// makes room for all its orders at once: growing copies tens of megabytes at a time, and meanwhile
// the garbage collector can stop every goroutine of the process.
const reserveFrom = 4096

// order reads one order and adds it to the end of its level.
func (s *snapshotReader) order(config Config, at uint32, o order, l *level) {
	o.id, o.client, o.conn, o.open, o.total = s.u64(), s.u64(), s.u64(), s.u64(), s.u64()
	o.expiry, o.position = int64(s.u64()), s.u32()
	if s.version > withoutIdentities {
		o.identity = s.u32()
	}
	if s.err != nil {
		return
	}
	if int(o.position) >= len(s.positions) || s.positions[o.position].instrument != at {
		s.fail("order %d refers to position %d, which is not in its instrument", o.id, o.position)
		return
	}
	p := &s.positions[o.position]
	o.account = p.account
	switch {
	case s.orders.count >= config.MaxOrders:
		s.fail("it has more than %d orders", config.MaxOrders)
	case o.open == 0 || o.open > o.total || o.total > config.MaxQuantity || !p.room(o.side, o.open):
		s.fail("order %d has %d open of %d", o.id, o.open, o.total)
	case o.id == 0 || o.id > s.seq || o.client == 0 || o.client > s.accounts[o.account].last:
		s.fail("order %d with client order id %d was not entered", o.id, o.client)
	case s.orders.find(o.account, o.client) != 0:
		s.fail("order %d has the client order id %d of another order", o.id, o.client)
	case o.identity > sequencer.MaxIdentity:
		s.fail("order %d is of identity %d", o.id, o.identity)
	case o.conn == 0 || o.expiry != 0 && o.expiry <= s.time:
		s.fail("order %d has connection %d and expiry %d after time %d", o.id, o.conn, o.expiry, s.time)
	default:
		if s.orders.count == reserveFrom {
			s.orders.reserve(int(min(s.unread/orderSize, uint64(config.MaxOrders))))
		}
		slot := s.orders.add(&o)
		s.orders.push(l, slot)
		s.connections.attach(&s.orders, slot, s.connections.get(o.conn))
		p.open[o.side.index()] += o.open
		p.orders++
	}
}
