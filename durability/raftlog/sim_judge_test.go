package raftlog

import (
	"encoding/binary"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// simCopy is what a disk or a memory has of the log: the content of each event, and how many events
// there are up to each index.
type simCopy struct {
	events  []uint64
	indexes []int // by index after the first
}

func (c *simCopy) entry(e *pb.Entry) {
	at := int(e.GetIndex()) - firstIndex - 1
	c.indexes = c.indexes[:at:at]
	had := 0
	if at > 0 {
		had = c.indexes[at-1]
	}
	c.events = c.events[:had:had]
	if data := e.GetData(); len(data) > 0 {
		b, err := parseBatch(data, e.GetTerm())
		if err != nil {
			panic(err)
		}
		for _, event := range b.Events() {
			c.events = append(c.events, binary.LittleEndian.Uint64(event))
		}
	}
	c.indexes = append(c.indexes, len(c.events))
}

func (c *simCopy) record(p []byte) {
	if op, err := parseRecord(p); err == nil && op.entry != nil {
		c.entry(op.entry)
	}
}

// has reports that the copy has event seq with a content.
func (c *simCopy) has(seq durability.Seq, content uint64) bool {
	return int(seq) <= len(c.events) && c.events[seq-1] == content
}

type pendingAck struct {
	seq     durability.Seq
	content uint64
}

func (m *simNode) judgeRole(was role) {
	now := m.node.role
	if now == was || !now.leads {
		return
	}
	if other, ok := m.w.leaders[now.term]; ok && other != m.id {
		m.w.fail("nodes %d and %d lead in term %d (C1)", other, m.id, now.term)
	}
	m.w.leaders[now.term] = m.id
	if len(m.writes) > 0 {
		m.w.counts.WonBeforeSync++
	}
}

// settled drops what an ended leadership executed and did not get into the log.
func (m *simNode) settled() {
	if m.settle == nil {
		return
	}
	m.w.counts.Settled++
	if c := int(m.settle.Confirmed()); c < len(m.state) {
		m.w.counts.Rollbacks++
		m.state = m.state[:c:c]
	}
	m.settle = nil
}

// confirmed takes notice of what the leader knows to be committed.
func (m *simNode) confirmed(l *Leadership) {
	for m.told = max(m.told, l.Last); m.told < l.Confirmed(); {
		m.told++
		if int(m.told) <= len(m.w.log)+1 { // a later leader's, if this one does not know that it is none
			m.w.commit(m.id, m.told, m.state[m.told-1])
		}
	}
}

// commit is the first or a later sight of a committed event.
func (w *world) commit(node uint64, seq durability.Seq, content uint64) {
	at := int(seq)
	switch {
	case at == len(w.log)+1:
		w.log = append(w.log, content)
		w.counts.Committed++
		w.note(content)
	case at > len(w.log)+1:
		w.fail("node %d has event %d committed, and no node the one after %d", node, seq, len(w.log))
	case w.log[at-1] != content:
		w.fail("node %d has another event %d than was committed (C1)", node, seq)
	}
	if had, ok := w.acked[seq]; ok && had != content && w.safe {
		w.fail("event %d was answered, and another one is committed (C3)", seq)
	}
}

func (w *world) highest() (most int) {
	for seq := range w.acked {
		most = max(most, int(seq))
	}
	return most
}

// release is a response that leaves: the policy must hold over the disks and memories as they are.
func (m *simNode) release(a pendingAck) {
	w := m.w
	w.counts.Acked++
	w.note(uint64(a.seq))
	if had, ok := w.acked[a.seq]; ok && had != a.content && w.safe {
		w.fail("event %d was answered twice, with different contents (C3)", a.seq)
	}
	w.acked[a.seq] = a.content
	if int(a.seq) <= len(w.log) && w.log[a.seq-1] != a.content && w.safe {
		w.fail("node %d answers event %d, and another one is committed (C3)", m.id, a.seq)
	}
	if w.safe {
		has := 0
		for _, o := range w.nodes {
			if o.durable.has(a.seq, a.content) {
				has++
			}
		}
		if has < len(w.nodes)/2+1 {
			w.fail("node %d answers event %d, which is on %d disks (C2)", m.id, a.seq, has)
		}
	}
}

// judgeView compares the cursors that a leader shows with disks and memories as they are.
func (m *simNode) judgeView(v *durability.View) {
	for _, c := range v.Nodes[:v.Len] {
		o, knows := m, true
		if c.ID > 0 {
			p := &m.node.peers[c.ID-1]
			o = m.w.nodes[p.id-1]
			knows = o.node != nil && p.incarnation == o.incarnation // else the leader has not heard of its end
		}
		if s := c.Persisted; s > 0 && !o.durable.has(s, m.memory.events[s-1]) {
			m.w.fail("leader %d says that node %d has event %d on disk (C2)", m.id, o.id, s)
		}
		if s := c.InMemory; knows && c.ID > 0 && s > 0 && !o.memory.has(s, m.memory.events[s-1]) {
			m.w.fail("leader %d says that node %d has event %d in memory (C2)", m.id, o.id, s)
		}
	}
}

func (w *world) describe() (s string) {
	for _, m := range w.nodes {
		if m.node != nil {
			s += fmt.Sprintf("[node %d %+v, state %d, committed %d] ", m.id, m.node.role, len(m.state), len(w.log))
		}
	}
	return s
}

// finished reports that new events were answered after the faults, and all nodes have them.
func (w *world) finished() bool {
	if w.content < w.goal {
		return false
	}
	for _, m := range w.nodes {
		if m.node == nil || len(m.state) != len(w.log) || m.settle != nil || len(m.sent) > 0 {
			return false
		}
	}
	return true
}
