package transport

import "encoding/binary"

// Unit is one appended response (payload and BatchEnd together) or control frame, as counted by the
// ledger.
type Unit struct {
	Len      uint32 // bytes on the wire
	Received uint32 // time at which its request was received, in units of 1024 ns, modulo 2^32
	Slot     bool   // a response; false for control frames, which the ledger does not count
	Topic    bool   // a topic frame that was copied, which is counted apart from responses
}

// unitBytes is the size of a stored Unit: the length in 30 bits with Topic and Slot above them, then
// Received.
const unitBytes = 8

// TakeCredit settles the next appended unit, n bytes long, if the bytes accepted by the kernel
// cover it, and reports whether they do. If not, the caller queues the unit. Units are settled in
// the order in which they were appended.
func (c *Conn) TakeCredit(n uint32) bool {
	if c.unitCount != 0 || c.credit < n {
		return false
	}
	c.credit -= n
	return true
}

// TakeSent removes and returns the oldest queued unit if sent bytes cover it.
func (c *Conn) TakeSent(s *Slab) (Unit, bool) {
	if c.unitCount == 0 {
		return Unit{}, false
	}
	u := c.unitAt(s, c.unitHead)
	if c.credit < u.Len {
		return Unit{}, false
	}
	c.credit -= u.Len
	c.popUnit(s)
	return u, true
}

// TakeUnsent removes and returns the oldest queued unit, sent or not; for a connection that closes.
func (c *Conn) TakeUnsent(s *Slab) (Unit, bool) {
	if c.unitCount == 0 {
		return Unit{}, false
	}
	u := c.unitAt(s, c.unitHead)
	c.popUnit(s)
	return u, true
}

// QueuedUnits is the number of appended responses and control frames whose bytes are not all sent.
func (c *Conn) QueuedUnits() int { return int(c.unitCount) }

func (c *Conn) unitAt(s *Slab, i uint32) Unit {
	w := binary.LittleEndian.Uint64(s.Bytes(c.units)[i*unitBytes:])
	return Unit{Len: uint32(w) & (1<<30 - 1), Received: uint32(w >> 32), Slot: uint32(w)>>31 == 1,
		Topic: uint32(w)>>30&1 == 1}
}

func (c *Conn) popUnit(s *Slab) {
	c.unitHead++
	c.unitCount--
	if c.unitCount == 0 {
		s.Free(c.units)
		c.units, c.unitHead = 0, 0
	}
}

// QueueUnit queues a unit that is not covered by sent bytes yet. It returns false if the queue
// cannot grow; the caller then ends the connection.
func (c *Conn) QueueUnit(s *Slab, u Unit) bool {
	if c.units == 0 || int(c.unitHead+c.unitCount+1)*unitBytes > len(s.Bytes(c.units)) {
		if !c.growUnits(s) {
			return false
		}
	}
	w := uint64(u.Len) | uint64(u.Received)<<32
	if u.Slot {
		w |= 1 << 31
	}
	if u.Topic {
		w |= 1 << 30
	}
	binary.LittleEndian.PutUint64(s.Bytes(c.units)[(c.unitHead+c.unitCount)*unitBytes:], w)
	c.unitCount++
	return true
}

// UnitQueueFull reports whether the queue has its maximum length, regardless of available memory.
func (c *Conn) UnitQueueFull(s *Slab) bool { return 2*int(c.unitCount)*unitBytes > s.BlockMax() }

// growUnits moves the queue to the front of its block, or to a larger block if less than half of it
// is free. If no block can be allocated, an eighth is enough.
func (c *Conn) growUnits(s *Slab) bool {
	used, size := int(c.unitCount)*unitBytes, 0
	if c.units != 0 {
		size = len(s.Bytes(c.units))
	}
	front := int(c.unitHead) * unitBytes
	if front < max(size/2, 1) {
		if grown, ok := s.Alloc(max(2*used, BlockMin)); ok {
			if c.units != 0 {
				copy(s.Bytes(grown), s.Bytes(c.units)[front:][:used])
				s.Free(c.units)
			}
			c.units, c.unitHead = grown, 0
			return true
		}
	}
	if front < max(size/8, 1) {
		return false
	}
	b := s.Bytes(c.units)
	copy(b, b[front:][:used])
	c.unitHead = 0
	return true
}
