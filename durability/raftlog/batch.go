package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	"sluice/durability"
	"sluice/durability/journal"
)

// Layout of the data of an entry, little-endian:
//
//	version u8 = 1 | zero u8[3] | count u32 | first u64 | term u64 | crc32c u32 | events
//
// events is count times a uvarint length followed by as many bytes. The checksum covers everything
// else. It is computed where the batch is made and compared wherever it is applied, so that one
// checksum guards memory, disk and links.
const (
	batchVersion = 1
	batchHeader  = 28
	sumAt        = 24
	eventLength  = 3 // bytes of the length of an event, at most
)

// Limits of an entry, which is one record of the journal.
const (
	MaxBatchBytes = journal.MaxPayloadBytes - entryRecord     // of its data
	MaxEventBytes = MaxBatchBytes - batchHeader - eventLength // of an event, which then is alone in its entry
)

// errBatch marks the data of an entry that is no batch of its term. A node that has it committed has
// diverged.
var errBatch = errors.New("raftlog: entry is no batch of events")

// Batch is a row of events that one leader proposed as one entry.
type Batch struct {
	Term  uint64         // of the leader that numbered the events
	First durability.Seq // number of the first event
	Count uint32         // of events
	data  []byte
}

// Last is the number of the last event.
func (b Batch) Last() durability.Seq { return b.First + durability.Seq(b.Count) - 1 }

// Events iterates over the events by number. Their bytes belong to the log and must not be changed.
func (b Batch) Events() iter.Seq2[durability.Seq, []byte] {
	return func(yield func(durability.Seq, []byte) bool) {
		rest := b.data
		for seq := b.First; seq < b.First+durability.Seq(b.Count); seq++ {
			n, size := binary.Uvarint(rest)
			rest = rest[size:]
			if !yield(seq, rest[:n:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// parseBatch checks the data of an entry of a term. The batch refers to data.
func parseBatch(data []byte, term uint64) (Batch, error) {
	le := binary.LittleEndian
	if len(data) < batchHeader || data[0] != batchVersion {
		return Batch{}, fmt.Errorf("%w: %d bytes, version %d; this program reads version %d", errBatch,
			len(data), append(data, 0)[0], batchVersion)
	}
	b := Batch{Count: le.Uint32(data[4:]), First: durability.Seq(le.Uint64(data[8:])),
		Term: le.Uint64(data[16:]), data: data[batchHeader:]}
	if sum, want := batchSum(data), le.Uint32(data[sumAt:]); sum != want {
		return Batch{}, fmt.Errorf("%w: checksum %#x, its bytes have %#x", errBatch, want, sum)
	}
	if b.Term != term || b.Count == 0 || b.First == 0 {
		return Batch{}, fmt.Errorf("%w: %d events from %d on, numbered in term %d, in an entry of term %d",
			errBatch, b.Count, uint64(b.First), b.Term, term)
	}
	rest := b.data
	for range b.Count {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Batch{}, fmt.Errorf("%w: the lengths of its events do not add up", errBatch)
		}
		rest = rest[size+int(n):]
	}
	if len(rest) > 0 {
		return Batch{}, fmt.Errorf("%w: %d bytes follow its events", errBatch, len(rest))
	}
	return b, nil
}

// batchSum is the checksum of everything but the checksum.
func batchSum(data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(data[:sumAt], table), table, data[batchHeader:])
}

// lastOf is the number of the last event in the data of an entry, without a look at its checksum;
// 0 for an entry without events.
func lastOf(data []byte) durability.Seq {
	if len(data) < batchHeader {
		return 0
	}
	return durability.Seq(binary.LittleEndian.Uint64(data[8:])) +
		durability.Seq(binary.LittleEndian.Uint32(data[4:])) - 1
}

// builder makes the data of one entry after the other.
type builder struct {
	data  []byte
	count uint32
}

func (b *builder) add(event []byte) {
	if b.count == 0 {
		b.data = make([]byte, batchHeader, batchHeader+len(event)+16)
	}
	b.data = binary.AppendUvarint(b.data, uint64(len(event)))
	b.data = append(b.data, event...)
	b.count++
}

func (b *builder) size() int { return len(b.data) }

// seal completes the data, which the log keeps: the builder starts anew.
func (b *builder) seal(first durability.Seq, term uint64) []byte {
	le := binary.LittleEndian
	b.data[0] = batchVersion
	le.PutUint32(b.data[4:], b.count)
	le.PutUint64(b.data[8:], uint64(first))
	le.PutUint64(b.data[16:], term)
	le.PutUint32(b.data[sumAt:], batchSum(b.data))
	data := b.data
	b.data, b.count = nil, 0
	return data
}
