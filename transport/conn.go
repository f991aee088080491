package transport

import "unsafe"

// Conn is the state of one connection in its shard's table. It contains no pointers, so ten
// thousand connections cost the garbage collector nothing. It belongs to the shard's goroutine.
//
// Unsent bytes live in one contiguous block of the shard's Slab:
//
//	block  [ sent | being sent | waiting |  free  ]
//	              off       off+sending end     cap
//
// An idle connection holds no block (R26). While a send is in flight, its bytes do not move: growth
// copies the unsent bytes to a new block and keeps the old one as orphan until the completion is
// reaped.
//
// Every response or control frame appended is a unit with a length. Units whose bytes were all sent
// are delivered. The others wait in the units queue, which only connections with a refused or
// partial send have. So the ledger (I9) is exact to the slot, even if a connection ends within a
// frame.
//
// It has three parts of one cache line each: an append touches the first, a flush the second, and
// the third is read when a connection begins and ends.
type Conn struct {
	outgoing
	sends
	identity
}

// outgoing holds the fields that an append touches. AppendInPlace and BeginSend are its methods, not
// those of Conn: so they stay below the size up to which the compiler inlines a call, which saves 40
// instructions a slot (docs/decisions/0022).
type outgoing struct {
	Since     uint64 // slot-ring position at Connect; older slots belong to an earlier owner of ID
	Ended     uint64 // requests whose BatchEnd was appended
	softSince int64  // start of the soft-limit clock, monotonic ns; 0 = not running
	block     Block
	size      uint32 // bytes of block; 0 if there is none
	off       uint32 // first unsent byte in block
	end       uint32 // one past the last byte in block
	sending   uint32 // bytes in flight, from off (in orphan if set)
	orphan    Block  // old block that an in-flight send still reads
	credit    uint32 // sent bytes not yet matched to whole units
	unitCount uint32 // length of the queue of units not fully sent
	Unsettled uint32 // units appended since the last settle; the entry is not reused before
	State     State
	Class     uint8 // which Limits apply
	Reason    Reason
}

// sends holds the fields that a flush and its completion touch.
type sends struct {
	Sent         uint64 // bytes accepted by the kernel
	LastSent     int64  // when the kernel last accepted bytes, monotonic ns; OpenedAt at first
	blockedSince int64  // see BlockedSince
	progressAt   int64  // last progress while blocked, monotonic ns
	FD           int32
	Gen          uint32 // generation of the table entry, in the user data of every kernel request
	Next, Prev   uint32 // links of the shard's blocked list, or of its free list; 0 = none
	units        Block  // queue of units not fully sent, 8 bytes each
	unitHead     uint32 // index of the oldest unit in units
	unread       uint32 // argument of the last ObserveUnread; 0 if bytes were accepted since
	sizeHint     uint32 // bytes used of the last drained block: the size of the next one
}

// identity holds fields that do not change while the connection is open, except Owed and Final.
type identity struct {
	ID        uint64
	Hash      uint64 // Hash(ID), kept because deletion needs it
	Owed      uint64 // requests accepted by the reader in total; valid once ReaderGone
	OpenedAt  int64  // monotonic ns
	Heartbeat int64  // ns without a byte sent after which it gets a heartbeat
	Final     Reason // why a half-closed connection is closed once it has everything it is owed
	_         [23]byte
}

// The size of each part is a cache line; otherwise this does not compile.
var _ = [1]struct{}{}[unsafe.Sizeof(outgoing{})-64+unsafe.Sizeof(sends{})-64+unsafe.Sizeof(identity{})-64]

// Open starts a connection in a vacant entry. now is monotonic ns.
func (c *Conn) Open(id, hash uint64, fd int32, now int64) {
	gen := c.Gen + 1
	*c = Conn{}
	c.ID, c.Hash, c.FD, c.Gen, c.OpenedAt, c.LastSent, c.State = id, hash, fd, gen, now, now, StateOpen
}

// Vacate ends a connection that is idle and links its entry into the free list, before next.
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
	StateRetry                        // a send failed for lack of memory; retried at the next tick
	StateBlocked                      // is in the blocked list
	StateSlow                         // reported as slow, and not yet as recovered
	StateClosing                      // shut down; waits for the kernel and the reader
	StateReaderGone                   // the reader released the socket
	StateHalfClosed                   // the client closed its sending side and waits for responses
	StateWoken                        // a poll reported room, and no byte was accepted since
	StateFarewell                     // its last frame was appended: nothing may follow
	StateSubscribed                   // is sent topic frames from a Tape
	StateLost                         // has lost topic frames, and waits for a new snapshot
	StateSharing                      // the send in flight is from a Tape
	StateSecure                       // has a Sealer: its sends are records that contain the bytes counted here
)

// Pin keeps the connection's entry in its table until Unpin: a response of it is under way.
func (c *Conn) Pin() { c.Unsettled++ }

// Unpin takes back a Pin.
func (c *Conn) Unpin() { c.Unsettled-- }

// PinMany and UnpinMany do so for n responses.
func (c *Conn) PinMany(n int)   { c.Unsettled += uint32(n) }
func (c *Conn) UnpinMany(n int) { c.Unsettled -= uint32(n) }

// Has reports whether all bits of s are set.
func (c *Conn) Has(s State) bool { return c.State&s == s }

// Set sets the bits of s.
func (c *Conn) Set(s State) { c.State |= s }

// Clear clears the bits of s.
func (c *Conn) Clear(s State) { c.State &^= s }

// Unsent is the number of bytes not accepted by the kernel.
func (c *Conn) Unsent() int { return int(c.end - c.off) }

// Sending is the number of bytes in flight.
func (c *Conn) Sending() int { return int(c.sending) }

// CanSend reports whether a send may be queued: bytes are unsent, and no send or poll of this
// connection is pending. At most one send of a connection is in flight, so a later one cannot
// overtake it (I3).
func (c *Conn) CanSend() bool {
	return c.end > c.off && c.sending == 0 && c.State&(StatePolling|StateRetry|StateClosing) == 0
}

// CanShare reports whether a send from a Tape may be queued: the connection has no bytes of its own,
// which come first, and no send or poll of it is pending.
func (c *Conn) CanShare() bool {
	return c.end == c.off && c.sending == 0 && c.State&(StatePolling|StateRetry|StateClosing) == 0
}

// BeginShare records that n bytes of a Tape are in flight. If they are appended to the connection's own
// buffer before the send has completed, which keeps their order with bytes behind them, CompleteSend
// records its result, else CompleteShare.
func (c *Conn) BeginShare(n int) {
	if !c.CanShare() {
		panic("transport: a send from a tape for a connection that has bytes of its own, or a send in flight")
	}
	c.sending = uint32(n)
	c.Set(StateSharing)
}

// CompleteShare records the result of the send that BeginShare started: n bytes were accepted.
func (c *Conn) CompleteShare(n int, now int64) {
	if n < 0 || n > int(c.sending) {
		panic("transport: completion of more bytes than were sent")
	}
	c.sending = 0
	c.Sent += uint64(n)
	if n > 0 {
		c.LastSent, c.progressAt, c.unread = now, now, 0
		c.Clear(StateWoken)
	}
}

// Idle reports whether the kernel holds no request of this connection and all its units are
// settled.
func (c *Conn) Idle() bool { return c.sending == 0 && !c.Has(StatePolling) && c.Unsettled == 0 }

// AppendInPlace copies p behind the unsent bytes if the block has room and the soft limit is not
// exceeded, which is nearly always the case. It returns false without a change otherwise. The
// caller then checks the hard limit and calls Append, which makes room.
func (c *outgoing) AppendInPlace(s *Slab, l *Limits, p []byte) bool {
	end := c.end + uint32(len(p))
	if end > c.size || int(end-c.off) > l.SoftBytes {
		return false
	}
	s.put(c.block, c.end, p)
	c.end = end
	return true
}

// Append copies p behind the unsent bytes. It returns false, and changes nothing, if the slab's
// budget is exhausted. now is monotonic ns.
func (c *Conn) Append(s *Slab, l *Limits, p []byte, now int64) bool {
	if !c.Reserve(s, len(p)) {
		return false
	}
	copy(s.part(c.block, c.end, c.end+uint32(len(p))), p)
	c.end += uint32(len(p))
	if c.softSince == 0 && c.Unsent() > l.SoftBytes {
		c.softSince = now
	}
	return true
}

// Reserve makes room for n bytes, which Append then takes. It returns false, and changes nothing, if the
// slab's budget is exhausted.
func (c *Conn) Reserve(s *Slab, n int) bool {
	return uint32(n) <= c.size-c.end || c.makeRoom(s, n)
}

// makeRoom frees n bytes behind end. It moves the unsent bytes to the front if that frees enough
// and no send reads them; otherwise it takes a block of the next size.
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
		// This copies more bytes than it frees, but the connection is kept.
		if c.sending == 0 && unsent+n <= int(c.size) && c.off >= c.size/8 {
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

// moveToFront moves the unsent bytes to the front of the block, into the space of sent ones.
func (c *Conn) moveToFront(s *Slab) {
	b := s.Bytes(c.block)
	copy(b, b[c.off:c.end])
	c.off, c.end = 0, c.end-c.off
}

// BeginSend marks all unsent bytes as in flight and returns them. They do not move until
// CompleteSend.
func (c *outgoing) BeginSend(s *Slab) []byte {
	if c.sending != 0 {
		panic("transport: second send in flight on one connection")
	}
	c.sending = c.end - c.off
	return s.part(c.block, c.off, c.end)
}

// CompleteSend records the result of the send that BeginSend started: n bytes were accepted, 0 on
// an error. A drained connection frees its block. It reports whether unsent bytes remain.
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
	if c.softSince != 0 && (whole || c.Unsent() <= l.SoftBytes) { // whole: the rest was appended meanwhile
		c.softSince = 0
	}
	if c.off < c.end {
		return true
	}
	c.sizeHint = min(c.end, sizeHintMax)
	c.dropBuffer(s)
	return false
}

// sizeHintMax bounds the block that a connection allocates in advance, in bytes.
const sizeHintMax = 16 << 10

// MarkBlocked records that the socket refused bytes at now. The no-progress clock starts at the
// first refusal, and only progress resets it.
func (c *Conn) MarkBlocked(now int64) {
	if c.blockedSince == 0 {
		c.blockedSince, c.progressAt = now, now
	}
}

// SinceProgress is the time since the last progress of a blocked connection, in ns.
func (c *Conn) SinceProgress(now int64) int64 { return now - c.progressAt }

// ObserveUnread records how many bytes the socket of a blocked connection holds that the peer has
// not read. Fewer than at the last call is progress. A full socket accepts no bytes before a large
// part of it was read, which takes a slow reader many seconds, and during that time the reader is
// not dead.
func (c *Conn) ObserveUnread(unread int, now int64) {
	if c.unread != 0 && uint32(unread) < c.unread {
		c.progressAt = now
	}
	c.unread = uint32(unread)
}

// ShiftClocks moves the start of the clocks forward by d ns, for a period that ended at now in
// which the connection was not served. The limits do not count such a period.
func (c *Conn) ShiftClocks(d, now int64) {
	for _, at := range [...]*int64{&c.blockedSince, &c.progressAt, &c.softSince} {
		if *at != 0 {
			*at = min(*at+d, now)
		}
	}
}

// UpdateSoftClock starts or stops the soft-limit clock of a blocked connection according to its
// unsent bytes. It is needed because the limit may have changed since the last append, and because
// the bytes behind a send that was accepted whole may exceed it.
func (c *Conn) UpdateSoftClock(l *Limits, now int64) {
	switch {
	case c.Unsent() <= l.SoftBytes:
		c.softSince = 0
	case c.softSince == 0:
		c.softSince = now
	}
}

// ClearBlocked records that the socket accepted all bytes of a send.
func (c *Conn) ClearBlocked() { c.blockedSince = 0 }

// BlockedSince is the time since which the socket refuses bytes or a drain waits for the peer, in
// monotonic ns; 0 if neither.
func (c *Conn) BlockedSince() int64 { return c.blockedSince }

// Discard frees the buffers of a connection that is closing. Bytes in flight stay until
// CompleteSend.
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

// Free frees all buffers, including those of a send that was in flight when its ring was closed.
func (c *Conn) Free(s *Slab) {
	for _, b := range []*Block{&c.block, &c.orphan} {
		if *b != 0 {
			s.Free(*b)
			*b = 0
		}
	}
	c.size, c.off, c.end = 0, 0, 0
}
