package raftsim

import (
	"encoding/binary"
	"hash/crc32"
)

// AppendEntry appends the record of an entry to dst, as the journal of a node has it: with events from
// number first on, or without any. It shares no code with the product.
func AppendEntry(dst []byte, term, index, first uint64, events ...[]byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(append(dst, 'E'), term)
	dst = append(le.AppendUint64(dst, index), 0) // the library's number for an entry of its user
	if len(events) == 0 {
		return dst
	}
	head := le.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(events)))
	head = le.AppendUint64(le.AppendUint64(head, first), term)
	var data []byte
	for _, e := range events {
		data = append(binary.AppendUvarint(data, uint64(len(e))), e...)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(head, table), table, data)
	return append(le.AppendUint32(append(dst, head...), sum), data...)
}

// AppendHard appends the record of a hard state, which says how far the log is committed.
func AppendHard(dst []byte, term, vote, commit uint64) []byte {
	le := binary.LittleEndian
	return le.AppendUint64(le.AppendUint64(le.AppendUint64(append(dst, 'H'), term), vote), commit)
}
