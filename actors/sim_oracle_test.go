package actors

import (
	"errors"
	"slices"
	"time"

	"sluice/durability"
)

// oracle knows, without the gate's code, what may pass: it follows the true cursors and keeps,
// forevery policy, the highest seq for which that policy ever held at one instant.
type oracle struct {
	w        *world
	seq      durability.Seq // last event
	policies []durability.Policy
	needs    [][2]int         // the same policies as plain numbers: nodes that persisted, nodes in memory
	ever     []durability.Seq // by policy: the highest seq for which it ever held
	now      []durability.Seq // by policy: for which it holds
	nodes    []node
	want     int            // policy last handed over
	slots    [1024]passing  // by ring position, of the last laps
	highest  durability.Seq // over all policies that were ever in force
	stalled  int64          // journal stalls until then
}

type node struct {
	active              bool
	inMemory, persisted durability.Seq
}

// passing is what the gate must know of a slot, and when it let it through.
type passing struct {
	seq    durability.Seq
	at     int64
	conn   uint64
	ticket uint64 // that it waits for
	bypass bool
	topic  bool // conn is none: any connection may subscribe to it
}

// simPolicies are the policies that a world swaps between, by its number of replicas.
func simPolicies(replicas int) []durability.Policy {
	texts := []string{"persisted>=1", "in_memory>=1 && persisted>=1"}
	if replicas >= 1 {
		texts = append(texts, "persisted>=1 && in_memory>=2", "persisted>=2", "in_memory>=2")
	}
	if replicas >= 2 {
		texts = append(texts, "persisted>=2 && in_memory>=3", "in_memory>=3")
	}
	var out []durability.Policy
	for _, t := range texts {
		p, err := durability.Parse(t, 3)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func (o *oracle) init(w *world, policies []durability.Policy) {
	o.w, o.policies = w, policies
	o.ever, o.now = make([]durability.Seq, len(policies)), make([]durability.Seq, len(policies))
	o.nodes = make([]node, 1+w.swarm.replicas)
	o.nodes[0].active = true
	for _, p := range policies {
		var need [2]int
		for i := range p.Len() {
			c := p.Clause(i)
			if c.Level == durability.Persisted {
				need[0] = max(need[0], c.Count)
			} else {
				need[1] = max(need[1], c.Count)
			}
		}
		o.needs = append(o.needs, need)
	}
}

// observe notes what every policy proves at this instant, by sorting, which is not how the gate
// does it.
func (o *oracle) observe() {
	var room [6]durability.Seq // at most three nodes each
	persisted, inMemory := room[:0:3], room[3:3]
	for i, n := range o.nodes {
		if !n.active {
			continue
		}
		persisted = append(persisted, n.persisted)
		if i == 0 {
			inMemory = append(inMemory, o.seq+1<<40)
		} else {
			inMemory = append(inMemory, max(n.inMemory, n.persisted))
		}
	}
	kth := func(of []durability.Seq, k int) durability.Seq {
		if k == 0 {
			return 1 << 62
		}
		if k > len(of) {
			return 0
		}
		slices.Sort(of)
		return of[len(of)-k]
	}
	for i, need := range o.needs {
		o.now[i] = min(kth(persisted, need[0]), kth(inMemory, need[1]))
		o.ever[i] = max(o.ever[i], o.now[i])
	}
}

// publish remembers a slot by its ring position.
func (o *oracle) publish(s *tickSlot) {
	o.slots[s.position%uint64(len(o.slots))] = passing{seq: s.seq, at: -1, conn: s.conn,
		ticket: s.ticket, bypass: s.bypass, topic: s.kind == KindTopic}
}

// passedAt is when the gate let a slot pass; one that overtook, or is long gone, counts as just
// now.
func (o *oracle) passedAt(s *tickSlot) int64 {
	if p := &o.slots[s.position%uint64(len(o.slots))]; p.seq == s.seq && p.at >= 0 {
		return p.at
	}
	return o.w.now
}

// released checks what one step of the gate let through (I1, I2): under the policy in force, which
// an acknowledged swap has changed already.
func (o *oracle) released(from, to uint64) {
	in := o.index(o.w.p.policy.Current())
	if _, pending := o.w.p.policy.Pending(); !pending && in != o.want {
		o.w.fail("the gate is under policy %d after the swap to %d was acknowledged (I2)", in,
			o.want)
	}
	o.highest = max(o.highest, o.ever[in])
	for ; from < to; from++ {
		s := &o.slots[from%uint64(len(o.slots))]
		s.at = o.w.now
		if !s.bypass && s.seq > o.ever[in] {
			o.w.fail("slot at %d with seq %d released under %q, which held up to %d at most (I1)",
				from, s.seq, o.policies[in], o.ever[in])
		}
		if !s.bypass && s.ticket > o.w.proofs.proven {
			o.w.fail("slot at %d released before ticket %d was proven; the last one is %d (C7)", from, s.ticket,
				o.w.proofs.proven)
		}
	}
}

// asleep checks that a gate that goes to sleep holds back nothing that may pass (I12).
func (o *oracle) asleep() {
	p := o.w.p
	if _, pending := p.policy.Pending(); pending || p.phase.Over() {
		return
	}
	if !o.w.ending { // in a drain the gate ends when the ring is empty
		o.alarmed()
	}
	if p.gate.slots.Len() == 0 {
		return
	}
	position := p.gate.slots.Position()
	head := &o.slots[position%uint64(len(o.slots))]
	proven := head.ticket <= o.w.proofs.proven
	if !proven {
		o.w.stats.Unproven++
	}
	if in := o.index(p.policy.Current()); head.bypass || head.seq <= o.now[in] && proven {
		o.w.fail("the gate sleeps, and its head slot at %d with seq %d may pass: %q holds up to %d (I12)", position, head.seq, o.policies[in], o.now[in])
	}
	o.heldBack(position)
}

// alarmed checks that a gate which goes to sleep says whether its policy asks for more nodes than
// are in view (I7, R14).
func (o *oracle) alarmed() {
	view := 0
	for _, n := range o.nodes {
		if n.active {
			view++
		}
	}
	in := o.index(o.w.p.policy.Current())
	if degraded := max(o.needs[in][0], o.needs[in][1]) > view; degraded != o.w.p.alarm.Degraded() {
		o.w.fail("the gate sleeps and says degraded %t; %q is met by %d nodes in view: %t (R14)",
			!degraded, o.policies[in], view, !degraded)
	}
}

// heldBack checks that no bypass slot waits that may overtake: one without an earlier waiting slot
// of its connection, while the lane has room (R12).
func (o *oracle) heldBack(position uint64) {
	p := o.w.p
	if p.encoder.lane.Len() == o.w.lane {
		return
	}
	var waits [64]bool // by connection
	topics := false    // a topic frame waits
	for skip := 0; ; {
		slots := p.gate.slots.Ahead(skip, len(o.slots))
		if len(slots) == 0 {
			return
		}
		for i := range slots {
			s := &o.slots[(position+uint64(skip+i))%uint64(len(o.slots))]
			switch overtaken := slots[i].overtaken; {
			case overtaken && topics:
				o.w.fail("the slot at %d overtook an earlier topic frame", position+uint64(skip+i))
			case overtaken && waits[s.conn]:
				o.w.fail("the slot at %d overtook an earlier one of its connection %d (I3)",
					position+uint64(skip+i), s.conn)
			case overtaken:
			case s.topic:
				topics = true
			case s.bypass && !waits[s.conn] && !topics:
				o.w.fail("the gate sleeps, and the slot at %d of connection %d, which waits for nothing, has not overtaken (R12)", position+uint64(skip+i), s.conn)
			default:
				waits[s.conn] = true
			}
		}
		skip += len(slots)
	}
}

// mayPass is the weaker check at the client.
func (o *oracle) mayPass(s *tickSlot) bool { return s.bypass || s.seq <= o.highest }

func (o *oracle) index(p durability.Policy) int {
	return slices.Index(o.policies, p)
}

// handOver is a context whose deadline passes between a swap's hand-over and its acknowledgement,
// so that Swap returns on this goroutine.
type handOver struct{ asked int }

func (c *handOver) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *handOver) Value(any) any               { return nil }
func (c *handOver) Err() error {
	if c.asked > 1 {
		return errors.New("handed over")
	}
	return nil
}
func (c *handOver) Done() <-chan struct{} {
	if c.asked++; c.asked == 1 {
		return nil
	}
	done := make(chan struct{})
	close(done)
	return done
}

// swap hands a policy to the gate.
func (o *oracle) swap() {
	if _, pending := o.w.p.policy.Pending(); pending {
		return
	}
	o.want = o.w.r.n(len(o.policies))
	o.w.stats.Swaps++
	o.w.p.policy.Swap(&handOver{}, o.policies[o.want])
}

// moveCursors lets journal and replicas advance, stall, flap and come back with an older tail.
func (w *world) moveCursors() {
	o := &w.oracle
	i := w.r.n(len(o.nodes))
	n := &o.nodes[i]
	if w.faults && w.now < o.stalled {
		return
	}
	w.proofs.prove(w)
	if w.faults && w.swarm.stall > 0 && w.r.oneIn(w.swarm.stall) {
		o.stalled = w.now + int64(w.r.n(3000))
		w.stats.Stalls++
	}
	upTo := func(from, to durability.Seq) durability.Seq {
		return from + 1 + durability.Seq(w.r.n(int(to-from)))
	}
	switch {
	case i == 0:
		if n.persisted < o.seq {
			n.persisted = upTo(n.persisted, o.seq)
			o.observe()
			w.cursors.SetPersisted(n.persisted)
		}
	case !n.active:
		if w.faults && w.r.oneIn(4) || !w.faults && !w.swarm.weaken {
			if n.persisted > 0 && w.r.oneIn(3) {
				n.persisted -= durability.Seq(w.r.n(int(n.persisted) + 1)) // an older disk
				w.stats.OlderTails++
			}
			n.inMemory, n.active = n.persisted, true
			o.observe()
			w.cursors.Activate(i, n.inMemory, n.persisted)
		}
	case w.faults && w.r.oneIn(w.swarm.flap):
		n.active = false
		w.stats.Flaps++
		o.observe()
		w.cursors.Deactivate(i)
	default:
		if n.inMemory < o.seq {
			n.inMemory = upTo(n.inMemory, o.seq)
		}
		if n.persisted < n.inMemory && w.r.oneIn(2) {
			n.persisted = upTo(n.persisted, n.inMemory)
		}
		o.observe()
		w.cursors.Advance(i, n.inMemory, n.persisted)
	}
}

// mend makes every policy satisfiable in the end: for half the worlds the replicas come back, for
// the others the operator weakens the policy.
func (o *oracle) mend() {
	if len(o.nodes) == 1 || o.w.swarm.weaken {
		if _, pending := o.w.p.policy.Pending(); !pending && o.want != 0 {
			o.want = 0
			o.w.p.policy.Swap(&handOver{}, o.policies[0])
		}
	}
}
