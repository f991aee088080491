package raftsim

import (
	"fmt"
	"iter"
	"slices"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Machine is one machine: what is on its disk, and its process, if one runs. It implements
// raftlog.Store for the process.
type Machine struct {
	ID          uint64
	Incarnation uint64        // count of the starts of its process
	Node        *raftlog.Node // of the process; nil while none runs
	Paused      int64         // monotonic ns, until which the process takes no frames; who steps it decides about the rest
	Durable     Copy          // what is on the disk
	Memory      Copy          // what the process has: Durable, and what is on its way to the disk

	w        *World
	included func(*Snapshot) []uint64
	records  [][]byte   // on the disk
	purged   uint64     // records that are no longer on the disk
	snaps    []Snapshot // at most two
	offer    *Snapshot  // waits to be installed
	pending  [][]byte   // written and not synced
	writes   []raftlog.Write
	written  uint64 // last index written
	stalled  int    // turns for which the disk does nothing
	broken   bool

	arrived, heard map[uint64]uint64 // by machine: incarnation of the last frame that arrived, and that was taken
	ended          map[uint64]Copy   // by incarnation: Memory when its process ended
}

// Start starts a process: a raftlog.Node on what is on the disk. ID, Voters, Store, Send and SendSnapshot
// are set. After a failure the world has failed.
func (m *Machine) Start(o raftlog.Options) {
	m.Incarnation++
	m.writes, m.pending, m.stalled, m.broken, m.written, m.offer = nil, nil, 0, false, 0, nil
	m.Memory = m.Durable.clone()
	m.arrived, m.heard = map[uint64]uint64{}, map[uint64]uint64{}
	for _, o2 := range m.w.Machines {
		o.Voters = append(o.Voters, o2.ID)
	}
	incarnation := m.Incarnation
	o.ID, o.Store, o.SendSnapshot = m.ID, m, m.sendSnapshot
	o.Send = func(to uint64, lane raftlog.Lane, frame []byte) {
		m.w.Links.send(m.ID, to, incarnation, lane, frame)
	}
	n, err := raftlog.Open(o)
	if err != nil {
		m.w.Fail("node %d does not start: %v", m.ID, err)
		return
	}
	m.Node = n
}

// Crash ends the process. A beginning of what was not synced may be on disk: of what was written, and,
// with a chance of one half, of writes under way.
func (m *Machine) Crash() {
	m.w.Counts.Crashes++
	if m.w.R.IntN(2) == 0 && !m.broken {
		for _, w := range m.writes {
			if w.Snapshot != nil {
				break
			}
			m.append(w)
		}
	}
	keep := m.w.R.IntN(len(m.pending) + 1)
	m.harden(m.pending[:keep])
	m.ended[m.Incarnation] = m.Memory
	m.Node = nil
}

// Believes is the memory of another machine as far as this process can know it: that of the incarnation
// from which it took the last frame, even if that one has ended since; nil if it took none.
func (m *Machine) Believes(o *Machine) *Copy {
	switch incarnation := m.heard[o.ID]; {
	case incarnation == 0:
		return nil
	case incarnation == o.Incarnation && o.Node != nil:
		return &o.Memory
	default:
		ended := o.ended[incarnation]
		return &ended
	}
}

// Broken reports that the disk fails all writes of this process.
func (m *Machine) Broken() bool { return m.broken }

// Stall has the disk do nothing for some turns.
func (m *Machine) Stall(turns int) { m.stalled = turns }

// Step steps the node once, and judges its part.
func (m *Machine) Step() {
	was := m.Node.Status()
	m.Node.Step(m.w.Now)
	for from, incarnation := range m.arrived {
		m.heard[from] = max(m.heard[from], incarnation)
	}
	clear(m.arrived)
	now := m.Node.Status()
	if now.Term == was.Term && now.Leader == was.Leader && now.Leads == was.Leads || !now.Leads {
		return
	}
	m.w.Judge.Leads(m.ID, now.Term)
	if len(m.writes) > 0 {
		m.w.Counts.WonBeforeSync++
	}
}

// Load implements raftlog.Store.
func (m *Machine) Load() (*raftlog.Meta, iter.Seq2[journal.Event, error], error) {
	var meta *raftlog.Meta
	first := uint64(1)
	if s := m.Newest(); s != nil {
		meta, first = &s.Meta, s.record+1
	}
	return meta, m.from(first), nil
}

// from iterates over the records on the disk from one on.
func (m *Machine) from(first uint64) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for i, p := range m.records {
			at := m.purged + uint64(i) + 1
			if at >= first && !yield(journal.Event{Seq: durability.Seq(at), Payload: p}, nil) {
				return
			}
		}
	}
}

// Write implements raftlog.Store.
func (m *Machine) Write(w raftlog.Write) {
	if r := w.Snapshot; r != nil {
		s := m.read(r)
		m.Memory.restore(r.Meta, s.Events)
		m.written = r.Meta.Index
	}
	for _, e := range w.Entries {
		if e.GetIndex() <= m.written {
			m.w.Counts.Truncations++
		}
		m.written = e.GetIndex()
		m.Memory.entry(e.GetIndex(), e.GetData())
	}
	m.writes = append(m.writes, w)
}

// harden puts records on the disk.
func (m *Machine) harden(records [][]byte) {
	for _, p := range records {
		m.Durable.record(p)
	}
	m.records = append(m.records, records...)
}

// Disk is one turn of the disk: it carries out some of the writes, and installs a snapshot that was
// offered.
func (m *Machine) Disk() {
	w := m.w
	if w.Slow > 1 && w.R.IntN(w.Slow) > 0 {
		return
	}
	if m.stalled > 0 {
		m.stalled--
		return
	}
	if w.OneIn(400) {
		w.Counts.DiskStalls++
		m.stalled = w.R.IntN(300)
	}
	if w.OneIn(4000) {
		w.Counts.Poisoned++
		m.broken = true
	}
	k := w.R.IntN(len(m.writes) + 1)
	for _, write := range m.writes[:k] {
		m.write(write)
	}
	m.writes = m.writes[k:]
	m.install()
}

func (m *Machine) write(w raftlog.Write) {
	if m.broken {
		w.Done(fmt.Errorf("disk of node %d is broken", m.ID))
		return
	}
	m.append(w)
	if w.Sync || w.Snapshot != nil {
		m.harden(m.pending)
		m.pending = nil
	}
	if w.Snapshot != nil {
		m.receive(w.Snapshot)
	}
	w.Done(nil)
}

// append appends the records of a write to those that are not synced.
func (m *Machine) append(w raftlog.Write) {
	_, _ = w.Records(nil, func(p []byte) error { // it returns only errors of this function
		m.pending = append(m.pending, slices.Clone(p))
		return nil
	})
}
