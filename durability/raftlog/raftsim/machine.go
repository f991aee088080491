package raftsim

import (
	"fmt"
	"io"
	"iter"
	"slices"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Machine is one machine: what is on its disk, and its process, if one runs. It implements
// raftlog.Store for the process. Its groups of fields are, in this order: who it is and its process; the truth about
// disk and memory; the disk and what is on its way there; and what other machines have sent.
type Machine struct {
	ID          uint64        // number
	Generation  uint8         // of its id in the log: it rises when its disk is wiped
	Incarnation uint64        // count of the starts of its process
	Node        *raftlog.Node // of the process; nil while none runs
	Paused      int64         // monotonic ns, until which the process takes no frames; who steps it decides about the rest
	Durable     Copy          // what is on the disk
	Wiped       Copy          // what the disk had when it was wiped the last time: acknowledgements may be on their way
	Memory      Copy          // what the process has: Durable, and what is on its way to the disk
	Dir         string        // of its real files, in a world that has a Power

	w        *World
	options  raftlog.Options // that Start was given
	included func(*Snapshot) []uint64
	records  [][]byte   // on the disk
	purged   uint64     // records that are no longer on the disk
	snaps    []Snapshot // at most two
	offer    *Snapshot  // waits to be installed
	begun    *Snapshot  // may have been installed when the power was lost
	files    *files     // real ones, nil for none or while no process runs
	pending  [][]byte   // written and not synced
	writes   []raftlog.Write
	written  uint64 // last index written
	largest  int    // bytes of the largest entry
	stalled  int    // turns for which the disk does nothing
	broken   bool
	dropped  uint64 // messages that the process has dropped

	earlier uint64                           // starts on disks that were wiped
	sources map[uint64]func(io.Writer) error // by index: the files of received snapshots
	// by machine: incarnation of the last frame that arrived, and that was taken
	arrived, heard map[uint64]uint64
	ended          map[uint64]Copy // by incarnation: Memory when its process ended
}

// NodeID is the id of its disk in the log.
func (m *Machine) NodeID() uint64 { return raftlog.NodeID(uint8(m.ID), m.Generation) }

// Wipe ends the process, and empties the disk.
func (m *Machine) Wipe() {
	if m.Node != nil {
		m.Crash()
	}
	m.records, m.purged, m.snaps, m.pending, m.writes, m.begun = nil, 0, nil, nil, nil, nil
	m.earlier = m.Incarnation
	if m.w.Power != nil {
		m.Dir = m.w.Power.Fresh()
	}
	m.Wiped = m.Durable
	m.Durable, m.Memory = Copy{content: m.Durable.content}, Copy{content: m.Durable.content}
}

// Start starts a process: a raftlog.Node on what is on the disk. ID, First, Store, Send and SendSnapshot
// are set. After a failure the world has failed, or the power was lost.
func (m *Machine) Start(o raftlog.Options) {
	m.Incarnation++
	if m.files != nil {
		last := m.Incarnation
		if m.Incarnation = m.earlier + m.files.found.Incarnation; m.Incarnation < last {
			m.w.Fail("node %d starts as number %d, after number %d", m.ID, m.Incarnation, last-1)
		}
	}
	m.writes, m.pending, m.stalled, m.broken, m.written, m.offer, m.dropped = nil, nil, 0, false, 0, nil, 0
	m.Memory = m.Durable.clone()
	m.arrived, m.heard = map[uint64]uint64{}, map[uint64]uint64{}
	m.sources = map[uint64]func(io.Writer) error{}
	var first []raftlog.Member
	for id := uint64(1); id <= uint64(m.w.First); id++ {
		first = append(first, raftlog.Member{ID: id, Info: m.w.Info(id)})
	}
	if o.Window == 0 {
		o.Window = raftlog.DefaultWindow
	}
	m.options = o
	o.First = raftlog.FirstMembers(first...)
	incarnation := m.Incarnation
	o.ID, o.Store, o.SendSnapshot = m.NodeID(), m, m.sendSnapshot
	o.Send = func(to uint64, lane raftlog.Lane, frame []byte) {
		m.w.Judge.sent(o.ID, frame)
		m.w.Links.send(o.ID, to, incarnation, lane, frame)
	}
	n, err := raftlog.Open(o)
	if err != nil && m.PowerLost() {
		return
	}
	if err != nil {
		m.w.Fail("node %d does not start: %v", m.ID, err)
		return
	}
	m.Node = n
}

// Crash ends the process. A beginning of what was not synced may be on disk: of what was written, and,
// with a chance of one half, of writes under way. With real files, Power says what is left.
func (m *Machine) Crash() {
	m.w.Counts.Crashes++
	if m.w.Power != nil {
		m.ended[m.Incarnation] = m.Memory
		m.Node = nil
		m.CloseFiles()
		return
	}
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
	m.checkInbox()
	m.Node.Step(m.w.Now)
	m.checkMemory()
	for from, incarnation := range m.arrived {
		m.heard[from] = max(m.heard[from], incarnation)
	}
	clear(m.arrived)
	now := m.Node.Status()
	m.w.Judge.Members(m.ID, now.Members)
	if now.Term == was.Term && now.Leader == was.Leader && now.Leads == was.Leads || !now.Leads {
		return
	}
	m.w.Judge.Leads(m.ID, now.Term)
	if len(m.writes) > 0 {
		m.w.Counts.WonBeforeSync++
	}
}

// Load implements raftlog.Store.
func (m *Machine) Load() (snap *raftlog.Meta, upTo uint64, records iter.Seq2[journal.Event, error], err error) {
	if m.files != nil {
		return m.files.store.Load()
	}
	if s := m.Newest(); s != nil {
		snap, upTo = &s.Meta, s.record
	}
	return snap, upTo, m.from(upTo + 1), nil
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
		data := e.GetData()
		if e.GetType() != 0 {
			data = nil
		}
		m.Memory.entry(e.GetIndex(), data)
		m.largest = max(m.largest, len(e.GetData()))
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
	now := m.writes[:k]
	m.writes = m.writes[k:]
	if m.files != nil && !m.broken && k > 0 {
		if m.carryOut(now); m.PowerLost() {
			return
		}
		now = nil
	}
	for _, write := range now {
		m.write(write)
	}
	m.install()
}

func (m *Machine) write(w raftlog.Write) {
	if m.broken {
		w.Done(fmt.Errorf("disk of node %d is broken", m.ID))
		return
	}
	m.append(w)
	m.wrote(w)
	w.Done(nil)
}

// wrote takes notice of a write that was carried out.
func (m *Machine) wrote(w raftlog.Write) {
	if w.Sync || w.Snapshot != nil {
		m.harden(m.pending)
		m.pending = nil
	}
	if w.Snapshot != nil {
		m.receive(w.Snapshot)
	}
}

// append appends the records of a write to those that are not synced.
func (m *Machine) append(w raftlog.Write) {
	_, _ = w.Records(nil, func(p []byte) error { // it returns only errors of this function
		m.pending = append(m.pending, slices.Clone(p))
		return nil
	})
}
