package transport

// Sealer encrypts what a shard sends on one connection, in the order of the calls. It is used by the shard's
// goroutine. Nothing that it returned may be left out, repeated or sent in another order. transport/secure
// has the one for TLS.
type Sealer interface {
	// Seal appends one record that contains plain, which has from 1 to SealRecord bytes, to dst, in
	// front of it what the reading side wrote in the meantime, and returns the result. After an error,
	// what it returned is the last that may be sent, and may be nothing.
	Seal(dst, plain []byte) ([]byte, error)

	// End appends the record that ends the stream, after which Seal fails.
	End(dst []byte) ([]byte, error)
}

const (
	// SealRecord is the largest number of plain bytes in a record.
	SealRecord = 16 << 10
	// SealOverhead bounds by how much a record is longer than its plain bytes.
	SealOverhead = 32
)

// Head returns the first unsent bytes, at most n.
func (c *outgoing) Head(s *Slab, n int) []byte {
	return s.part(c.block, c.off, c.off+min(uint32(n), c.end-c.off))
}

// BeginSealed marks the first n unsent bytes as in flight, within records.
func (c *outgoing) BeginSealed(n int) {
	if c.sending != 0 || n <= 0 || uint32(n) > c.end-c.off {
		panic("transport: second send in flight on one connection, or one of no bytes")
	}
	c.sending = uint32(n)
}

// CompleteSealed is CompleteSend for the send that BeginSealed started, or of a tape. The records of n bytes were
// accepted whole; any reports that the socket accepted bytes.
func (c *Conn) CompleteSealed(s *Slab, l *Limits, n int, any bool, now int64) (remain bool) {
	since := c.softSince
	remain = c.CompleteSend(s, l, n, now)
	if remain && c.Unsent() > l.SoftBytes {
		c.softSince = since // a send is a part of what is unsent
	}
	if any {
		c.Accepted(now)
	}
	return remain
}

// Accepted records that the socket accepted bytes of a record.
func (c *Conn) Accepted(now int64) {
	c.LastSent, c.progressAt, c.unread = now, now, 0
	c.Clear(StateWoken)
}
