package raftsim

import (
	"encoding/binary"
	"slices"
	"sort"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// Copy is what a disk or a memory has of the log: the content of each event, and how many events there
// are up to each index.
type Copy struct {
	Events []uint64 // contents by number, from 1

	chain   []uint64 // of each event: a hash of the contents up to it
	indexes []int    // by index after the first
	content func(event []byte) uint64
}

// Layout of the journal of a member, as far as a Copy reads it; see raftlog's record.go and batch.go.
const (
	firstIndex  = 1
	entryHeader = 18 // 'E', term u64, index u64, type u8
	indexAt     = 9
	typeAt      = 17
	batchHeader = 28 // count u32 at 4
	countAt     = 4
)

// record reads a record of the journal. Only entries count.
func (c *Copy) record(p []byte) {
	if len(p) >= entryHeader && p[0] == 'E' {
		if p[typeAt] != 0 { // it has no events
			p = p[:entryHeader]
		}
		c.entry(binary.LittleEndian.Uint64(p[indexAt:]), p[entryHeader:])
	}
}

// entry appends an entry. One that exists already cuts everything from there on.
func (c *Copy) entry(index uint64, data []byte) {
	at := int(index) - firstIndex - 1
	c.indexes = c.indexes[:at]
	had := 0
	if at > 0 {
		had = c.indexes[at-1]
	}
	c.Events, c.chain = c.Events[:had], c.chain[:had]
	if len(data) > 0 {
		rest := data[batchHeader:]
		for range binary.LittleEndian.Uint32(data[countAt:]) {
			n, size := binary.Uvarint(rest)
			c.add(c.content(rest[size : size+int(n)]))
			rest = rest[size+int(n):]
		}
	}
	c.indexes = append(c.indexes, len(c.Events))
}

func (c *Copy) add(content uint64) {
	last := uint64(0)
	if n := len(c.chain); n > 0 {
		last = c.chain[n-1]
	}
	c.Events, c.chain = append(c.Events, content), append(c.chain, (last^content)*0x9E3779B97F4A7C15)
}

// restore makes the copy that of a snapshot.
func (c *Copy) restore(meta raftlog.Meta, events []uint64) {
	c.Events, c.chain = c.Events[:0], c.chain[:0]
	for _, content := range events {
		c.add(content)
	}
	c.indexes = make([]int, meta.Index-firstIndex)
	for i := range c.indexes {
		c.indexes[i] = len(events)
	}
}

func (c *Copy) clone() Copy {
	return Copy{slices.Clone(c.Events), slices.Clone(c.chain), slices.Clone(c.indexes), c.content}
}

// Has reports that the copy has event seq with a content.
func (c *Copy) Has(seq durability.Seq, content uint64) bool {
	return int(seq) <= len(c.Events) && c.Events[seq-1] == content
}

// Agrees is the number of events from the first on that both copies have, with the same contents.
func (c *Copy) Agrees(o *Copy) durability.Seq {
	n := min(len(c.chain), len(o.chain))
	return durability.Seq(sort.Search(n, func(i int) bool { return c.chain[i] != o.chain[i] }))
}
