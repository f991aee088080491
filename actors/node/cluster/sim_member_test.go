package cluster

import (
	"bytes"
	"iter"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// simApp is the application of all members.
type simApp = sequencer.Application[orderbook.Report, orderbook.Answer]

// simBook is a book that panics on orders at a certain price.
type simBook struct{ *orderbook.Book }

// simPoison is the price of orders on which a book panics.
const simPoison = -13

// Apply implements sequencer.Application.
func (b simBook) Apply(ev *sequencer.Event, out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	var c orderbook.Command
	if err := orderbook.DecodeRequest(ev.Tag, ev.Body, &c); err == nil && c.Price == simPoison {
		panic("planted")
	}
	b.Book.Apply(ev, out)
}

// simFresh makes an empty book.
func simFresh() (simApp, error) {
	book, err := orderbook.New(orderbook.Config{MaxAccounts: 64, MaxInstruments: 8, MaxOrders: 4096, MaxLevels: 256})
	return simBook{book}, err
}

// simMember is a member: what its process does around the node of the log.
type simMember struct {
	*raftsim.Machine
	w       *simWorld
	skew    int64 // ns, of its wall clock
	dozes   int64 // monotonic ns, until which the goroutine of its raftlog.Node does not run
	shunned int64 // monotonic ns, until which no client connects

	machine  *machine[orderbook.Report, orderbook.Answer]
	office   *simOffice     // while it leads, until it has noticed that it does not
	rest     []raftlog.Item // of the feed, for later
	told     durability.Seq // last event that the judge was told of
	rebuilds uint64         // of machine, counted so far
	moving   *simTransfer   // a transfer that was asked for
	conns    uint64         // connection ids given out
	changes  simChanges     // while it leads
	out      bool           // it is not a member: it was not added yet, was removed, or its disk is lost
	joined   bool           // it was added later, with its present generation
	files    simFiles
	poisoned map[uint64]struct{} // hashes of requests on which the application has panicked in this process
}

// simTransfer is a transfer under way.
type simTransfer struct {
	lead  *raftlog.Leadership
	until int64 // monotonic ns: refused if it still leads then
}

func (m *simMember) start() {
	sw := &m.w.swarm
	m.machine, m.office, m.rest, m.told, m.rebuilds, m.moving, m.conns = nil, nil, nil, 0, 0, nil, 0
	m.poisoned, m.changes = map[uint64]struct{}{}, simChanges{}
	o := raftlog.Options{BatchBytes: sw.batchBytes, Window: sw.window, DiskStall: time.Duration(sw.diskStall),
		Bounds: sw.bounds}
	if m.w.Power != nil {
		o.OnMembers = func(now raftlog.Members) {
			t, err := newTable(now)
			if err != nil {
				m.w.Fail("node %d: %v", m.ID, err)
				return
			}
			m.learns(t)
		}
		if !m.startFiles() {
			return
		}
	}
	m.Start(o)
	if m.Node == nil {
		m.goes(nil)
		return
	}
	var err error
	m.machine, err = newMachine(m.fresh, orderbook.Encoder{}, history(m))
	if err == nil && m.w.Power != nil {
		err = m.openLinks()
	}
	m.goes(err)
}

// Committed implements history.
func (m *simMember) Committed(after raftlog.Meta, to durability.Seq) iter.Seq2[journal.Event, error] {
	return m.Node.Committed(after, to)
}

// crash ends the process at once.
func (m *simMember) crash() {
	m.w.oracle.crashed(m)
	m.trace("crashes")
	if o := m.office; o != nil {
		m.w.counts.LeaderCrashes++
		o.cut()
	}
	m.office = nil
	if w := m.w; w.Power != nil && !w.Calm && w.R.IntN(4) == 0 && !m.Broken() && !m.PowerLost() {
		w.onFiles.Stops++
		m.StopFiles()
		return
	}
	m.Crash()
}

// act is one turn of the process: of one of its goroutines.
func (m *simMember) act() {
	w := m.w
	switch w.R.IntN(8) {
	case 0, 1, 2:
		if w.Now < m.dozes {
			return
		}
		m.Step()
		if m.Node.Done() {
			m.crash()
		}
	case 3, 4:
		stalls := w.Counts.DiskStalls
		if m.Disk(); m.office != nil {
			w.counts.LeaderStalls += w.Counts.DiskStalls - stalls
		}
	case 5:
		if m.w.Calm || w.R.IntN(w.swarm.lazy) == 0 {
			m.execute()
		}
	default:
		if m.office != nil {
			m.office.act()
		}
	}
	if m.Node != nil && (w.R.IntN(w.swarm.snapshots) == 0 || w.Calm && m.Node.Status().SnapshotWanted &&
		w.R.IntN(50) == 0) {
		m.snapshot()
	}
	if m.Node != nil && w.Power != nil {
		m.writeTable()
	}
	if m.Node == nil {
		return
	}
	if now := m.w.changing && m.Node != nil; now {
		m.change()
		members := m.Node.Members()
		if _, is := members.Member(m.NodeID()); !is && members.NextGeneration(uint8(m.ID)) > m.Generation {
			w.ends(m)
			return
		}
	}
	if t := m.moving; t != nil && w.Now >= t.until {
		if m.moving = nil; m.office != nil && m.office.lead == t.lead {
			w.counts.TransfersRefused++
		}
	}
}

// execute is a turn of the executor: it follows the feed, and begins and ends offices.
func (m *simMember) execute() {
	if o := m.office; o != nil {
		m.confirmed(o)
		select {
		case <-o.lead.Ended():
		default:
			return
		}
		m.w.counts.Deposed++
		m.trace("is deposed: term %d, confirmed event %d, executed event %d", o.lead.Term, o.lead.Confirmed(), o.state.Last())
		m.confirmed(o)
		m.office = nil
		m.machine.back(o.end())
	}
	items, _ := m.Node.Feed().Take() // the error says that the node was closed
	items = append(m.rest, items...)
	m.rest = nil
	for i, item := range items {
		switch {
		case !m.w.Calm && m.w.R.IntN(8) == 0: // it is late
			m.rest = items[i:]
			return
		case item.Lead == nil:
			if !m.take(item) {
				return
			}
			m.Node.Applied(item.Index)
		default:
			if m.begin(item.Lead); m.office != nil {
				m.rest = items[i+1:] // for the settling
				return
			}
		}
	}
}

// take takes an item of the log; false if the run has failed.
func (m *simMember) take(item raftlog.Item) bool {
	lent := m.machine.lent
	for seq, payload := range item.Batch.Events() {
		m.w.oracle.commit(m, seq, payload, item.Term)
	}
	m.trace("takes index %d term %d batch %d+%d restore %v; lent %v", item.Index, item.Term, item.Batch.First, item.Batch.Count, item.Restore, lent != nil)
	if err := m.machine.take(item); err != nil {
		m.fails("node %d: %v", m.ID, err)
		return false
	}
	m.settles(lent != nil && m.machine.lent == nil && item.Restore == nil)
	return true
}

// settles counts what became of the state of a leadership.
func (m *simMember) settles(settled bool) {
	switch {
	case m.machine.rebuilds.Load() != m.rebuilds:
		m.rebuilds = m.machine.rebuilds.Load()
		m.w.counts.Rebuilds++
	case settled:
		m.w.counts.TakenOver++
	}
}

// begin begins an office, unless the leadership has ended already.
func (m *simMember) begin(lead *raftlog.Leadership) {
	select {
	case <-lead.Ended():
		m.w.counts.EndedEarly++
		return
	default:
	}
	m.w.counts.Leaderships++
	m.trace("leads in term %d after event %d", lead.Term, lead.Last)
	lent := m.machine.lent
	app, state, err := m.machine.lend(lead)
	if err == nil {
		m.settles(lent != nil)
		m.office, err = newSimOffice(m, lead, app, state)
	}
	if err != nil {
		m.fails("node %d: %v", m.ID, err)
	}
}

// fails fails the run, unless the member has lost its power.
func (m *simMember) fails(format string, args ...any) {
	if m.w.Power == nil || !m.PowerLost() {
		m.w.Fail(format, args...)
	}
}

// confirmed tells the judge what a leader knows to be committed.
func (m *simMember) confirmed(o *simOffice) {
	for m.told = max(m.told, o.lead.Last); m.told < o.lead.Confirmed(); {
		m.told++
		if int(m.told) <= len(m.w.Judge.Log)+1 { // a later leader's, if this one does not know that it is none
			m.w.oracle.commit(m, m.told, o.event(m.told), o.lead.Term)
		}
	}
}

// transfer asks for a handover of the office.
func (m *simMember) transfer() {
	m.w.counts.Transfers++
	m.Node.Transfer(0)
	m.moving = &simTransfer{m.office.lead, m.w.Now + 2*int64(raftlog.DefaultElection)}
}

// snapshot makes a snapshot on a copy of the application, of the last event that is in the log for good
// and that the machine has taken.
func (m *simMember) snapshot() {
	seq := m.machine.last()
	if m.office != nil {
		m.confirmed(m.office)
		seq = m.office.lead.Confirmed()
	}
	if s := m.Machine.Newest(); seq == 0 || s != nil && seq <= s.Meta.Seq && !m.Node.Status().SnapshotWanted {
		return
	}
	f, err := replayed(m.fresh, orderbook.Encoder{}, history(m), seq, func() error { return nil })
	if err != nil {
		m.fails("node %d: a snapshot of event %d: %v", m.ID, seq, err)
		return
	}
	m.trace("offers a snapshot of event %d", seq)
	m.Offer(seq, func() []byte {
		var b bytes.Buffer
		if err := f.WriteSnapshot(&b); err != nil {
			m.w.Fail("node %d: a snapshot of event %d: %v", m.ID, seq, err)
		}
		return b.Bytes()
	})
}

// settled reports that the node has applied, or executed, exactly what is committed.
func (m *simMember) settled() bool {
	log := durability.Seq(len(m.w.Judge.Log))
	if o := m.office; o != nil {
		return !o.failed && o.state.Last() == log && o.idle()
	}
	return m.machine.lent == nil && m.machine.follower.Last() == log
}
