package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"sluice/durability"
)

// Layout of a batch, the data of one log entry, little-endian:
//
//	offset  size  field
//	0       4     CRC-32C of everything after it
//	4       4     number of events, 1 or more
//	8       8     sequence number of the first event, 1 or more
//	16      ...   for each event: its length as unsigned varint, then that many bytes
//
// The underlying log has a checksum of its own, but it is a chain: one damaged record makes all
// later ones unverifiable. With a checksum per batch the reader can prove that intact events follow
// a damaged place, which distinguishes damage from a torn last write.
const batchHeaderBytes = 16

// MaxPayloadBytes is the largest payload of one event.
const MaxPayloadBytes = 1 << 20

var errBadBatch = errors.New("journal: not a batch")

// Event is one journaled event. Its payload is valid until the next step of the iteration.
type Event struct {
	Seq     durability.Seq
	Payload []byte
}

// batch is a decoded, verified batch; body aliases the bytes it was decoded from.
type batch struct {
	first durability.Seq
	count uint32
	body  []byte
}

func (b batch) last() durability.Seq { return b.first + durability.Seq(b.count) - 1 }

// events calls visit for each event in order until it returns false; it reports whether all were
// visited.
func (b batch) events(visit func(Event) bool) bool {
	body := b.body
	for seq := b.first; seq <= b.last(); seq++ {
		n, w := binary.Uvarint(body)
		end := w + int(n)
		if !visit(Event{Seq: seq, Payload: body[w:end:end]}) {
			return false
		}
		body = body[end:]
	}
	return true
}

// checksum is CRC-32C; the standard library caches the table.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// startBatch resets dst to an empty batch.
func startBatch(dst []byte) []byte {
	return append(dst[:0], make([]byte, batchHeaderBytes)...)
}

// appendEvent adds one payload.
func appendEvent(dst, payload []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(payload)))
	return append(dst, payload...)
}

// sealBatch fills in the header.
func sealBatch(b []byte, first durability.Seq, count uint32) {
	binary.LittleEndian.PutUint32(b[4:], count)
	binary.LittleEndian.PutUint64(b[8:], uint64(first))
	binary.LittleEndian.PutUint32(b[0:], checksum(b[4:]))
}

// decodeBatch verifies checksum and structure, so that events cannot fail afterwards.
func decodeBatch(data []byte) (batch, error) {
	if len(data) < batchHeaderBytes || binary.LittleEndian.Uint32(data) != checksum(data[4:]) {
		return batch{}, errBadBatch
	}
	b := batch{
		count: binary.LittleEndian.Uint32(data[4:]),
		first: durability.Seq(binary.LittleEndian.Uint64(data[8:])),
		body:  data[batchHeaderBytes:],
	}
	if b.count == 0 || b.first == 0 || uint64(b.first) > math.MaxUint64-uint64(b.count) {
		return batch{}, errBadBatch
	}
	rest := b.body
	for range b.count {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > MaxPayloadBytes || n > uint64(len(rest)-w) {
			return batch{}, errBadBatch
		}
		rest = rest[w+int(n):]
	}
	if len(rest) != 0 {
		return batch{}, errBadBatch
	}
	return b, nil
}
