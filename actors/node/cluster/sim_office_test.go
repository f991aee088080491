package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/mailbox"
)

type simSlot = actors.Slot[orderbook.Report, orderbook.Answer]

// simOffice is what serves clients during a leadership: queue, sequencer and gate.
//
//	simConn.up --> queue --> sequencer ==> simTap ==> raftlog.Node
//	                             |                        | cursors, tickets proven
//	                             +=====> gate <-----------+
//	simConn.down <-- oracle <-----------+
type simOffice struct {
	m         *simMember
	w         *simWorld
	lead      *raftlog.Leadership
	queue     *sequencer.Queue
	sequencer *sequencer.Sequencer[orderbook.Report, orderbook.Answer]
	state     *sequencer.State
	gate      *actors.Gate[orderbook.Report, orderbook.Answer]
	tap       simTap
	shard     *simShard
	conns     []*simConn       // open
	taken     uint64           // slots from the gate
	held      []durability.Seq // by policy: how far it has ever held, at one instant
	policies  []simPolicy      // that are in force for the events, in their order
	swaps     []simSwap        // of the gate's policy that are under way
	failed    bool             // the application has panicked; the office is to be handed over
}

// simTap is the ring of events on its way to the node; it keeps them for the judge.
type simTap struct {
	ring   *mailbox.BytesReader
	events [][]byte // from the first of the leadership on
}

func (t *simTap) Next() ([]byte, bool) {
	e, ok := t.ring.Next()
	if ok {
		t.events = append(t.events, bytes.Clone(e))
	}
	return e, ok
}

func (t *simTap) Release() { t.ring.Release() }

// simNobody is the waker of goroutines that the world steps anyway.
type simNobody struct{}

func (simNobody) Wake() {}

func newSimOffice(m *simMember, lead *raftlog.Leadership, app simApp, state *sequencer.State) (*simOffice, error) {
	w, sw := m.w, &m.w.swarm
	o := &simOffice{m: m, w: w, lead: lead, state: state}
	put, barriers := actors.NewBarriers()
	o.held, o.policies = make([]durability.Seq, len(w.policies)), slices.Clone(w.oracle.inLog)
	policy, ok := state.Policy()
	if !ok {
		policy = w.policies[0]
	}
	var err error
	o.gate, err = actors.NewGate[orderbook.Report, orderbook.Answer](actors.Config{Policy: policy, Slots: sw.slots,
		Batch: sw.batch, Barriers: barriers, Log: slog.New(slog.DiscardHandler)}, lead.Cursors)
	if err != nil {
		return nil, err
	}
	shard, topics := newSimShard(o)
	o.shard = shard
	queue, requests := sequencer.NewQueue(sw.queue)
	ring, events := mailbox.NewBytes(sw.ring)
	o.queue, o.tap.ring = queue, events
	o.sequencer, err = sequencer.New(sequencer.Config[orderbook.Report, orderbook.Answer]{
		Application: app, Encoder: orderbook.Encoder{}, MaxFrame: orderbook.MaxFrame, State: state,
		Requests: requests, Journal: ring, Slots: o.gate.Slots(), Signal: mailbox.NewSignal(simNobody{}),
		Now: func() int64 { return w.Now }, Wall: func() int64 { return simWall + w.Now + m.skew },
		Barriers: put, Prove: lead.Prove, Poisoned: maps.Clone(m.poisoned), CheckpointEvents: sw.checkpoint, OnPolicy: o.swap,
		Topics: topics,
	})
	if err != nil {
		return nil, err
	}
	lead.Propose(&o.tap)
	return o, nil
}

// event is an event of the leadership that the node has taken.
func (o *simOffice) event(seq durability.Seq) []byte { return o.tap.events[seq-o.lead.Last-1] }

// open reports whether clients are let in.
func (o *simOffice) open() bool {
	select {
	case <-o.sequencer.Opened():
		return !o.failed
	default:
		return false
	}
}

// act is one turn of one of the goroutines of an office.
func (o *simOffice) act() {
	if o.failed {
		if o.w.R.IntN(30) == 0 {
			o.m.Node.Transfer(0)
		}
		return
	}
	switch o.w.R.IntN(4) {
	case 3:
		o.adopt()
	case 0:
		o.conns = slices.DeleteFunc(o.conns, o.read)
	case 1:
		if o.sequencer.Step(o.w.Now); o.sequencer.Done() {
			o.fail()
		}
	case 2:
		for n := o.w.R.IntN(16); n >= 0 && o.gate.Step(o.w.Now) > 0; n-- {
			o.gate.Take(o.release)
		}
	}
}

// read puts what a connection sent into the queue, and reports that the connection has ended.
func (o *simOffice) read(c *simConn) (ended bool) {
	for n := o.w.R.IntN(4); n > 0 && len(c.up) > 0; n-- {
		ok, err := o.queue.TryPut(&c.up[0], nil, o.w.Now)
		if err != nil {
			o.w.Fail("node %d: %v", o.m.ID, err)
		}
		if !ok {
			return false
		}
		c.up = c.up[1:]
		if c.left && o.w.Calm {
			o.w.older = o.w.Now // those of connections that are gone are executed first
		}
	}
	if !c.left || len(c.up) > 0 || !o.w.Calm && o.w.Now < c.seen {
		return false
	}
	if len(c.topics) > 0 && !o.shard.report(actors.Feedback{Kind: actors.FeedbackGone, Conn: c.id}) {
		return false
	}
	o.queue.Disconnected(c.id, simIdentity())
	return true
}

// release takes a slot that the gate let through, and sends it to its client.
func (o *simOffice) release(s *simSlot) {
	o.taken++
	o.w.oracle.released(o, s)
	o.shard.deliver(s)
}

// idle reports that everything was executed and released.
func (o *simOffice) idle() bool {
	if len(o.swaps) > 0 || o.queue.Len() > 0 || o.taken < o.gate.Slots().Position() {
		return false
	}
	for _, c := range o.conns {
		if len(c.up) > 0 || c.left {
			return false
		}
	}
	return true
}

// fail ends the service of an office whose application has panicked.
func (o *simOffice) fail() {
	var p *sequencer.PanicError
	if err := o.sequencer.Close(); !errors.As(err, &p) || p.Hash == 0 {
		o.w.Fail("node %d: the sequencer ended: %v", o.m.ID, err)
		return
	}
	o.w.counts.Panics++
	o.m.poisoned[p.Hash] = struct{}{}
	o.m.trace("panics after event %d", p.Seq)
	o.cut()
	o.failed, o.conns = true, nil
}

// end ends the office in order, which has ended by itself, and tells the clients where to go. It reports
// whether the state stands between two events.
func (o *simOffice) end() (whole bool) {
	if o.failed {
		return false
	}
	o.sequencer.Stop()
	err := o.sequencer.Close()
	if err != nil {
		o.w.Fail("node %d: %v", o.m.ID, err)
	}
	o.gate.Step(o.w.Now) // its cursors are shut
	o.gate.Take(o.release)
	o.w.counts.Superseded += int(o.gate.Slots().Position() - o.taken)
	leader := o.m.Node.Status().Leader
	for _, c := range o.conns {
		c.down = append(c.down, simMessage{end: true, leader: leader})
		c.office = nil
	}
	return err == nil
}

// cut ends the connections of a process that has ended: some of what was sent arrives.
func (o *simOffice) cut() {
	for _, c := range o.conns {
		c.down = append(c.down[:o.w.R.IntN(len(c.down)+1)], simMessage{end: true, broken: true})
		c.office = nil
	}
}
