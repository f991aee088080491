package actors

import (
	"encoding/binary"

	"sluice/telemetry"
)

// record is what the encoder writes before the frame bytes of each entry of a shard's frame ring: all that the
// shard needs to deliver, time and account for the answer without looking at the slot again.
//
//	 0 conn      u64   connection id
//	 8 hash      u64   transport.Hash(conn), computed once per slot
//	16 position  u64   the slot's position in the slot ring, compared with Conn.Since
//	24 seq       u64   wire seq
//	32 received  i64   monotonic ns
//	40 matched   u32   ns after received, saturating
//	44 consumed  u32   ns after received
//	48 opened    u32   ns after received
//	52 encoded   u32   ns after received
//	56 crossed   u32   ns after received at which the first of two awaited cursors passed it; 0 = not
//	60 flags     u32   the record bits below, reason of tracing, kind
//
// A record with recordParent ends, behind the frames, with the trace context of its request (parentBytes).
type record struct {
	conn, hash, position, seq          uint64
	received                           int64
	matched, consumed, opened, encoded uint32
	crossed, flags                     uint32
}

// recordBytes is one cache line.
const recordBytes = 64

const (
	recordLast   = 1 << 0 // the unit ends with BatchEnd: a request is answered
	recordFailed = 1 << 1 // no frame follows: the encoder failed and the connection has to end
	recordParent = 1 << 2 // the frames are followed by a trace context
	recordWaits  = 4      // shift of Slot.waited
	recordReason = 8      // shift of the reason of tracing, telemetry.Reason
	recordKind   = 16     // shift of the slot's Kind

	parentBytes = telemetry.ParentBytes
)

// put writes the record to the first recordBytes of b.
func (r *record) put(b []byte) {
	_ = b[recordBytes-1]
	le := binary.LittleEndian
	le.PutUint64(b[0:], r.conn)
	le.PutUint64(b[8:], r.hash)
	le.PutUint64(b[16:], r.position)
	le.PutUint64(b[24:], r.seq)
	le.PutUint64(b[32:], uint64(r.received))
	le.PutUint64(b[40:], uint64(r.matched)|uint64(r.consumed)<<32)
	le.PutUint64(b[48:], uint64(r.opened)|uint64(r.encoded)<<32)
	le.PutUint64(b[56:], uint64(r.crossed)|uint64(r.flags)<<32)
}

// get reads a record back from b.
func (r *record) get(b []byte) {
	_ = b[recordBytes-1]
	le := binary.LittleEndian
	r.conn, r.hash = le.Uint64(b[0:]), le.Uint64(b[8:])
	r.position, r.seq = le.Uint64(b[16:]), le.Uint64(b[24:])
	r.received = int64(le.Uint64(b[32:]))
	w := le.Uint64(b[40:])
	r.matched, r.consumed = uint32(w), uint32(w>>32)
	w = le.Uint64(b[48:])
	r.opened, r.encoded = uint32(w), uint32(w>>32)
	w = le.Uint64(b[56:])
	r.crossed, r.flags = uint32(w), uint32(w>>32)
}

// since is to - from in ns, clamped to 0..2^32-1: clocks of different cores may differ by a few ns.
func since(from, to int64) uint32 {
	d := to - from
	if uint64(d) < 1<<32 {
		return uint32(d)
	}
	return ^uint32(d >> 63) // 0 when out of order, else all ones
}
