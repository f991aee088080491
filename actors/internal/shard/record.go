package shard

import (
	"encoding/binary"
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
//	60 flags     u32   the Record bits below, trace reason, kind, number of responses in a run
//
// If RecordParent is set, the frames are followed by the trace context of the request
// (ParentBytes). The record of a run is described in run.go.
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
	RecordUneven = 1 << 3 // the responses of a run were not all received at the same time
	RecordTraced = 0xff << RecordReason
	RecordWaits  = 4  // shift of the cursors that the slot waited for, in Slot.waits as well
	RecordReason = 8  // shift of the telemetry.TraceReason
	RecordKind   = 16 // shift of the slot's Kind
	RecordCount  = 24 // shift of the number of responses in a run; 0 in a record of one slot

	ParentBytes = telemetry.ParentBytes
)

// Kinds of slots that the shard treats in a way of their own. They are those of package actors.
const (
	KindTopic = 4 + iota
	KindSnapshotBegin
	KindSnapshotEnd
	KindResume
	KindLeave
)

// The record of a topic frame has the topic in Conn and its key in Hash, and the frame is followed by
// its number in the topic, u64. The records of KindSnapshotEnd, KindResume and KindLeave end with the
// subscription: topic u64, number of the last frame that the client has u64, mode u8.
const (
	TopicBytes        = 8
	SubscriptionBytes = 8 + 8 + 1
)

// PutSubscription writes the end of a record of a subscription to b.
func PutSubscription(b []byte, topic, seq uint64, mode Mode) {
	_ = b[SubscriptionBytes-1]
	binary.LittleEndian.PutUint64(b, topic)
	binary.LittleEndian.PutUint64(b[8:], seq)
	b[16] = uint8(mode)
}

// subscriptionIn reads it from the end of a record.
func subscriptionIn(b []byte) (topic, seq uint64, mode Mode) {
	b = b[len(b)-SubscriptionBytes:]
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), Mode(b[16])
}

// isTopic reports that a record is a frame for subscribers, which the ledger of responses does not
// count.
func isTopic(b []byte) bool { return RecordIn(b).Flags>>RecordKind == KindTopic }

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
