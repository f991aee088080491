package transport

import "unsafe"

// Conn is the state of one connection in its shard's table. It is pointer-free, so that ten thousand of
// them cost the garbage collector nothing, and it belongs to the shard's goroutine.
//
// Unsent bytes live in one contiguous block of the shard's Slab:
//
//	block  [ sent | being sent | waiting |  free  ]
//	              off       off+sending end     cap
//
// An idle connection holds no block (R26). While a send is in flight its bytes never move: growth copies to
// a new block and keeps the old one as orphan until the completion was reaped.
//
// Every answer appended is a unit with a length. Units fully covered by sent bytes are delivered; the rest
// wait in the units queue, which only connections with a refused or partial send have. That makes the
// ledger (I9) exact to the slot, also for a connection that dies in the middle of a frame.
//
// It is composed of three parts of one cache line each: an append touches the first, a flush the second, and the rest is read
// when a connection comes and goes.
type Conn struct {
	outgoing
	sends
	identity
}

// outgoing is what an append touches.
type outgoing struct {
	Since     uint64 // slot-ring position at Connect: older slots belong to an earlier owner of ID
	Ended     uint64 // requests answered to the end (BatchEnd appended)
	softSince int64  // monotonic ns since which Unsent() > soft limit and no send was taken whole; 0 = it is not
	block     Block
	size      uint32 // bytes of block; 0 without one
	off       uint32 // first unsent byte in block
	end       uint32 // one past the last byte in block
	sending   uint32 // bytes in flight, from off (in orphan if there is one)
	orphan    Block  // old block that an in-flight send still reads
	credit    uint32 // sent bytes not yet matched to whole units
	unitCount uint32 // length of the queue of responses not fully sent
	Unsettled uint32 // appended since the last settle; an entry is not reused before they are settled
	State     State
	Class     uint8 // which Limits apply
	Reason    Reason
}

// sends is what a flush and its completion touch.
type sends struct {
	Sent         uint64 // bytes the kernel took
	LastSent     int64  // monotonic ns of the last byte the kernel took, or OpenedAt
	blockedSince int64  // monotonic ns since which the socket refuses bytes, or a drain waits for its peer; 0 = neither
	progressAt   int64  // monotonic ns of the last progress while blocked
	FD           int32
	Gen          uint32 // generation of this table entry, part of the user data of every kernel request
	Next, Prev   uint32 // links of the shard's blocked list, or of its free list; 0 = none
	units        Block  // queue of answers not fully sent, 8 bytes each
	unitHead     uint32 // index of the oldest unit in units
	unread       uint32 // bytes the socket held when ObserveUnread was last called; 0 = not asked since the kernel took bytes
	sizeHint     uint32 // bytes that the last drained block had taken: the next one begins with as many
}

// identity is fixed while the connection is open, except for Owed.
type identity struct {
	ID       uint64
	Hash     uint64 // Hash(ID), kept because deletion needs it
	Owed     uint64 // requests the reader accepted in all; valid once ReaderGone
	OpenedAt int64  // monotonic ns
	_        [32]byte
}

// Each part is a cache line.
var _ = [1]struct{}{}[unsafe.Sizeof(outgoing{})-64+unsafe.Sizeof(sends{})-64+unsafe.Sizeof(identity{})-64]

// Open begins a connection in an entry that is vacant. now is monotonic ns.
func (c *Conn) Open(id, hash uint64, fd int32, now int64) {
	gen := c.Gen + 1
	*c = Conn{}
	c.ID, c.Hash, c.FD, c.Gen, c.OpenedAt, c.LastSent, c.State = id, hash, fd, gen, now, now, StateOpen
}

// Vacate ends a connection that is idle and links its entry into the list of free ones, before next.
func (c *Conn) Vacate(next uint32) {
	gen := c.Gen
	*c = Conn{}
	c.Gen, c.Next = gen, next
}

// State is a set of facts about a connection; each bit is independent.
type State uint16

const (
	StateOpen       State = 1 << iota // the entry is in use
	StateDirty                        // has bytes to send at the next flush
	StatePolling                      // a writability poll is pending in the kernel
	StateRetry                        // a send failed for want of memory: try again at the next tick
	StateBlocked                      // is in the blocked list
	StateSlow                         // SLOW was reported and RECOVERED was not yet
	StateClosing                      // shut down; waits for the kernel and the reader
	StateReaderGone                   // the reader let go of the socket
	StateHalfClosed                   // the client closed its sending side and waits for its answers
	StateWoken                        // a poll has said that the socket has room, and no byte was taken since
)

// Pin keeps the connection's entry in its table until Unpin: a response of it is under way.
func (c *Conn) Pin() { c.Unsettled++ }

// Unpin takes back a Pin.
func (c *Conn) Unpin() { c.Unsettled-- }

// Has reports whether all of s is set.
func (c *Conn) Has(s State) bool { return c.State&s == s }

// Set sets s.
func (c *Conn) Set(s State) { c.State |= s }

// Clear clears s.
func (c *Conn) Clear(s State) { c.State &^= s }

// Unsent is the number of bytes the kernel has not taken.
func (c *Conn) Unsent() int { return int(c.end - c.off) }

// Sending is the number of bytes in flight.
func (c *Conn) Sending() int { return int(c.sending) }

// CanSend reports whether a send may be queued: something is unsent, and nothing of this connection is with
// the kernel. At most one send of a connection is ever in flight, so a later one cannot overtake it (I3).
func (c *Conn) CanSend() bool {
	return c.end > c.off && c.sending == 0 && c.State&(StatePolling|StateRetry|StateClosing) == 0
}

// Idle reports whether the kernel holds nothing of this connection and no answer awaits its ledger entry.
func (c *Conn) Idle() bool { return c.sending == 0 && !c.Has(StatePolling) && c.Unsettled == 0 }

// AppendInPlace copies p behind the unsent bytes if its block has room there and the soft limit is not exceeded by it, as nearly
// always; false means that neither was tried: Append makes room, and the caller judges the hard limit before.
func (c *Conn) AppendInPlace(s *Slab, l *Limits, p []byte) bool {
	end := c.end + uint32(len(p))
	if end > c.size || int(end-c.off) > l.SoftBytes {
		return false
	}
	s.put(c.block, c.end, p)
	c.end = end
	return true
}

// Append copies p behind the unsent bytes; false means the slab's budget is spent and nothing changed.
// now is monotonic ns.
func (c *Conn) Append(s *Slab, l *Limits, p []byte, now int64) bool {
	if uint32(len(p)) > c.size-c.end {
		if !c.makeRoom(s, len(p)) {
			return false
		}
	}
	copy(s.part(c.block, c.end, c.end+uint32(len(p))), p)
	c.end += uint32(len(p))
	if c.softSince == 0 && c.Unsent() > l.SoftBytes {
		c.softSince = now
	}
	return true
}

// makeRoom makes n bytes free behind end: by moving the unsent bytes to the front where that frees enough
// and no send reads them, else by a block of the next size.
func (c *Conn) makeRoom(s *Slab, n int) bool {
	unsent := c.Unsent()
	if c.block != 0 && c.sending == 0 && unsent+n <= int(c.size) && int(c.off) >= unsent {
		c.moveToFront(s)
		return true
	}
	want := unsent + n
	if c.block == 0 {
		want = max(want, int(c.sizeHint))
	}
	grown, ok := s.Alloc(want)
	if !ok && want > unsent+n {
		want = unsent + n
		grown, ok = s.Alloc(want)
	}
	if !ok {
		if c.sending == 0 && unsent+n <= int(c.size) && c.off >= c.size/8 { // costs more than it frees, and nobody his connection
			c.moveToFront(s)
			return true
		}
		return false
	}
	if c.block != 0 {
		copy(s.Bytes(grown), s.Bytes(c.block)[c.off:c.end])
		if c.sending != 0 && c.orphan == 0 {
			c.orphan = c.block // the kernel still reads it
		} else {
			s.Free(c.block)
		}
	}
	c.block, c.size = grown, BlockMin<<orderOf(want)
	c.off, c.end = 0, uint32(unsent)
	return true
}

// moveToFront makes the room that sent bytes have left in the block free behind the unsent ones.
func (c *Conn) moveToFront(s *Slab) {
	b := s.Bytes(c.block)
	copy(b, b[c.off:c.end])
	c.off, c.end = 0, c.end-c.off
}

// BeginSend marks all unsent bytes as in flight and returns them. They stay in place until CompleteSend.
func (c *Conn) BeginSend(s *Slab) []byte {
	if c.sending != 0 {
		panic("transport: second send in flight on one connection")
	}
	c.sending = c.end - c.off
	return s.part(c.block, c.off, c.end)
}

// CompleteSend takes the result of the send that BeginSend announced: n bytes left (0 on an error). A drained
// connection gives its block back. It reports whether unsent bytes remain.
func (c *Conn) CompleteSend(s *Slab, l *Limits, n int, now int64) (remain bool) {
	if n < 0 || n > int(c.sending) {
		panic("transport: completion of more bytes than were sent")
	}
	whole := n == int(c.sending)
	c.sending = 0
	if c.orphan != 0 {
		s.Free(c.orphan)
		c.orphan = 0
	}
	c.credit += uint32(n)
	c.Sent += uint64(n)
	if n > 0 {
		c.LastSent, c.progressAt, c.unread = now, now, 0
		c.Clear(StateWoken)
	}
	if c.block == 0 { // discarded while the send was in flight
		return false
	}
	c.off += uint32(n)
	if c.softSince != 0 && (whole || c.Unsent() <= l.SoftBytes) { // whole: what is left was appended meanwhile
		c.softSince = 0
	}
	if c.off < c.end {
		return true
	}
	c.sizeHint = min(c.end, sizeHintMax)
	c.dropBuffer(s)
	return false
}

// sizeHintMax bounds what a connection asks for ahead of need, in bytes.
const sizeHintMax = 16 << 10

// MarkBlocked notes that the socket refused bytes at now. The no-progress clock starts at the first refusal and
// is reset by progress only.
func (c *Conn) MarkBlocked(now int64) {
	if c.blockedSince == 0 {
		c.blockedSince, c.progressAt = now, now
	}
}

// SinceProgress is for how long (ns) a blocked connection has made no progress.
func (c *Conn) SinceProgress(now int64) int64 { return now - c.progressAt }

// ObserveUnread is told how many bytes a blocked connection's socket holds that the peer has not taken. Fewer than the last time is
// progress: a full socket takes no byte before a good part of it was read, which takes a slow reader many seconds, and in
// all that time it is not dead.
func (c *Conn) ObserveUnread(unread int, now int64) {
	if c.unread != 0 && uint32(unread) < c.unread {
		c.progressAt = now
	}
	c.unread = uint32(unread)
}

// ShiftClocks takes d ns that ended at now from the connection's clocks: nobody looked at its socket in that time, so the limits do
// not count it.
func (c *Conn) ShiftClocks(d, now int64) {
	for _, at := range [...]*int64{&c.blockedSince, &c.progressAt, &c.softSince} {
		if *at != 0 {
			*at = min(*at+d, now)
		}
	}
}

// UpdateSoftClock starts and stops the clock of the soft limit by what is unsent at now, for a blocked connection: the limit may have
// been changed since the last append, and what stands behind a send that was taken whole may be more than it.
func (c *Conn) UpdateSoftClock(l *Limits, now int64) {
	switch {
	case c.Unsent() <= l.SoftBytes:
		c.softSince = 0
	case c.softSince == 0:
		c.softSince = now
	}
}

// ClearBlocked notes that the socket took all that it was asked to take.
func (c *Conn) ClearBlocked() { c.blockedSince = 0 }

// BlockedSince is the monotonic ns since which the socket refuses bytes or a drain waits for its peer, 0 if neither.
func (c *Conn) BlockedSince() int64 { return c.blockedSince }

// Discard frees the buffers of a connection that is closing; in-flight bytes stay until CompleteSend.
func (c *Conn) Discard(s *Slab) {
	if c.sending != 0 {
		if c.orphan == 0 {
			c.orphan = c.block
		} else {
			s.Free(c.block)
		}
		c.block, c.size, c.off, c.end = 0, 0, 0, 0
		return
	}
	if c.block != 0 {
		c.dropBuffer(s)
	}
}

func (c *Conn) dropBuffer(s *Slab) {
	s.Free(c.block)
	c.block, c.size, c.off, c.end = 0, 0, 0, 0
}

// Free gives all buffers back, also those of a send that was in flight when its ring was closed.
func (c *Conn) Free(s *Slab) {
	for _, b := range []*Block{&c.block, &c.orphan} {
		if *b != 0 {
			s.Free(*b)
			*b = 0
		}
	}
	c.size, c.off, c.end = 0, 0, 0
}
