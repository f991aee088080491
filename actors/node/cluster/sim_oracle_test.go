package cluster

import (
	"bytes"
	"encoding/binary"
	"slices"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/raftlog"
)

// simOracle knows, without the product's code, what may happen: it reads disks and memories as they are,
// keeps every event that was committed, and at the end executes them all on a book of its own.
type simOracle struct {
	w     *simWorld
	needs [][2]int    // copies that each policy asks for: on disk, in memory
	inLog []simPolicy // policies that the log puts in force
	// By number from 1: committed events, and the terms of the leaders that numbered them.
	events [][]byte
	terms  []uint64

	given    durability.Seq // last event of which a response has reached a client
	requests uint64         // numbers of requests given out
	conns    []*simConn     // all that there were
	answered []simAnswered  // under a policy that is not of class committed, by number of the event
	// numbers and contents of events that a process which ended had in memory, and not on its disk
	forgotten map[[2]uint64]struct{}
	untrue    map[durability.Seq]struct{} // answered events that were contradicted
	// events that the nodes have counted as replaced, without the processes that run
	replaced uint64
}

// simAnswered is an event of which a response was released.
type simAnswered struct {
	content uint64
	lost    bool // a process ended that had it in memory, and not on its disk
}

// simPolicy is a policy that is in force from an event on: an index of simWorld.policies.
type simPolicy struct {
	from durability.Seq
	at   int
}

func (c *simOracle) init(w *simWorld, nodes int) {
	c.w = w
	c.inLog, c.untrue = []simPolicy{{}}, make(map[durability.Seq]struct{})
	c.forgotten = make(map[[2]uint64]struct{})
	for _, p := range w.policies {
		var needs [2]int
		for i := range p.Len() {
			clause := p.Clause(i)
			at := 1
			if clause.Level == durability.Persisted {
				at = 0
			}
			needs[at] = max(needs[at], clause.Count)
		}
		c.needs = append(c.needs, needs)
	}
	switch majority := nodes/2 + 1; {
	case c.needs[0][0] >= majority:
		w.class = simCommitted
	case c.needs[0][1] >= majority:
		w.class = simCrashSafe
	default:
		w.class = simExposed
	}
}

func (c *simOracle) content(event []byte) uint64 { return simHash(event) }

// number gives out the number of a request.
func (c *simOracle) number() uint64 {
	c.requests++
	return c.requests
}

func (c *simOracle) connected(conn *simConn) { c.conns = append(c.conns, conn) }

// commit judges that a node has an event committed, which was numbered in a term (C1).
func (c *simOracle) commit(m *simMember, seq durability.Seq, event []byte, term uint64) {
	c.w.Judge.Commit(m.ID, seq, simHash(event))
	switch at := int(seq); {
	case at == len(c.events)+1:
		c.events, c.terms = append(c.events, bytes.Clone(event)), append(c.terms, term)
		if simKind(event) == sequencer.KindCheckpoint {
			c.w.counts.Checkpoints++
		}
		if simKind(event) == sequencer.KindPolicy {
			text := string(event[sequencer.EventHeader:])
			c.inLog = append(c.inLog, simPolicy{seq, slices.IndexFunc(c.w.policies,
				func(p durability.Policy) bool { return p.String() == text })})
		}
		if at <= len(c.answered) && c.answered[at-1].content != 0 && c.answered[at-1].content != simHash(event) {
			c.contradicted(seq)
		}
	case at <= len(c.events) && c.terms[at-1] != term:
		c.w.Fail("node %d has event %d of term %d, it was committed in term %d (C1)", m.ID, seq, term, c.terms[at-1])
	}
}

// observe notes how far each policy holds at this instant, in the leaderships that there are.
func (c *simOracle) observe() {
	for _, m := range c.w.members {
		if o := m.office; o != nil {
			c.positions(m, o.held)
		}
	}
}

// positions raises held, by policy, to how far it holds for the log of a leader, by sorting, which is not
// how the gate does it. A process that has ended counts until the leader has heard of the next one. In a joint
// configuration, what another node has counts only as far as a majority of the voters before has it too.
func (c *simOracle) positions(leader *simMember, held []durability.Seq) {
	var disks, memories []durability.Seq
	voters := leader.Node.Members()
	for _, m := range c.w.members {
		if x, _ := voters.Member(m.NodeID()); !x.Role.Votes() {
			continue
		}
		disks = append(disks, leader.Memory.Agrees(&m.Durable))
		if m.out { // its disk is lost, or it was removed, and the leader counts on what it has said
			disks[len(disks)-1] = max(disks[len(disks)-1], leader.Memory.Agrees(&m.Wiped))
		}
		switch {
		case m == leader:
			memories = append(memories, durability.Everything)
		default: // what is on disk was in memory
			memories = append(memories, disks[len(disks)-1])
			if memory := leader.Believes(m.Machine); memory != nil {
				memories[len(memories)-1] = max(memories[len(memories)-1], leader.Memory.Agrees(memory))
			}
		}
	}
	limit := c.before(leader)
	for i, needs := range c.needs {
		upTo := min(simKth(disks, needs[0]), simKth(memories, needs[1]))
		if max(needs[0], needs[1]) > 1 && upTo > limit {
			c.w.counts.JointLimits++
			upTo = limit
		}
		held[i] = max(held[i], upTo)
	}
}

// before is how far a majority of the voters before a joint configuration has the log of a leader on disk.
func (c *simOracle) before(leader *simMember) durability.Seq {
	members := leader.Node.Members()
	if !members.Joint() {
		return durability.Everything
	}
	var disks []durability.Seq
	for _, x := range members.All {
		if x.Role < raftlog.Leaving {
			continue
		}
		m, disk := c.w.members[uint8(x.ID)-1], durability.Seq(0)
		if m.NodeID() == x.ID {
			disk = leader.Memory.Agrees(&m.Durable)
		}
		if m.out || m.NodeID() != x.ID { // its disk is lost, and the leader counts on what it has said
			disk = max(disk, leader.Memory.Agrees(&m.Wiped))
		}
		disks = append(disks, disk)
	}
	return simKth(disks, len(disks)/2+1)
}

// simKth is how far k of the copies reach.
func simKth(of []durability.Seq, k int) durability.Seq {
	switch slices.Sort(of); {
	case k == 0:
		return durability.Everything
	case k > len(of):
		return 0
	}
	return of[len(of)-k]
}

// released judges a slot that the gate let through (C2).
func (c *simOracle) released(o *simOffice, s *simSlot) {
	w := c.w
	w.Note(uint64(s.Conn) ^ uint64(s.Seq)<<8)
	if s.Bypass {
		w.counts.Overtaken++
		return
	}
	if p, upTo := o.holds(s.Seq); s.Seq > upTo {
		w.Fail("node %d released a response to event %d; %v is in force for it, and it and later ones held up to event %d (C2)",
			o.m.ID, s.Seq, p, upTo)
	}
	o.checkMajority()
	if s.Kind != actors.KindReport && s.Kind != actors.KindTopic {
		return
	}
	content := uint64(1) // of an event that the node has not taken yet, which only in_memory>=1 releases
	if at := int(s.Seq - o.lead.Last); at <= len(o.tap.events) {
		content = simHash(o.event(s.Seq))
	}
	w.Judge.Answer(o.m.ID, s.Seq, content)
	if w.class == simCommitted {
		return
	}
	for len(c.answered) < int(s.Seq) {
		c.answered = append(c.answered, simAnswered{})
	}
	if at := int(s.Seq); at <= len(c.events) && simHash(c.events[at-1]) != content {
		c.contradicted(s.Seq)
	}
	if a := &c.answered[s.Seq-1]; a.content != content {
		// A receipt of a process that has ended since may have been the one that released it.
		_, lost := c.forgotten[[2]uint64{uint64(s.Seq), content}]
		*a = simAnswered{content, lost}
	}
}

// contradicted judges an event that was answered, and that is not in the log (C3).
func (c *simOracle) contradicted(seq durability.Seq) {
	c.w.counts.Contradicted++
	c.untrue[seq] = struct{}{}
	if c.w.class == simCrashSafe && !c.answered[seq-1].lost {
		c.w.Fail("event %d was answered under %v and is lost, and no node lost its memory (C3)", seq, c.w.policies[0])
	}
}

// crashed takes notice of a process that ends, before it does.
func (c *simOracle) crashed(m *simMember) {
	c.replaced += m.Node.Status().Replaced
	log := len(c.w.Judge.Log)
	for at := log; at < len(c.answered); at++ {
		a, seq := &c.answered[at], durability.Seq(at+1)
		if a.content != 0 && !m.Durable.Has(seq, a.content) { // it may have had it in memory
			a.lost = true
		}
	}
	for at := log; at < len(m.Memory.Events); at++ {
		if content := m.Memory.Events[at]; !m.Durable.Has(durability.Seq(at+1), content) {
			c.forgotten[[2]uint64{uint64(at + 1), content}] = struct{}{}
		}
	}
	if m.office != nil && len(m.Memory.Events) > log {
		c.suffix(m.Memory.Events[log], log)
	}
}

// counted judges that what a node had on its disk and was contradicted is counted by that node.
func (c *simOracle) counted() {
	onDisk := !slices.ContainsFunc(c.needs, func(needs [2]int) bool { return needs[0] == 0 })
	for _, m := range c.w.members {
		if m.Node != nil {
			c.replaced += m.Node.Status().Replaced
		}
	}
	if onDisk && !c.w.changing && uint64(len(c.untrue)) > c.replaced {
		c.w.Fail("%d answered events were contradicted, and the nodes have counted %d events that were "+
			"replaced", len(c.untrue),
			c.replaced)
	}
	if c.replaced > 0 {
		c.w.counts.EventsReplaced++
	}
}

// suffix remembers the first event of a leader that crashed which was not committed.
func (c *simOracle) suffix(content uint64, at int) {
	c.w.suffixes = append(c.w.suffixes, [2]uint64{uint64(at), content})
}

// received judges a response that reached a client (C7).
func (c *simOracle) received(s *simSlot, query *simRequest) {
	if query != nil {
		c.w.counts.QueriesAnswered++
		if c.w.class == simCommitted && s.Seq < query.floor {
			c.w.Fail("the response to a query is of event %d, and a response to event %d had arrived before it was sent (C7)",
				s.Seq, query.floor)
		}
	}
	if s.Kind != actors.KindEngineError {
		c.given = max(c.given, s.Seq)
	}
}

// end judges everything that clients were told, and the states of all nodes, once all has settled.
func (c *simOracle) end() {
	w := c.w
	w.Judge.End()
	for at := len(c.events); at < len(c.answered); at++ {
		if c.answered[at].content != 0 {
			c.contradicted(durability.Seq(at + 1))
		}
	}
	c.counted()
	for _, s := range w.suffixes {
		if at := int(s[0]); at < len(w.Judge.Log) && w.Judge.Log[at] == s[1] {
			w.counts.SuffixesKept++
		} else {
			w.counts.SuffixesLost++
		}
	}
	ref := newSimReference(c)
	for _, event := range c.events {
		ref.apply(event)
	}
	ref.finish()
	if w.class == simExposed {
		return // clients of an old leader may have been told anything
	}
	for _, conn := range c.conns {
		ref.compare(conn)
		ref.follow(conn)
	}
}

// states compares the state of a node with that of the reference (C1).
func (c *simOracle) states(ref []byte) {
	for _, m := range c.w.members {
		if !m.isMember() {
			continue
		}
		var b bytes.Buffer
		var err error
		if m.office != nil {
			err = m.machine.lent.app.Snapshot(&b)
		} else {
			var whole bytes.Buffer
			if err = m.machine.follower.WriteSnapshot(&whole); err == nil {
				_, err = sequencer.CheckSection(&whole)
				b = whole
			}
		}
		if err != nil || !bytes.Equal(b.Bytes(), ref) {
			c.w.Fail("node %d has another state than its log leads to: %v (C1)", m.ID, err)
		}
	}
}

// simKind is the kind of an event, by its layout.
func simKind(event []byte) sequencer.Kind { return sequencer.Kind(event[1]) }

// simDecode decodes an event, by its layout.
func simDecode(event []byte, seq durability.Seq) sequencer.Event {
	le := binary.LittleEndian
	word := le.Uint32(event[4:])
	return sequencer.Event{Seq: uint64(seq), Time: int64(le.Uint64(event[8:])), Kind: simKind(event),
		Conn: le.Uint64(event[16:]), Request: le.Uint64(event[24:]),
		Identity: sequencer.Identity{Number: word >> 8, Role: event[3]}, Tag: uint8(word), Body: event[32:]}
}
