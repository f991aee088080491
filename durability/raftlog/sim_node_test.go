package raftlog

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"slices"

	"sluice/durability"
)

// simNode is one machine: what is on its disk, and the process, if it runs.
type simNode struct {
	w           *world
	id          uint64
	incarnation uint64
	disk        [][]byte  // synced records
	durable     simCopy   // of disk
	memory      simCopy   // of the process: durable, and what is on its way to the disk
	purged      uint64    // records that are no longer on the disk
	snaps       []simSnap // at most two
	offer       *simSnap  // waits to be installed
	pending     [][]byte  // written and not synced
	writes      []Write
	stalled     int // steps for which the disk does nothing
	broken      bool

	node    *Node
	state   []uint64 // content of the events applied or executed, by number from 1
	lead    *Leadership
	ring    simRing
	sent    []pendingAck
	settle  *Leadership // a leadership that ended, until it is known what became of its last events
	ticket  uint64
	reading map[uint64]int // events acked when a ticket was drawn
	applied uint64
	written uint64
	told    durability.Seq // last event confirmed to the judge
}

// simRing is the ring of events between the executor and the node.
type simRing struct{ events [][]byte }

func (r *simRing) Next() ([]byte, bool) {
	if len(r.events) == 0 {
		return nil, false
	}
	e := r.events[0]
	r.events = r.events[1:]
	return e, true
}

func (r *simRing) Release() {}

// Write implements Store.
func (m *simNode) Write(w Write) {
	if w.Snapshot != nil {
		var state contents
		_ = w.Snapshot.Content(&state)
		m.memory.restore(w.Snapshot.Meta, state)
		m.written = w.Snapshot.Meta.Index
	}
	for _, e := range w.Entries {
		if e.GetIndex() <= m.written {
			m.w.counts.Truncations++
		}
		m.written = e.GetIndex()
		m.memory.entry(e)
	}
	m.writes = append(m.writes, w)
}

func (m *simNode) start() {
	m.incarnation++
	var voters []uint64
	for _, o := range m.w.nodes {
		voters = append(voters, o.id)
	}
	if len(voters) == 0 {
		return
	}
	m.state, m.lead, m.settle, m.ring, m.sent, m.applied, m.told = nil, nil, nil, simRing{}, nil, 0, 0
	m.writes, m.pending, m.stalled, m.broken, m.written = nil, nil, 0, false, 0
	m.offer = nil
	if n := len(m.snaps); n > 0 {
		m.state = slices.Clone(m.snaps[n-1].state)
	}
	m.memory = simCopy{slices.Clone(m.durable.events), slices.Clone(m.durable.indexes)}
	m.reading = map[uint64]int{}
	m.ticket = m.incarnation << 32
	incarnation := m.incarnation
	n, err := Open(Options{ID: m.id, Voters: voters, Store: m, BatchBytes: 64, Window: 1 + m.w.r.IntN(3),
		Send:         func(to uint64, lane Lane, frame []byte) { m.w.send(m.id, to, incarnation, lane, frame) },
		SendSnapshot: m.sendSnapshot})
	if err != nil {
		m.w.fail("node %d does not start: %v", m.id, err)
		return
	}
	m.node = n
}

func (m *simNode) crash() {
	m.w.counts.Crashes++
	if m.lead != nil {
		m.w.counts.LeaderCrashes++
	}
	// What was written and not synced may be on disk, in order.
	keep := m.w.r.IntN(len(m.pending) + 1)
	m.harden(m.pending[:keep])
	m.node = nil
}

// harden puts records on the disk.
func (m *simNode) harden(records [][]byte) {
	for _, p := range records {
		m.durable.record(p)
	}
	m.disk = append(m.disk, records...)
}

// disk lets a node's disk carry out some of its writes.
func (m *simNode) sync() {
	if m.w.slow > 1 && m.w.r.IntN(m.w.slow) > 0 {
		return
	}
	if m.stalled > 0 {
		m.stalled--
		return
	}
	if m.w.oneIn(400) {
		m.w.counts.DiskStalls++
		m.stalled = m.w.r.IntN(300)
	}
	if m.w.oneIn(4000) {
		m.w.counts.Poisoned++
		m.broken = true
	}
	k := m.w.r.IntN(len(m.writes) + 1)
	for _, w := range m.writes[:k] {
		if m.broken {
			w.Done(fmt.Errorf("disk of node %d is broken", m.id))
			continue
		}
		_, _ = w.Records(nil, func(p []byte) error {
			m.pending = append(m.pending, slices.Clone(p))
			return nil
		})
		if w.Sync || w.Snapshot != nil {
			m.harden(m.pending)
			m.pending = nil
		}
		if w.Snapshot != nil {
			m.receive(w.Snapshot)
		}
		w.Done(nil)
	}
	m.writes = m.writes[k:]
	m.install()
}

// act is one turn of a node's process.
func (m *simNode) act() {
	w := m.w
	defer func() {
		if v := recover(); v != nil {
			w.fail("node %d: %v; %s", m.id, v, debug.Stack())
		}
	}()
	switch w.r.IntN(8) {
	case 0, 1, 2:
		was := m.node.role
		m.node.Step(w.now)
		m.judgeRole(was)
		if m.node.Done() {
			m.crash()
		}
	case 3, 4:
		m.sync()
	case 5, 6:
		m.take()
	case 7:
		m.serve()
		if w.r.IntN(12) == 0 {
			m.snapshot()
		}
	}
}

// take lets the state machine take what the log has.
func (m *simNode) take() {
	if m.lead != nil {
		select {
		case <-m.lead.Ended():
			m.w.counts.Deposed++
			m.confirmed(m.lead)
			m.settle, m.lead, m.sent, m.ring = m.lead, nil, nil, simRing{}
			clear(m.reading)
			if m.settle.Confirmed() > durability.Seq(len(m.state)) {
				m.w.fail("node %d confirmed event %d, and executed %d", m.id, m.settle.Confirmed(), len(m.state))
			}
		default:
			return
		}
	}
	items, _ := m.node.Feed().Take()
	for i, item := range items {
		if m.item(item); m.lead != nil {
			if i+1 < len(items) { // it was deposed already, and what follows is for the settling
				m.node.feed.mu.Lock()
				m.node.feed.items = append(slices.Clone(items[i+1:]), m.node.feed.items...)
				m.node.feed.mu.Unlock()
			}
			break
		}
	}
	if m.applied != 0 {
		m.node.Applied(m.applied)
	}
}

func (m *simNode) item(item Item) {
	switch {
	case item.Err != nil:
		m.w.fail("node %d: %v", m.id, item.Err)
	case item.Lead != nil:
		m.settled()
		m.lead = item.Lead
		m.w.counts.Leaderships++
		if item.Lead.Last != durability.Seq(len(m.state)) {
			m.w.fail("node %d leads in term %d after event %d, and its state is at %d", m.id, item.Lead.Term,
				item.Lead.Last, len(m.state))
		}
		m.lead.Propose(&m.ring)
	case item.Restore != nil:
		m.applied = item.Index
		m.restore(item.Restore)
	default:
		m.applied = item.Index
		m.batch(item)
	}
}

// batch applies a committed batch, or compares it with what was executed.
func (m *simNode) batch(item Item) {
	if s := m.settle; s != nil {
		if item.Term > s.Term {
			m.settled()
		} else if item.Batch.Count > 0 && item.Batch.Last() <= durability.Seq(len(m.state)) {
			s.confirmed.Store(uint64(item.Batch.Last()))
		}
	}
	for seq, event := range item.Batch.Events() {
		content := binary.LittleEndian.Uint64(event)
		m.w.commit(m.id, seq, content)
		switch at := int(seq); {
		case at <= len(m.state):
			if m.state[at-1] != content {
				m.w.fail("node %d executed another event %d than is committed, and keeps it (C1)", m.id, seq)
			}
		case at == len(m.state)+1:
			m.state = append(m.state, content)
		default:
			m.w.fail("node %d gets event %d after %d", m.id, seq, len(m.state))
		}
	}
}

// serve lets the leader execute requests and release responses.
func (m *simNode) serve() {
	w, l := m.w, m.lead
	if l == nil {
		return
	}
	m.confirmed(l)
	for range w.r.IntN(4) {
		if len(m.ring.events) > 20 || w.calm && w.content >= w.goal {
			break
		}
		w.content++
		m.state = append(m.state, w.content)
		m.ring.events = append(m.ring.events, binary.LittleEndian.AppendUint64(nil, w.content))
		m.sent = append(m.sent, pendingAck{durability.Seq(len(m.state)), w.content})
	}
	var v durability.View
	if !l.Cursors.Snapshot(&v) || v.Len == 0 {
		return
	}
	if m.node.lead == l {
		m.judgeView(&v)
	}
	if w.r.IntN(10) == 0 {
		m.ticket++
		m.reading[m.ticket] = w.highest()
		l.Prove(m.ticket)
	}
	for ticket, had := range m.reading {
		if ticket <= v.Proven {
			w.counts.Reads++
			delete(m.reading, ticket)
			if len(m.state) < had && w.safe {
				w.fail("node %d proves that it leads with %d events, after event %d was answered (C7)", m.id, len(m.state), had)
			}
		}
	}
	position := w.policy.Evaluate(&v).Position
	for len(m.sent) > 0 && m.sent[0].seq <= position {
		m.release(m.sent[0])
		m.sent = m.sent[1:]
	}
}
