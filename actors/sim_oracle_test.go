package actors

import (
	"errors"
	"slices"
	"time"

	"sluice/durability"
)

// oracle knows, without the gate's code, what may pass: it follows the true cursors and keeps, for every policy, the
// highest seq for which that policy ever held at one instant.
type oracle struct {
	w        *world
	seq      durability.Seq // last event
	policies []durability.Policy
	needs    [][2]int // the same policies as plain numbers: nodes that persisted, nodes in memory
	ever     []durability.Seq
	nodes    []node
	want     int            // policy last handed over
	slots    [1024]tickSlot // by ring position, of the last lap
	highest  durability.Seq // over all policies that were ever in force
	stalled  int64          // journal stalls until then
}

type node struct {
	active              bool
	inMemory, persisted durability.Seq
}

// simPolicies are the policies a world with so many replicas swaps between.
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
	o.ever = make([]durability.Seq, len(policies))
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

// observe notes what every policy proves at this instant, by sorting, which is not how the gate does it.
func (o *oracle) observe() {
	var persisted, inMemory []durability.Seq
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
		o.ever[i] = max(o.ever[i], min(kth(persisted, need[0]), kth(inMemory, need[1])))
	}
}

// note remembers a published slot by its ring position.
func (o *oracle) note(position uint64, s tickSlot) { o.slots[position%uint64(len(o.slots))] = s }

// released checks what one step of the gate let through (I1, I2): under the policy in force, which an acknowledged swap
// has changed already.
func (o *oracle) released(from, to uint64) {
	in := o.index(o.w.p.policy.Current())
	if _, pending := o.w.p.policy.Pending(); !pending && in != o.want {
		o.w.fail("the gate is under policy %d after the swap to %d was acknowledged (I2)", in, o.want)
	}
	o.highest = max(o.highest, o.ever[in])
	for ; from < to; from++ {
		if s := &o.slots[from%uint64(len(o.slots))]; !s.bypass && s.seq > o.ever[in] {
			o.w.fail("slot at %d with seq %d released under %q, which held up to %d at most (I1)", from, s.seq, o.policies[in], o.ever[in])
		}
	}
}

// mayPass is the weaker check at the client.
func (o *oracle) mayPass(s *tickSlot) bool { return s.bypass || s.seq <= o.highest }

func (o *oracle) index(p durability.Policy) int {
	return slices.Index(o.policies, p)
}

// handOver is a context whose deadline passes between a swap's hand-over and its acknowledgement, so that Swap returns on
// this goroutine.
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
	o.want = o.w.r.IntN(len(o.policies))
	o.w.stats.Swaps++
	o.w.p.policy.Swap(&handOver{}, o.policies[o.want])
}

// moveCursors lets journal and replicas advance, stall, flap and come back with an older tail.
func (w *world) moveCursors() {
	o := &w.oracle
	i := w.r.IntN(len(o.nodes))
	n := &o.nodes[i]
	if w.faults && w.now < o.stalled {
		return
	}
	if w.faults && w.swarm.stall > 0 && w.oneIn(w.swarm.stall) {
		o.stalled = w.now + int64(w.r.IntN(3000))
		w.stats.Stalls++
	}
	upTo := func(from, to durability.Seq) durability.Seq {
		return from + 1 + durability.Seq(w.r.Uint64N(uint64(to-from)))
	}
	switch {
	case i == 0:
		if n.persisted < o.seq {
			n.persisted = upTo(n.persisted, o.seq)
			o.observe()
			w.cursors.SetPersisted(n.persisted)
		}
	case !n.active:
		if w.oneIn(4) || !w.faults {
			if n.persisted > 0 && w.oneIn(3) {
				n.persisted -= durability.Seq(w.r.Uint64N(uint64(n.persisted) + 1)) // an older disk
			}
			n.inMemory, n.active = n.persisted, true
			o.observe()
			w.cursors.Activate(i, n.inMemory, n.persisted)
		}
	case w.faults && w.oneIn(w.swarm.flap):
		n.active = false
		w.stats.Flaps++
		w.cursors.Deactivate(i)
	default:
		if n.inMemory < o.seq {
			n.inMemory = upTo(n.inMemory, o.seq)
		}
		if n.persisted < n.inMemory && w.oneIn(2) {
			n.persisted = upTo(n.persisted, n.inMemory)
		}
		o.observe()
		w.cursors.Advance(i, n.inMemory, n.persisted)
	}
}

// mend makes every policy satisfiable in the end: for half the worlds the replicas come back, for the others the operator
// weakens the policy.
func (o *oracle) mend() {
	if len(o.nodes) == 1 || o.w.swarm.ids == 6 {
		if _, pending := o.w.p.policy.Pending(); !pending && o.want != 0 {
			o.want = 0
			o.w.p.policy.Swap(&handOver{}, o.policies[0])
		}
	}
}
