package cluster

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"testing/cryptotest"

	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// simWorld is a cluster with its clients.
type simWorld struct {
	*raftsim.World
	members   []*simMember
	clients   []*simClient
	policies  []durability.Policy // the first one is in force until the log says otherwise
	class     simClass
	swarm     simSwarm
	oracle    simOracle
	topics    *rand.Rand // draws subscriptions; nil if clients have none
	changing  bool       // members are added, removed and replaced
	lost      *simMember // whose disk was wiped, and that was not replaced yet
	counts    simCounts
	step      int
	calmed    int64 // monotonic ns, when the faults ended
	older     int64 // monotonic ns, of the last response since then to a request sent before
	answers   int   // responses since then, to requests sent since then
	hush      bool  // clients send nothing new
	onFiles   simFileCounts
	power     simPower              // nil: disks are simulated
	content   func(io.Writer) error // of the snapshot that arrives
	transfers uint64                // numbers of transfers given out
	// of leaders that crashed: place and content of the first event that was not committed
	suffixes [][2]uint64
}

// simClass is what a policy promises, by the oracle's own definition.
type simClass uint8

const (
	simCommitted simClass = iota // a majority of disks
	simCrashSafe                 // a majority of copies
	simExposed
)

// simSwarm is what differs between worlds.
type simSwarm struct {
	slots, queue, ring, batch int
	checkpoint                uint64
	window, batchBytes        int
	diskStall                 int64 // ns
	asking                    int   // of 100 requests are queries, and some of the others
	patience                  int64 // ns for which a client waits for a response
	load                      int   // requests under way of a client at most
	snapshots                 int   // one in so many turns of a member
	cuts, heals, crashes      int   // one in so many steps
	pauses                    int   // one in so many steps
	lazy                      int   // the executor works in one of so many of its turns
	severed                   int   // step at which the leader is cut off for a while; 0 for none
	bounds                    raftlog.Bounds
}

// simWall is the wall clock at the beginning, ns since 1970.
const simWall = 1_800_000_000_000_000_000

func newSimWorld(t testing.TB, seed uint64, steps int, power simPower) *simWorld {
	cryptotest.SetGlobalRandom(t.(*testing.T), seed)
	w := &simWorld{World: raftsim.NewWorld(seed), power: power}
	if power != nil {
		w.Power, w.OnFrame, w.OnSnapshot = power, w.meets, w.carries
	}
	if seed%3 == 1 && seed%10 != 3 {
		w.topics = rand.New(rand.NewPCG(seed, 1)) // the worlds without are as they were
	}
	pick := func(of ...int) int { return of[w.R.IntN(len(of))] }
	nodes := pick(3, 3, 3, 5)
	w.Slow = min(w.Slow, 6) // with slower ones hardly any leadership begins
	committed := []string{"persisted>=2", "persisted>=2 && in_memory>=3", "persisted>=3"}
	others := []string{"in_memory>=2", "persisted>=1", "in_memory>=1"}
	if nodes == 5 {
		committed, others = []string{"persisted>=3", "persisted>=3 && in_memory>=4"}, []string{"in_memory>=3", "persisted>=2"}
	}
	// Two worlds of three have policies of class committed, of which the log may put another one in force.
	texts := others[w.R.IntN(len(others)):][:1]
	if at := w.R.IntN(len(committed)); seed%3 != 0 {
		committed[0], committed[at] = committed[at], committed[0]
		texts = committed
	}
	if seed%8 == 4 {
		texts = committed[:1:1]
		if nodes == 3 {
			texts[0] = "persisted>=2" // which a second leader can meet while the first one sleeps
		}
	}
	if w.changing = seed%5 == 3; w.changing {
		nodes, texts = 3, []string{"persisted>=2", "persisted>=3", "persisted>=1"}
	}
	for _, text := range texts {
		p, err := durability.Parse(text, nodes)
		if err != nil {
			panic(err)
		}
		w.policies = append(w.policies, p)
	}
	w.oracle.init(w, nodes)
	w.Judge.Safe = w.class == simCommitted
	w.swarm = simSwarm{slots: pick(16, 64, 256), queue: pick(1024, 4096), ring: pick(1024, 4096), batch: pick(1, 7, 64),
		checkpoint: uint64(pick(8, 32, 128)), window: pick(1, 2, 3), batchBytes: pick(256, 512, 2048),
		diskStall: int64(pick(30, 100, 1000)) * 1e6, load: pick(1, 3, 8), asking: pick(0, 0, 50, 95), patience: int64(pick(60, 200, 1000)) * 1e6, snapshots: pick(50, 200, 1000), lazy: pick(1, 1, 2, 20),
		cuts: pick(300, 1000, 3000), heals: pick(200, 600), crashes: pick(600, 1200, 4000), pauses: pick(500, 2000, 10000)}
	if w.R.IntN(3) == 0 {
		w.swarm.bounds = raftlog.Bounds{MessageBytes: w.swarm.batchBytes, InboxMessages: pick(4, 16),
			InboxBytes: 2*w.swarm.batchBytes + 4096,
			ApplyBytes: pick(100, 1000), BacklogBytes: pick(100, 1000), Inflight: pick(1, 16)}
	}
	if seed%4 == 0 {
		w.swarm.severed = steps/3&^3 + int(seed/4)%4
	}
	if !w.changing {
		w.AddMachines(nodes, w.oracle.content, w.included)
	} else {
		w.AddMachines(nodes+simSpares, w.oracle.content, w.included)
		w.First, w.Judge.Changes = nodes, true
		w.OnRemoved = func(o *raftsim.Machine) { w.ends(w.members[o.ID-1]) }
	}
	for _, m := range w.Machines {
		w.members = append(w.members, &simMember{Machine: m, w: w, out: int(m.ID) > nodes,
			skew: int64(w.R.IntN(400)-200) * 1e6})
	}
	for _, m := range w.members {
		if !m.out {
			m.start()
		}
	}
	for i := range 6 {
		w.clients = append(w.clients, &simClient{w: w, account: uint64(i + 1), target: w.R.IntN(nodes), next: 1})
	}
	return w
}

// included lists the contents of the events in a snapshot. Those of a snapshot are committed, and the
// node that made it has told so.
func (w *simWorld) included(s *raftsim.Snapshot) []uint64 {
	if int(s.Meta.Seq) > len(w.Judge.Log) {
		w.Fail("a snapshot includes event %d, and %d are known to be committed", s.Meta.Seq, len(w.Judge.Log))
		return nil
	}
	return w.Judge.Log[:s.Meta.Seq]
}

// Once the faults have ended, and after older requests, new requests are answered within simAnswer. Within
// simCalm steps everything settles. The longest of 1,500 seeds were 0.75 s and 5,436 steps.
const (
	simAnswer = 20 * int64(raftlog.DefaultElection)
	simCalm   = 20000
)

// simulate runs one seed.
func simulate(t testing.TB, seed uint64, steps int) (w *simWorld) {
	return simulateOn(t, seed, steps, nil)
}

// simulateOn runs one seed, on real files if power is not nil.
func simulateOn(t testing.TB, seed uint64, steps int, power simPower) (w *simWorld) {
	w = newSimWorld(t, seed, steps, power)
	defer func() {
		if v := recover(); v != nil {
			w.Fail("panic: %v\n%s", v, debug.Stack())
		}
		w.account()
	}()
	for w.step = 0; w.step < steps && w.Failure() == ""; w.step++ {
		w.turn()
		w.disturb()
	}
	w.calm()
	for ; w.Failure() == "" && !w.settled(); w.step++ {
		if w.step > steps+simCalm {
			w.Fail("%d steps after the last fault the cluster has not settled: %s (C9)", simCalm, w.describe())
		}
		if w.answers == 0 && w.Now > max(w.calmed, w.older)+simAnswer {
			w.Fail("no response within %d ns after the last fault and the older responses: %s (C9)",
				simAnswer, w.describe())
		}
		w.turn()
		for _, m := range w.members {
			if m.Node == nil && !m.out { // its disk had failed before
				m.start()
			}
		}
	}
	if w.Failure() == "" {
		w.oracle.end()
	}
	return w
}

// turn lets some time pass, and somebody act.
func (w *simWorld) turn() {
	w.Pass()
	w.clients[w.R.IntN(len(w.clients))].act()
	if w.changing {
		w.join()
	}
	if m := w.members[w.R.IntN(len(w.members))]; m.Node != nil && w.Now >= m.Paused {
		m.act()
		w.withoutPower()
		w.oracle.observe()
	}
}

// disturb draws a fault.
func (w *simWorld) disturb() {
	m := w.members[w.R.IntN(len(w.members))]
	switch {
	case m.out:
	case m.Node == nil:
		if w.OneIn(40) {
			m.start()
		}
	case w.OneIn(w.swarm.crashes):
		m.crash()
	case w.OneIn(600) && m.office != nil:
		m.transfer()
	}
	if w.OneIn(w.swarm.cuts) {
		if l := w.leader(); l != nil && w.OneIn(2) { // its last events are in no other log
			m = l
		}
		w.isolate(m)
	}
	if w.OneIn(w.swarm.heals) {
		w.Links.Heal()
	}
	if l := w.leader(); w.swarm.severed != 0 && w.step >= w.swarm.severed && l != nil {
		w.sever(l)
	}
	if w.OneIn(w.swarm.pauses) && m.Node != nil {
		m.pause()
	}
	if l := w.leader(); len(w.policies) > 1 && l != nil && !w.changing && w.OneIn(1000) {
		_ = l.office.queue.Policy(w.policies[w.R.IntN(len(w.policies))]) // the office may be closed
	}
	if w.OneIn(2000) {
		m.skew += int64(w.R.IntN(4000)-2000) * 1e6
	}
}

// sever cuts a leader off while it has clients that send, so that its last events are in no other log. Or
// it sleeps, or the goroutine of its node does; its clients but one vanish and go elsewhere, and the one
// that stays asks.
func (w *simWorld) sever(l *simMember) {
	switch o := l.office; {
	case w.swarm.severed%2 == 0:
		w.isolate(l)
	case o.queue.Len() > 0 || o.state.Last() > o.held[0] || o.state.Last() > w.oracle.given:
		w.hush = true // until the last event is answered
		return
	default:
		until := w.Now + 600e6
		l.shunned = until
		if w.swarm.severed%4 == 1 {
			l.dozes = until
		} else {
			l.Paused = until - 100e6
		}
		stays := false
		for _, c := range w.clients {
			if c.conn == nil || c.conn.office != l.office {
				continue
			}
			if !stays && len(c.waiting) == 0 {
				stays, c.asks = true, until
				continue
			}
			conn := c.conn
			c.leave()
			conn.up, conn.seen, c.target = nil, until, int(l.ID)%len(w.members)
		}
	}
	w.swarm.severed, w.hush = 0, false
}

// pause stops a process for a while, or the goroutine of its raftlog.Node only.
func (m *simMember) pause() {
	m.w.counts.Pauses++
	until := m.w.Now + int64(m.w.R.IntN(500))*1e6
	if m.w.R.IntN(2) == 0 {
		m.Paused = until
	} else {
		m.dozes = until
	}
}

func (w *simWorld) isolate(m *simMember) {
	w.counts.Isolations++
	w.Links.Isolate(m.Machine)
}

// leader is a member that holds an office, if only in its own eyes; nil if there is none.
func (w *simWorld) leader() *simMember {
	for _, m := range w.members {
		if m.office != nil {
			return m
		}
	}
	return nil
}

// calm ends the faults.
func (w *simWorld) calm() {
	w.EndFaults()
	if w.withoutPower(); w.power != nil {
		w.power.Calm()
	}
	w.calmed = w.Now
	w.hush = false
	w.Slow = 1
	for _, m := range w.members {
		m.Paused, m.dozes, m.shunned = 0, 0, 0
		if m.Broken() && m.Node != nil { // what it was told to write is missing
			m.crash()
		}
		if m.Node == nil && !m.out {
			m.start()
		}
	}
	for _, c := range w.clients {
		c.last = c.numbers + 5
	}
}

// settled reports that new requests of every client were answered after the faults, and that all nodes
// have the same state.
func (w *simWorld) settled() bool {
	for _, c := range w.clients {
		if c.numbers < c.last || len(c.waiting) > 0 || c.conn == nil || len(c.conn.down) > 0 {
			return false
		}
	}
	for _, m := range w.members {
		if !w.changing && m.Node == nil || m.isMember() && (m.Node == nil || !m.settled()) {
			return false
		}
	}
	if w.lost != nil || w.membership().Joint() {
		return false
	}
	offices := 0
	for _, m := range w.members {
		if m.office != nil {
			offices++
		}
	}
	return offices == 1
}

func (w *simWorld) describe() (s string) {
	for _, m := range w.members {
		if m.Node == nil {
			s += fmt.Sprintf("[node %d down]", m.ID)
			continue
		}
		s += fmt.Sprintf("[node %d %+v, office %t, machine at %d of %d] ", m.ID, m.Node.Status(), m.office != nil,
			m.machine.last(), len(w.Judge.Log))
	}
	for _, c := range w.clients {
		s += fmt.Sprintf("[client %d: connected %t, %d of %d sent, %d wait] ", c.account, c.conn != nil, c.numbers, c.last,
			len(c.waiting))
	}
	return s
}

// trace prints what a member does, if that was asked for.
func (m *simMember) trace(format string, args ...any) {
	if *simPrint {
		fmt.Printf("step %d, node %d: %s\n", m.w.step, m.ID, fmt.Sprintf(format, args...))
	}
}

// account completes the counts.
func (w *simWorld) account() {
	w.counts.Counts, w.counts.StaleReceipts = w.Counts, w.StaleReceipts
	w.counts.Committed, w.counts.Released = w.Judge.Committed, w.Judge.Answered
}

// simHash hashes bytes.
func simHash(p []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range p {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return h ^ h>>29
}
