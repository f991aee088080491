package raftsim

import (
	"bytes"
	"io"
	"iter"
	"slices"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Snapshot is a snapshot on a simulated disk, or on its way there.
type Snapshot struct {
	Meta    raftlog.Meta
	Content []byte
	Events  []uint64 // contents of the events that it includes, by number from 1

	record   uint64 // of the journal, up to which the snapshot replaces it
	received bool   // from another node
}

// Newest is the newest snapshot on the disk, nil if there is none.
func (m *Machine) Newest() *Snapshot {
	if len(m.snaps) == 0 {
		return nil
	}
	return &m.snaps[len(m.snaps)-1]
}

// Journal is what is on the disk as a journal would have it: the number of the first record kept, 0 if
// there is none, the record up to which the newest snapshot replaces the journal, that snapshot's Meta, and
// the records.
func (m *Machine) Journal() (first, snapshot uint64, newest *raftlog.Meta, records iter.Seq2[journal.Event, error]) {
	if len(m.records) > 0 {
		first = m.purged + 1
	}
	if s := m.Newest(); s != nil {
		snapshot, newest = s.record, &s.Meta
	}
	return first, snapshot, newest, m.from(first)
}

// Offer offers the state after event seq, which the node knows to be committed, as a snapshot. The
// disk installs it in one of its turns; false if the node wants none there.
func (m *Machine) Offer(seq durability.Seq, content func() []byte) bool {
	meta, record, err := m.Node.Mark(seq)
	if err != nil {
		return false // there is one already
	}
	s := &Snapshot{Meta: meta, Content: content(), record: record}
	s.Events = m.included(s)
	m.offer = s
	return true
}

// install installs the snapshot that waits.
func (m *Machine) install() {
	o := m.offer
	if m.offer = nil; o == nil || m.broken {
		return
	}
	if s := m.Newest(); s != nil && o.record <= s.record {
		if o.Meta.Index > s.Meta.Index {
			m.w.Fail("node %d makes a snapshot of index %d up to record %d; that of index %d is up to record %d",
				m.ID, o.Meta.Index, o.record, s.Meta.Index, s.record)
		}
		return // a received one is newer
	}
	if m.files != nil {
		if m.PowerLost() || !m.put(o) {
			return
		}
		if o.record > m.purged+uint64(len(m.records)) { // what was pending was committed with it
			m.harden(m.pending)
			m.pending = nil
		}
	} else {
		m.harden(m.pending)
		m.pending = nil
	}
	if have := m.purged + uint64(len(m.records)); o.record > have {
		m.w.Fail("node %d replaces %d records by a snapshot, and %d are on disk", m.ID, o.record, have)
	}
	m.keep(*o)
	m.w.Counts.Snapshots++
	if err := m.Node.Marked(o.Meta); err != nil {
		m.w.Fail("node %d: %v", m.ID, err)
	}
}

// keep keeps the newest two snapshots, and the records after the older one.
func (m *Machine) keep(s Snapshot) {
	m.snaps = append(m.snaps, s)
	if len(m.snaps) > 2 {
		m.snaps = slices.Clone(m.snaps[1:])
	}
	if len(m.snaps) == 2 {
		m.records = m.records[m.snaps[0].record-m.purged:]
		m.purged = m.snaps[0].record
	}
}

// read reads a snapshot that another node sent.
func (m *Machine) read(r *raftlog.Received) *Snapshot {
	var content bytes.Buffer
	if err := r.Content(&content); err != nil {
		m.w.Fail("%v", err)
	}
	s := &Snapshot{Meta: r.Meta, Content: content.Bytes()}
	s.Events = m.included(s)
	return s
}

// receive puts a snapshot that another node sent on the disk, behind its record.
func (m *Machine) receive(r *raftlog.Received) {
	s := m.read(r)
	s.record = m.purged + uint64(len(m.records))
	m.keep(*s)
	m.Durable.restore(s.Meta, s.Events)
	m.w.Counts.Received++
}

// sendSnapshot sends the newest snapshot, which may be newer than the one asked for: then it is not.
func (m *Machine) sendSnapshot(to uint64, newest raftlog.Meta, data []byte) {
	s := *m.Newest()
	if s.Meta.Index != newest.Index {
		m.Node.ReportSnapshot(to, false)
		return
	}
	content := func(w io.Writer) error {
		_, err := w.Write(s.Content)
		return err
	}
	key := [2]int{int(m.ID), int(uint8(to))}
	m.w.Links.queues[key] = append(m.w.Links.queues[key], frame{m.NodeID(), to, m.Incarnation, raftlog.LaneBulk, data,
		&raftlog.Received{Meta: s.Meta, Content: content}})
}
