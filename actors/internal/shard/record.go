package shard

import (
	"unsafe"

	"sluice/telemetry"
)

// Record is what the encoder writes before the frame bytes of each entry of a shard's frame ring:
// everything that the shard needs to deliver, time and account for the response without reading the
// slot again.
//
//	 0 conn      u64   connection id
//	 8 hash      u64   transport.Hash(conn), computed once per slot
//	16 position  u64   position of the slot in the slot ring, compared with Conn.Since
//	24 seq       u64   wire seq
//	32 received  i64   monotonic ns
//	40 matched   u32   ns after received, saturating
//	44 consumed  u32   ns after received
//	48 opened    u32   ns after received
//	52 encoded   u32   ns after received
//	56 crossed   u32   ns after received when the first of two awaited cursors passed it; 0 if none did
//	60 flags     u32   the Record bits below, trace reason, kind
//
// If RecordParent is set, the frames are followed by the trace context of the request
// (ParentBytes).
type Record struct {
	Conn, Hash, Position, Seq          uint64
	Received                           int64
	Matched, Consumed, Opened, Encoded uint32
	Crossed, Flags                     uint32
}

// RecordBytes is one cache line.
const RecordBytes = 64

const (
	RecordLast   = 1 << 0 // the frames end with BatchEnd: a request has its last response
	RecordFailed = 1 << 1 // no frame follows: encoding failed, and the connection ends
	RecordParent = 1 << 2 // the frames are followed by a trace context
	RecordTraced = 0xff << RecordReason
	RecordWaits  = 4  // shift of the cursors that the slot waited for, in Slot.waits as well
	RecordReason = 8  // shift of the telemetry.TraceReason
	RecordKind   = 16 // shift of the slot's Kind

	ParentBytes = telemetry.ParentBytes
)

// Cursors that were behind a slot when the gate first looked at it; the record carries them at
// RecordWaits.
const (
	BelowJournal = 1 << iota
	BelowReplicas
	JournalLast // the replicas passed first
)

// RecordIn is the record at the start of b, in place: both ends of a frame ring are in this
// process, and its records start at multiples of 8.
func RecordIn(b []byte) *Record {
	_ = b[RecordBytes-1]
	return (*Record)(unsafe.Pointer(unsafe.SliceData(b)))
}

// The size of a record is that of the table above.
var _ = [1]struct{}{}[unsafe.Sizeof(Record{})-RecordBytes]

// Since is to - from in ns, clamped to 0..2^32-1: clocks of different cores may differ by a few ns.
func Since(from, to int64) uint32 {
	d := to - from
	if uint64(d) < 1<<32 {
		return uint32(d)
	}
	return ^uint32(d >> 63) // 0 if out of order, else all ones
}
