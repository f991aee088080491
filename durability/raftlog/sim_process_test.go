package raftlog_test

import (
	"encoding/binary"
	"runtime/debug"
	"slices"

	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// process is what runs on a machine: a state machine whose state is the list of its events.
type process struct {
	*raftsim.Machine
	w *world

	state   []uint64 // content of the events applied or executed, by number from 1
	lead    *raftlog.Leadership
	ring    raftlog.Ring
	sent    []pendingAck
	rest    []raftlog.Item      // of the feed, for later
	settle  *raftlog.Leadership // a leadership that ended, until it is known what became of its last events
	sure    durability.Seq      // last event of settle that is known to be committed
	ticket  uint64
	reading map[uint64]durability.Seq // last event answered when a ticket was drawn
	applied uint64
	told    durability.Seq // last event confirmed to the judge
}

// pendingAck is a response that waits.
type pendingAck struct {
	seq     durability.Seq
	content uint64
}

// contents are the contents of events of which a snapshot consists.
func contents(s *raftsim.Snapshot) (events []uint64) {
	for at := 0; at < len(s.Content); at += 8 {
		events = append(events, binary.LittleEndian.Uint64(s.Content[at:]))
	}
	return events
}

func (p *process) start() {
	p.state, p.lead, p.settle, p.ring, p.sent, p.rest, p.applied, p.told = nil, nil, nil, raftlog.Ring{}, nil, nil, 0, 0
	if s := p.Newest(); s != nil {
		p.state = slices.Clone(s.Events)
	}
	p.reading = map[uint64]durability.Seq{}
	p.ticket = (p.Incarnation + 1) << 32
	o := raftlog.Options{BatchBytes: 64, Window: 1 + p.w.R.IntN(3)}
	if p.w.tight {
		o.Bounds = raftlog.Bounds{MessageBytes: 64, InboxMessages: 8, InboxBytes: 8 << 10, ApplyBytes: 100,
			BacklogBytes: 100,
			Inflight:     2}
	}
	p.Start(o)
}

func (p *process) crash() {
	if p.lead != nil {
		p.w.counts.LeaderCrashes++
	}
	p.Crash()
	p.w.past(p)
}

// act is one turn of a process.
func (p *process) act() {
	w := p.w
	defer func() {
		if v := recover(); v != nil {
			w.Fail("node %d: %v; %s", p.ID, v, debug.Stack())
		}
	}()
	switch w.R.IntN(8) {
	case 0, 1, 2:
		p.Step()
		if p.Node.Done() {
			p.crash()
		}
	case 3, 4:
		p.Disk()
	case 5, 6:
		p.take()
	case 7:
		p.serve()
		if w.R.IntN(12) == 0 {
			p.snapshot()
		}
	}
}

// snapshot has the state after the last committed event put on disk.
func (p *process) snapshot() {
	seq := p.Node.Handed()
	if int(seq) > len(p.state) || p.settle != nil {
		return // the state machine is behind, or what of its state is committed is not known
	}
	p.Offer(seq, func() (content []byte) {
		for _, v := range p.state[:seq] {
			content = binary.LittleEndian.AppendUint64(content, v)
		}
		return content
	})
}

// take lets the state machine take what the log has.
func (p *process) take() {
	if p.lead != nil {
		select {
		case <-p.lead.Ended():
			p.deposed()
		default:
			return
		}
	}
	items, _ := p.Node.Feed().Take()
	items = append(p.rest, items...)
	p.rest = nil
	for i, item := range items {
		if p.item(item); p.lead != nil {
			p.rest = items[i+1:] // it was deposed already, and what follows is for the settling
			break
		}
	}
	if p.applied != 0 {
		p.Node.Applied(p.applied)
	}
}

func (p *process) deposed() {
	p.w.counts.Deposed++
	p.confirmed(p.lead)
	p.settle, p.sure, p.lead, p.sent, p.ring = p.lead, p.lead.Confirmed(), nil, nil, raftlog.Ring{}
	clear(p.reading)
	if p.sure > durability.Seq(len(p.state)) {
		p.w.Fail("node %d confirmed event %d, and executed %d", p.ID, p.sure, len(p.state))
	}
}

func (p *process) item(item raftlog.Item) {
	switch {
	case item.Err != nil:
		p.w.Fail("node %d: %v", p.ID, item.Err)
	case item.Lead != nil:
		p.settled()
		p.lead = item.Lead
		p.w.counts.Leaderships++
		if item.Lead.Last != durability.Seq(len(p.state)) {
			p.w.Fail("node %d leads in term %d after event %d, and its state is at %d", p.ID, item.Lead.Term,
				item.Lead.Last, len(p.state))
		}
		p.lead.Propose(&p.ring)
	case item.Restore != nil:
		p.applied = item.Index
		p.restore(item.Restore)
	default:
		p.applied = item.Index
		p.batch(item)
	}
}

// restore makes the state that of the newest snapshot.
func (p *process) restore(meta *raftlog.Meta) {
	newest := p.Newest()
	if newest.Meta.Index < meta.Index {
		p.w.Fail("node %d is to begin with the snapshot of index %d, and its disk has %d", p.ID, meta.Index,
			newest.Meta.Index)
	}
	p.settle = nil
	p.state = slices.Clone(newest.Events)
	for i, content := range p.state {
		p.w.Judge.Commit(p.ID, durability.Seq(i+1), content)
	}
}

// settled drops what an ended leadership executed and did not get into the log.
func (p *process) settled() {
	if p.settle == nil {
		return
	}
	p.w.counts.Settled++
	if c := int(p.sure); c < len(p.state) {
		p.w.counts.Rollbacks++
		p.state = p.state[:c:c]
	}
	p.settle = nil
}

// batch applies a committed batch, or compares it with what was executed.
func (p *process) batch(item raftlog.Item) {
	if s := p.settle; s != nil {
		if item.Term > s.Term {
			p.settled()
		} else if item.Batch.Count > 0 && item.Batch.Last() <= durability.Seq(len(p.state)) {
			p.sure = item.Batch.Last()
		}
	}
	for seq, event := range item.Batch.Events() {
		content := binary.LittleEndian.Uint64(event)
		p.w.Judge.Commit(p.ID, seq, content)
		switch at := int(seq); {
		case at <= len(p.state):
			if p.state[at-1] != content {
				p.w.Fail("node %d executed another event %d than is committed, and keeps it (C1)", p.ID, seq)
			}
		case at == len(p.state)+1:
			p.state = append(p.state, content)
		default:
			p.w.Fail("node %d gets event %d after %d", p.ID, seq, len(p.state))
		}
	}
}

// confirmed takes notice of what the leader knows to be committed.
func (p *process) confirmed(l *raftlog.Leadership) {
	for p.told = max(p.told, l.Last); p.told < l.Confirmed(); {
		p.told++
		if int(p.told) <= len(p.w.Judge.Log)+1 { // a later leader's, if this one does not know that it is none
			p.w.Judge.Commit(p.ID, p.told, p.state[p.told-1])
		}
	}
}

// serve lets the leader execute requests and release responses.
func (p *process) serve() {
	w, l := p.w, p.lead
	if l == nil {
		return
	}
	p.confirmed(l)
	for range w.R.IntN(4) {
		if len(p.ring.Events) > 20 || w.Calm && w.content >= w.goal {
			break
		}
		w.content++
		p.state = append(p.state, w.content)
		p.ring.Events = append(p.ring.Events, binary.LittleEndian.AppendUint64(nil, w.content))
		p.sent = append(p.sent, pendingAck{durability.Seq(len(p.state)), w.content})
	}
	var v durability.View
	if !l.Cursors.Snapshot(&v) || v.Len == 0 {
		return
	}
	if p.Node.Current(l) {
		p.judgeView(&v)
	}
	p.read(l, &v)
	position := w.policy.Evaluate(&v).Position
	for len(p.sent) > 0 && p.sent[0].seq <= position {
		w.Judge.Answer(p.ID, p.sent[0].seq, p.sent[0].content)
		p.sent = p.sent[1:]
	}
}

// read draws tickets for queries, and answers those that are proven.
func (p *process) read(l *raftlog.Leadership, v *durability.View) {
	w := p.w
	if w.R.IntN(10) == 0 {
		p.ticket++
		p.reading[p.ticket] = w.Judge.Highest()
		l.Prove(p.ticket)
	}
	for ticket, had := range p.reading {
		if ticket <= v.Proven {
			w.counts.Reads++
			delete(p.reading, ticket)
			if len(p.state) < int(had) && w.Judge.Safe {
				w.Fail("node %d proves that it leads with %d events, after event %d was answered (C7)", p.ID,
					len(p.state), had)
			}
		}
	}
}

// judgeView compares the cursors that a leader shows with disks and memories as they are.
func (p *process) judgeView(v *durability.View) {
	for _, c := range v.Nodes[:v.Len] {
		o, knows := p.Machine, true
		if c.ID > 0 {
			o = p.w.Machines[p.Node.VoterAt(c.ID)-1]
			knows = o.Node != nil && p.Node.IncarnationOf(o.ID) == o.Incarnation // else the leader has not heard of its end
		}
		if s := c.Persisted; s > 0 && !o.Durable.Has(s, p.Memory.Events[s-1]) {
			p.w.Fail("leader %d says that node %d has event %d on disk (C2)", p.ID, o.ID, s)
		}
		if s := c.InMemory; knows && c.ID > 0 && s > 0 && !o.Memory.Has(s, p.Memory.Events[s-1]) {
			p.w.Fail("leader %d says that node %d has event %d in memory (C2)", p.ID, o.ID, s)
		}
	}
}
