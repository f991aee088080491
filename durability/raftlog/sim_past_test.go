package raftlog_test

import (
	"encoding/binary"
	"errors"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// past compares what ReadPast makes of a disk with what the disk has.
func (w *world) past(p *process) {
	m := p.Machine
	past, events, err := raftlog.PastOf(m.Journal())
	if err != nil {
		w.Fail("the disk of node %d cannot be read: %v", m.ID, err)
		return
	}
	seq := past.First
	for ev, err := range events {
		if err == nil && ev.Seq <= min(past.Committed, durability.Seq(len(w.Judge.Log))) &&
			w.Judge.Log[ev.Seq-1] != binary.LittleEndian.Uint64(ev.Payload) {
			err = errors.New("it is said to be committed, and another one is")
		}
		if err != nil || ev.Seq != seq || !m.Durable.Has(seq, binary.LittleEndian.Uint64(ev.Payload)) {
			w.Fail("the disk of node %d is read as event %d of term %d: %v; want event %d", m.ID, ev.Seq, ev.Term, err, seq)
			return
		}
		seq++
	}
	last := durability.Seq(len(m.Durable.Events))
	if past.Newest != nil && past.First == 0 {
		seq = past.Newest.Seq + 1
	} else if past.First == 0 {
		seq = 1
	}
	if past.First != 0 && past.Last != seq-1 || seq != last+1 || past.Committed > last {
		w.Fail("the disk of node %d is read up to event %d (%d says the summary), committed %d; it has %d", m.ID, seq-1,
			past.Last, past.Committed, last)
	}
	w.counts.Pasts++
}
