package shard

import (
	"sluice/transport"
)

// sealing is the part of the shard that encrypts. A connection's buffer and the tapes have plain bytes, as
// the limits and the ledger count them. What is about to be sent is encrypted into a block of its own, which is
// sent until the socket has taken all of it:
//
//	buffer or tape   [ in records | waiting ]
//	                       |
//	block            [ taken | record | record | record ]   ==> socket
//
// The bytes of a record count as sent once the socket has taken the whole record. Until then they stay in the
// connection's buffer; those of a tape are copied there.
type sealing struct {
	conns   []sealed // by table entry; only those of connections with StateSecure count
	more    bool     // a connection has something to send behind a send that was taken whole
	reserve []byte   // for a send if the slab has no block
	lent    bool     // the reserve is in use
}

// sealed is what the shard keeps of a connection with a Sealer.
type sealed struct {
	by       transport.Sealer
	block    transport.Block         // records that were not taken whole; 0 if there are none
	off, end uint32                  // what is unsent of it
	size     uint32                  // plain bytes in it that do not count as sent
	records  [sealRecords]sealedPart // those in it, the last one with all that follows
	count    int8                    // number of records
	next     int8                    // the first that was not taken whole
	reserved bool                    // it is in the reserve
	failed   bool                    // nothing may follow it
}

// sealedPart is a record and what stands in front of it.
type sealedPart struct {
	end   uint32 // of it in the block
	plain uint32 // bytes in it
}

const (
	sealRecords = 4
	// sealMost is how many plain bytes one send takes. Their records fit a block of 64 KiB, with room for
	// some that the reading side writes and for the end of the stream.
	sealMost = sealRecords*transport.SealRecord - sealRoom
	sealRoom = 256
)

// secure gives a new connection its Sealer.
func (e *Shard) secure(entry uint32, by transport.Sealer) {
	for int(entry) >= len(e.sealing.conns) {
		e.sealing.conns = append(e.sealing.conns, sealed{})
	}
	e.sealing.conns[entry] = sealed{by: by}
	e.table.conns[entry].Set(transport.StateSecure)
}

// sendSealed queues one send: of records that the socket has not taken, else of some that are made of what is
// unsent.
func (e *Shard) sendSealed(c *transport.Conn, entry uint32, now int64) {
	s := &e.sealing.conns[entry]
	if s.end == 0 && !e.seal(c, entry, c.Head(e.slab, sealMost), now) {
		return
	}
	c.BeginSealed(int(s.size))
	if !e.ring.Send(c.FD, e.sealedBytes(s), userData(opSend, c.Gen, entry)) {
		panic("actors: the ring rejected a send although it has room")
	}
}

// sealTape makes records of bytes of a tape, and returns them to be sent; nil if there are none.
func (e *Shard) sealTape(c *transport.Conn, entry uint32, run []byte, now int64) []byte {
	if !e.seal(c, entry, run, now) {
		return nil
	}
	return e.sealedBytes(&e.sealing.conns[entry])
}

func (e *Shard) sealedBytes(s *sealed) []byte {
	if s.reserved {
		return e.sealing.reserve[s.off:s.end]
	}
	return e.slab.Bytes(s.block)[s.off:s.end]
}

// seal makes records of plain bytes, the first unsent ones, at most sealMost of them. It returns false if
// there is no memory, and the connection is tried again later, or if the connection was ended.
func (e *Shard) seal(c *transport.Conn, entry uint32, plain []byte, now int64) bool {
	s := &e.sealing.conns[entry]
	records := (len(plain) + transport.SealRecord - 1) / transport.SealRecord
	dst, ok := e.sealedBlock(s, len(plain)+records*transport.SealOverhead+sealRoom/2)
	if !ok {
		c.Set(transport.StateRetry)
		e.pollBlocked(entry, now)
		return false
	}
	room := cap(dst)
	last := c.Has(transport.StateFarewell) && len(plain) == c.Unsent()
	var err error
	for rest := plain; len(rest) > 0 && err == nil; {
		n := min(len(rest), transport.SealRecord)
		if dst, err = s.by.Seal(dst, rest[:n]); err == nil {
			s.records[s.count] = sealedPart{end: uint32(len(dst)), plain: uint32(n)}
			s.count++
		}
		rest = rest[n:]
	}
	if last && err == nil {
		if dst, err = s.by.End(dst); err == nil {
			s.records[s.count-1].end = uint32(len(dst))
		}
	}
	s.size, s.failed = uint32(len(plain)), err != nil
	if len(dst) > 0 && (len(dst) <= room || e.moveSealed(s, dst)) {
		s.end = uint32(len(dst))
		return true
	}
	e.close(entry, sealReason(c), now)
	return false
}

// sealReason is why a connection is closed whose stream has ended, or cannot go on.
func sealReason(c *transport.Conn) transport.Reason {
	switch {
	case c.Has(transport.StateFarewell):
		return c.Reason
	case c.Has(transport.StateHalfClosed):
		return c.Final
	}
	return transport.ReasonProtocolError
}

// sealedBlock returns the memory for records of size bytes.
func (e *Shard) sealedBlock(s *sealed, size int) ([]byte, bool) {
	block, ok := e.slab.Alloc(size)
	if ok {
		s.block = block
		return e.slab.Bytes(block)[:0], true
	}
	if e.sealing.lent {
		return nil, false
	}
	if e.sealing.reserve == nil {
		e.sealing.reserve = make([]byte, sealRecords*transport.SealRecord)
	}
	e.sealing.lent, s.reserved = true, true
	return e.sealing.reserve[:0], true
}

// moveSealed moves records that did not fit their memory to other memory. It returns false if there is none.
func (e *Shard) moveSealed(s *sealed, records []byte) bool {
	e.releaseSealed(s)
	block, ok := e.slab.Alloc(len(records))
	if ok {
		copy(e.slab.Bytes(block), records)
		s.block = block
	}
	return ok
}

// completeSealed records the result of a send of records. It returns how many bytes were sent, and whether
// the connection has more to send.
func (e *Shard) completeSealed(c *transport.Conn, entry uint32, sent int, now int64) (asked int, remain bool) {
	s := &e.sealing.conns[entry]
	asked = int(s.end - s.off)
	s.off += uint32(sent)
	plain := 0
	for s.next < s.count && s.off >= s.records[s.next].end {
		plain += int(s.records[s.next].plain)
		s.next++
	}
	s.size -= uint32(plain)
	failed := s.failed
	if s.off == s.end {
		e.freeSealed(s)
	}
	if c.Has(transport.StateSharing) {
		remain = e.completeShare(c, entry, plain, now)
		if sent > 0 {
			c.Accepted(now)
		}
	} else {
		remain = c.CompleteSealed(e.slab, &e.class[c.Class], plain, sent > 0, now) || e.behind(c, entry)
	}
	switch {
	case c.Has(transport.StateClosing):
		e.freeSealed(s)
	case failed && (s.end == 0 || sent < asked):
		e.close(entry, sealReason(c), now)
	}
	return asked, remain
}

// inRecords is the number of plain bytes in records of a connection that its socket has not taken whole.
func (e *Shard) inRecords(entry uint32) uint64 {
	if int(entry) < len(e.sealing.conns) {
		return uint64(e.sealing.conns[entry].size)
	}
	return 0
}

// unseal frees what a connection that is closing has not been sent, unless the kernel reads it.
func (e *Shard) unseal(c *transport.Conn, entry uint32) {
	if c.Has(transport.StateSecure) && c.Sending() == 0 {
		e.freeSealed(&e.sealing.conns[entry])
	}
}

// unsealAll does so once the ring is closed.
func (e *Shard) unsealAll(entry uint32) {
	if int(entry) < len(e.sealing.conns) {
		e.freeSealed(&e.sealing.conns[entry])
	}
}

// freeSealed drops the records of a connection.
func (e *Shard) freeSealed(s *sealed) {
	e.releaseSealed(s)
	*s = sealed{by: s.by}
}

// releaseSealed frees the memory of records.
func (e *Shard) releaseSealed(s *sealed) {
	if s.block != 0 {
		e.slab.Free(s.block)
		s.block = 0
	}
	if s.reserved {
		e.sealing.lent, s.reserved = false, false
	}
}
