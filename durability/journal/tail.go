package journal

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A frame of the log is a length (8 bytes, little-endian; the top byte is 0x80 | padding if there
// is padding), the record, and zeroes up to a multiple of 8. Disks write whole sectors, and a
// segment is zeroed before use, so a write that a power loss interrupted leaves each sector either
// complete or all zero.
const (
	frameHeaderBytes = 8
	sectorBytes      = 512
	// maxRecordBytes is larger than any record that is ever written: a batch at its limit, one
	// payload over it, and the envelopes.
	maxRecordBytes = maxBatchLimit + MaxPayloadBytes + 4096
)

func frameSize(b []byte) (record, padding int64) {
	field := binary.LittleEndian.Uint64(b)
	if field>>63 == 1 {
		padding = int64(field >> 56 & 7)
	}
	return int64(field &^ (0xff << 56)), padding
}

// judgeTail decides whether an unreadable place in the last segment is a torn write or damage; rest
// is everything from there to the end of the file.
//
// Only one write is ever under way, and its events are not acknowledged before its sync succeeded.
// So the place is a torn write, safe to drop, only if nothing intact follows it and sectors of this
// one record are missing. Everything else is damage to data that may have been acknowledged.
//
//	... | good | good | record at offset ............. | 0 0 0 0 0 0
//	                    a sector is missing, or the       anything here: damage
//	                    file ends inside: torn
//	                    complete but wrong: damage
//
// Behind the end mark, two kinds of loss cannot be distinguished from a write that never was: damage
// to the very last record if its payload contains whole sectors of zeroes, and erased records at the
// very end. That a segment was cut or removed is found by its size and number, see incarnation.
func judgeTail(rest []byte, offset int64) (torn bool, why string) {
	for p := frameHeaderBytes; p+frameHeaderBytes < len(rest); p += 8 {
		if b, ok := intactFrame(rest[p:]); ok {
			return false, fmt.Sprintf("unreadable, but intact events %d to %d follow at byte %d",
				b.first, b.last(), offset+int64(p))
		}
	}
	if len(rest) < frameHeaderBytes {
		return true, "the file ends inside a length"
	}
	record, padding := frameSize(rest)
	if binary.LittleEndian.Uint64(rest) == 0 {
		// The sector that contains the length must be missing as a whole.
		sector := int(sectorBytes - offset%sectorBytes)
		if !allZero(rest[:min(sector, len(rest))]) {
			return false, "a length was erased"
		}
		if !allZero(rest[min(len(rest), maxRecordBytes):]) {
			return false, "more than one write is missing"
		}
		return true, "its first sector was never written"
	}
	end := frameHeaderBytes + record + padding
	if record > maxRecordBytes || end%8 != 0 {
		return false, "impossible length"
	}
	if n := int64(len(rest)); frameHeaderBytes+record <= n && n < end &&
		proto.Unmarshal(rest[frameHeaderBytes:][:record], &walpb.Record{}) == nil {
		return true, "the file ends inside the padding"
	}
	if b, ok := intactRecord(rest[frameHeaderBytes:]); ok {
		return false, fmt.Sprintf("the envelope of intact events %d to %d is damaged", b.first,
			b.last())
	}
	if end > int64(len(rest)) {
		return true, "the file ends inside a record"
	}
	if !allZero(rest[end:]) {
		return false, "unreadable, and something follows it"
	}
	if missingSector(rest[frameHeaderBytes:end], offset+frameHeaderBytes) {
		return true, "a sector was never written"
	}
	return false, "the record was written completely and changed afterwards"
}

// missingSector reports whether the part of any sector within data is all zero. data begins at
// offset in the file.
func missingSector(data []byte, offset int64) bool {
	for len(data) > 0 {
		n := min(int(sectorBytes-offset%sectorBytes), len(data))
		if allZero(data[:n]) {
			return true
		}
		data, offset = data[n:], offset+int64(n)
	}
	return false
}

// intactFrame recognizes a whole frame with an entry whose batch has a correct checksum.
func intactFrame(b []byte) (batch, bool) {
	if len(b) < frameHeaderBytes+batchHeaderBytes || b[frameHeaderBytes] != 0x08 ||
		b[frameHeaderBytes+1] != byte(wal.EntryType) {
		return batch{}, false
	}
	record, padding := frameSize(b)
	if record > maxRecordBytes || (record+padding)%8 != 0 || record > int64(len(b)-frameHeaderBytes) {
		return batch{}, false
	}
	r := &walpb.Record{}
	if proto.Unmarshal(b[frameHeaderBytes:frameHeaderBytes+record], r) != nil {
		return batch{}, false
	}
	return intactEntry(r.GetData())
}

// intactRecord recognizes a record in which only the preceding length, or a field other than the
// data, may be wrong.
func intactRecord(b []byte) (batch, bool) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		if kind == protowire.BytesType {
			data, m := protowire.ConsumeBytes(b[n:])
			if m < 0 {
				break
			}
			return intactEntry(data)
		}
		m := protowire.ConsumeFieldValue(number, kind, b[n:])
		if m < 0 {
			break
		}
		b = b[n+m:]
	}
	return batch{}, false
}

func intactEntry(data []byte) (batch, bool) {
	e := &raftpb.Entry{}
	if proto.Unmarshal(data, e) != nil {
		return batch{}, false
	}
	b, err := decodeBatch(e.GetData())
	return b, err == nil
}

func allZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
