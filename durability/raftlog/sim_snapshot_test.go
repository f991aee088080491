package raftlog

import (
	"encoding/binary"
	"io"
	"iter"
	"slices"

	"sluice/durability"
	"sluice/durability/journal"
)

// simSnap is a snapshot on a simulated disk, or on its way there.
type simSnap struct {
	meta   Meta
	record uint64
	state  []uint64
}

// Load implements Store.
func (m *simNode) Load() (*Meta, iter.Seq2[journal.Event, error], error) {
	var meta *Meta
	first := uint64(1)
	if n := len(m.snaps); n > 0 {
		meta, first = &m.snaps[n-1].meta, m.snaps[n-1].record+1
	}
	return meta, func(yield func(journal.Event, error) bool) {
		for i, p := range m.disk {
			if at := m.purged + uint64(i) + 1; at >= first && !yield(journal.Event{Seq: durability.Seq(at), Payload: p}, nil) {
				return
			}
		}
	}, nil
}

// snapshot has the state after the last committed event put on disk.
func (m *simNode) snapshot() {
	seq := m.node.handed
	if int(seq) > len(m.state) {
		return // the state machine is behind
	}
	if m.settle != nil {
		return // what of the state is committed is not known
	}
	meta, record, err := m.node.log.meta(seq, m.node.handedAt, m.node.o.Voters)
	if err != nil {
		return // there is one already
	}
	m.offer = &simSnap{meta, record, slices.Clone(m.state[:seq])}
}

// install installs the snapshot that waits.
func (m *simNode) install() {
	o := m.offer
	if m.offer = nil; o == nil || m.broken {
		return
	}
	if n := len(m.snaps); n > 0 && o.record <= m.snaps[n-1].record {
		return // a received one is newer
	}
	m.harden(m.pending)
	m.pending = nil
	if o.record > m.purged+uint64(len(m.disk)) {
		m.w.fail("node %d replaces %d records by a snapshot, and %d are on disk", m.id, o.record, m.purged+uint64(len(m.disk)))
	}
	m.keep(*o)
	m.w.counts.Snapshots++
	if err := m.node.log.installed(o.meta); err != nil {
		m.w.fail("node %d: %v", m.id, err)
	}
}

// keep keeps the newest two snapshots, and the records after the older one.
func (m *simNode) keep(s simSnap) {
	m.snaps = append(m.snaps, s)
	if len(m.snaps) > 2 {
		m.snaps = slices.Clone(m.snaps[1:])
	}
	if len(m.snaps) == 2 {
		m.disk = m.disk[m.snaps[0].record-m.purged:]
		m.purged = m.snaps[0].record
	}
}

// receive puts a snapshot that another node sent on the disk, behind its record.
func (m *simNode) receive(r *Received) {
	var state contents
	if err := r.Content(&state); err != nil {
		m.w.fail("%v", err)
	}
	m.keep(simSnap{r.Meta, m.purged + uint64(len(m.disk)), state})
	m.durable.restore(r.Meta, state)
	m.w.counts.Received++
}

// restore makes the state that of the newest snapshot.
func (m *simNode) restore(meta *Meta) {
	newest := m.snaps[len(m.snaps)-1]
	if newest.meta.Index < meta.Index {
		m.w.fail("node %d is to begin with the snapshot of index %d, and its disk has %d", m.id, meta.Index, newest.meta.Index)
	}
	m.settle = nil
	m.state = slices.Clone(newest.state)
	for i, content := range m.state {
		m.w.commit(m.id, durability.Seq(i+1), content)
	}
}

// restore makes a copy that of a snapshot.
func (c *simCopy) restore(meta Meta, state []uint64) {
	c.events = slices.Clone(state)
	c.indexes = make([]int, meta.Index-firstIndex)
	for i := range c.indexes {
		c.indexes[i] = len(state)
	}
}

// contents are contents of events as bytes.
type contents []uint64

func (c *contents) Write(p []byte) (int, error) {
	for at := 0; at < len(p); at += 8 {
		*c = append(*c, binary.LittleEndian.Uint64(p[at:]))
	}
	return len(p), nil
}

// sendSnapshot sends a node's newest snapshot, which may be newer than the one asked for: then it is
// not.
func (m *simNode) sendSnapshot(to uint64, newest Meta, frame []byte) {
	s := m.snaps[len(m.snaps)-1]
	if s.meta.Index != newest.Index {
		m.node.ReportSnapshot(to, false)
		return
	}
	content := func(w io.Writer) error {
		var b []byte
		for _, v := range s.state {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		_, err := w.Write(b)
		return err
	}
	m.w.links[[2]int{int(m.id), int(to)}] = append(m.w.links[[2]int{int(m.id), int(to)}],
		simFrame{m.incarnation, LaneBulk, frame, &Received{s.meta, content}})
}

// deliverSnapshot delivers a snapshot, or loses it.
func (w *world) deliverSnapshot(from, to *simNode, f simFrame) {
	sent := to.node != nil && !w.cut[[2]int{int(from.id), int(to.id)}] && !w.oneIn(3)
	if sent {
		if err := to.node.ReceiveSnapshot(from.id, f.incarnation, f.data, *f.snapshot); err != nil {
			w.fail("%v", err)
		}
	}
	if from.node != nil && from.incarnation == f.incarnation {
		from.node.ReportSnapshot(to.id, sent)
	}
}
