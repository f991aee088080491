package raftlog

import (
	"io"

	"sluice/durability"
	"sluice/durability/journal"
)

// seedIndex is the index of a state with which a log begins. It is above that of a log that begins empty, so
// that a node without the state is sent it.
const seedIndex = firstIndex + 1

// Seed makes an empty journal that of a node whose log begins with a state: that after event seq, which write
// writes. The first members are those of Options.First.
func Seed(j *journal.Journal, found *journal.Recovery, seq durability.Seq, first Members,
	write func(io.Writer) error) error {
	s := NewJournalStore(j, found, nil)
	m := Meta{Term: 1, Index: seedIndex, Seq: seq, HardTerm: 1, Commit: seedIndex, Members: first}
	var buffer []byte
	return s.commit([]Write{{Snapshot: &Received{Meta: m, Content: write}, Sync: true, Done: func(error) {}}}, &buffer)
}
