package raftsim

import (
	"encoding/binary"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// Copy is what a disk or a memory has of the log: the content of each event, and how many events there
// are up to each index.
type Copy struct {
	Events []uint64 // contents by number, from 1

	indexes []int // by index after the first
	content func(event []byte) uint64
}

// Layout of the journal of a member, as far as a Copy reads it; see raftlog's record.go and batch.go.
const (
	firstIndex  = 1
	entryHeader = 18 // 'E', term u64, index u64, type u8
	indexAt     = 9
	batchHeader = 28 // count u32 at 4
	countAt     = 4
)

// record reads a record of the journal. Only entries count.
func (c *Copy) record(p []byte) {
	if len(p) >= entryHeader && p[0] == 'E' {
		c.entry(binary.LittleEndian.Uint64(p[indexAt:]), p[entryHeader:])
	}
}

// entry appends an entry. One that exists already cuts everything from there on.
func (c *Copy) entry(index uint64, data []byte) {
	at := int(index) - firstIndex - 1
	c.indexes = c.indexes[:at:at]
	had := 0
	if at > 0 {
		had = c.indexes[at-1]
	}
	c.Events = c.Events[:had:had]
	if len(data) > 0 {
		rest := data[batchHeader:]
		for range binary.LittleEndian.Uint32(data[countAt:]) {
			n, size := binary.Uvarint(rest)
			c.Events = append(c.Events, c.content(rest[size:size+int(n)]))
			rest = rest[size+int(n):]
		}
	}
	c.indexes = append(c.indexes, len(c.Events))
}

// restore makes the copy that of a snapshot.
func (c *Copy) restore(meta raftlog.Meta, events []uint64) {
	c.Events = append([]uint64(nil), events...)
	c.indexes = make([]int, meta.Index-firstIndex)
	for i := range c.indexes {
		c.indexes[i] = len(events)
	}
}

func (c *Copy) clone() Copy {
	return Copy{append([]uint64(nil), c.Events...), append([]int(nil), c.indexes...), c.content}
}

// Has reports that the copy has event seq with a content.
func (c *Copy) Has(seq durability.Seq, content uint64) bool {
	return int(seq) <= len(c.Events) && c.Events[seq-1] == content
}
