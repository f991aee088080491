package shard

import (
	"unsafe"

	"sluice/telemetry"
)

// Record is what the encoder writes before the frame bytes of each entry of a shard's frame ring: all that the
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
//	60 flags     u32   the Record bits below, reason of tracing, kind
//
// A Record with recordParent ends, behind the frames, with the trace context of its request (parentBytes).
type Record struct {
	Conn, Hash, Position, Seq          uint64
	Received                           int64
	Matched, Consumed, Opened, Encoded uint32
	Crossed, Flags                     uint32
}

// RecordBytes is one cache line.
const RecordBytes = 64

const (
	RecordLast   = 1 << 0 // the unit ends with BatchEnd: a request is answered
	RecordFailed = 1 << 1 // no frame follows: the encoder failed and the connection has to end
	RecordParent = 1 << 2 // the frames are followed by a trace context
	RecordTraced = 0xff << RecordReason
	RecordWaits  = 4  // shift of Slot.waited
	RecordReason = 8  // shift of the reason of tracing, telemetry.TraceReason
	RecordKind   = 16 // shift of the slot's Kind

	ParentBytes = telemetry.ParentBytes
)

// Bits of a slot at the gate, which the record carries at RecordWaits: the cursors that were behind it at the first look.
const (
	BelowJournal = 1 << iota
	BelowReplicas
	JournalLast // the replicas passed first
)

// RecordIn is the record at the start of b, in place: both ends of a frame ring are in this process, and its records begin
// at multiples of 8.
func RecordIn(b []byte) *Record {
	_ = b[RecordBytes-1]
	return (*Record)(unsafe.Pointer(unsafe.SliceData(b)))
}

// The size of a record is what the table above says.
var _ = [1]struct{}{}[unsafe.Sizeof(Record{})-RecordBytes]

// Since is to - from in ns, clamped to 0..2^32-1: clocks of different cores may differ by a few ns.
func Since(from, to int64) uint32 {
	d := to - from
	if uint64(d) < 1<<32 {
		return uint32(d)
	}
	return ^uint32(d >> 63) // 0 when out of order, else all ones
}
