package actors

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/transport"
)

// world is one simulated run.
type world struct {
	r       *simRand
	swarm   swarm
	now     int64
	p       *Pipeline[tick, struct{}]
	net     *transport.SimNet
	rings   []*transport.SimRing
	groups  []*simGroup
	current *simGroup // the one that runs; nil while the world acts
	cursors *durability.Cursors
	oracle  oracle

	peers      []*peer // every incarnation of every connection
	settled    int     // peers before this one have all they must get
	open       []*peer // those that may still read or send
	byID       []*peer // current incarnation
	connecting []bool  // by id: Connect has not returned
	used       []bool  // by id: it had a connection

	shed [32]uint64 // by id: how many requests were shed so far, which are their numbers

	faults   bool
	calmed   int64                 // when the faults ended
	healthy  bool                  // no fault of this world can delay a client that reads
	away     string                // where clients go at the end; empty: nowhere
	late     bool                  // the kernel may take its time with a send, so that bytes pile up behind it
	budget   int64                 // bytes of send buffers of a shard
	segment  int                   // bytes of a segment of them
	sealPct  int                   // connections with a Sealer
	frame    int                   // bytes by which the sizes of frames differ
	lane     int                   // overtaking slots that the lane holds
	limits   [2][]transport.Limits // by class; a reload changes between the two
	lists    listRequest
	held     bool // control holds an event for which its shard has no room
	tight    bool // the memory of a shard can be spent
	stuck    bool // sends or polls may never complete, so a client can be stalled through no fault of its own
	next     uint64
	released uint64 // the gate's position as last seen

	ending    bool
	lastFlush bool     // it was a stop, in a world whose kernel takes what it has room for
	cutShort  bool     // a stop, a fence or a failure: undelivered slots are dropped lawfully
	halted    uint64   // the gate's position when a stop or fence began
	deadline  int64    // of the end, 0 = none
	patience  int64    // when a drain is given up, 0 = whenever the world likes
	asked     []uint64 // by shard: sends requested when the fence began, plus one
	silent    []int64  // by shard: bytes sent when it said that nothing more leaves, -1 before

	proofs simProofs
	runs   simRuns
	topics simTopics
	stats  simStats
	hash   uint64 // of everything that happened
	err    error
}

// finale is how a world ends.
type finale uint8

const (
	finaleDrain finale = iota
	finaleStop
	finaleFence
	finaleDrainStop // a drain that is given up
)

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// note enters numbers into the run's hash: two runs are the same if they noted the same.
func (w *world) note(a, b uint64) {
	w.hash = (w.hash ^ a) * 0x9E3779B97F4A7C15
	w.hash = (w.hash ^ w.hash>>29 ^ b) * 0xBF58476D1CE4E5B9
}

// newWorld draws a world.
func newWorld(seed uint64, steps int) *world {
	r := simRand(seed * 0x9E3779B97F4A7C15)
	w := &world{r: &r, now: 1, net: transport.NewSimNet(), faults: true}
	w.byID, w.connecting, w.used = make([]*peer, 32), make([]bool, 32), make([]bool, 32)
	w.swarm = drawSwarm(&r, steps)
	w.cursors = durability.NewCursors(2)
	policies := simPolicies(w.swarm.replicas)
	barriers := w.proofs.begin(seed)
	faults := w.drawFaults()
	w.drawLimits()
	w.drawSeals(seed)
	cfg := Config{
		Policy: policies[0], Barriers: barriers, Slots: pick(&r, 16, 64, 256), Batch: pick(&r, 1, 7, 64), MaxFrame: 256,
		Shards:    1 + r.n(3),
		FrameRing: 4096, MaxConnections: w.swarm.ids + 2, Heartbeat: 5000,
		Egress: EgressConfig{
			FlushBytes: pick(&r, 100, 1400), FlushSlots: pick(&r, 2, 32), DrainMax: pick(&r, 4, 64),
			Tick: 100, DrainSpread: 700, pause: time.Duration(5 * max(w.swarm.sleep, 500)),
		},
		Limits: w.limits[0], Log: w.logger(), OnNotice: w.notice,
		runLeast:  []int{2, 4, runLeast}[seed/3%3], // no draw: rows are short
		Placement: pick(&r, PlacementFused, PlacementFront, PlacementSpread, PlacementSpread),
		OpenRing: func(shard int, rc transport.RingConfig) (transport.Ring, error) {
			ring := transport.NewSimRing(w.net, transport.SimConfig{
				Entries: pick(&r, 2, 5, 16), Completions: pick(&r, 2, 4, 32),
				Seed: seed*8 + uint64(shard), Faults: faults, Wake: rc.Wake,
			})
			w.rings = append(w.rings, ring)
			return simTap{ring, w, shard}, nil
		},
	}
	w.topics.begin(w, seed, &cfg)
	p, err := newPipeline(cfg, &simEncoder{w: w}, simSource{w.cursors, w})
	if err != nil {
		panic(err)
	}
	w.p = p
	if cfg.runLeast != runLeast {
		p.encoder.runs.rest = 0 // many connections for rows so short
	}
	if seed%8 == 7 { // no draw, so that other seeds run as before
		w.away = simAway
		if err := p.SetFarewell(Farewell{Reason: encode.CloseElsewhere, Address: w.away}); err != nil {
			panic(err)
		}
	}
	w.budget = 8 << 20
	if w.tight = r.oneIn(4); w.tight {
		w.budget = int64(w.segment) * pick(&r, int64(1), 4)
	}
	for _, e := range p.shards { // small segments cost a world little, and few of them can be spent
		slab, err := transport.NewSlab(w.segment, w.budget)
		if err != nil {
			panic(err)
		}
		e.SetSlab(slab)
	}
	w.shortLane()
	w.shortQueues()
	p.runner.SetClock(w.clock)
	for _, g := range p.runner.Groups() {
		w.groups = append(w.groups, w.newGroup(p.runner, g))
	}
	for range p.shards {
		w.silent, w.asked = append(w.silent, -1), append(w.asked, 0)
	}
	w.oracle.init(w, policies)
	return w
}

// shortLane gives most worlds a lane that fills, and whose memory ends often.
func (w *world) shortLane() {
	w.lane = pick(w.r, 2, 8, 64, laneSlots)
	in, out := mailbox.NewSPSC[laneEntry[tick, struct{}]](w.lane)
	for _, g := range w.p.runner.Groups() {
		if slices.Contains(g.Actors, run.Actor(w.p.gate)) {
			in.SetRoom(g.Signal())
		}
		if slices.Contains(g.Actors, run.Actor(w.p.encoder)) {
			out.SetSignal(g.Signal())
		}
	}
	w.p.gate.lane, w.p.encoder.lane = in, out
}

// shortQueues gives half the worlds control mailboxes that fill.
func (w *world) shortQueues() {
	if w.r.oneIn(2) {
		return
	}
	p := w.p
	signal := func(a run.Actor) *mailbox.Signal {
		for _, g := range p.runner.Groups() {
			if slices.Contains(g.Actors, a) {
				return g.Signal()
			}
		}
		panic("an actor without a group")
	}
	p.mail.events, p.mail.inbox = mailbox.NewMPSC[shard.Event](pick(w.r, 4, 64))
	p.mail.inbox.SetSignal(signal(p.control))
	p.control.events = p.mail.inbox
	for i, e := range p.shards {
		in, out := mailbox.NewSPSC[shard.Event](pick(w.r, 1, 4))
		in.SetRoom(signal(p.control))
		out.SetSignal(signal(e))
		e.SetEvents(out)
		p.control.shards[i], p.mail.queues[i] = in, out
	}
}

// simulate runs one seed.
func simulate(seed uint64, steps int) (w *world, err error) {
	w = newWorld(seed, steps)
	defer func() {
		if v := recover(); v != nil {
			if os.Getenv("SIM_PANIC") != "" {
				debug.PrintStack()
			}
			err = fmt.Errorf("at %d ns: panic: %v", w.now, v)
		}
	}()
	for i := 0; i < steps && w.going(); i++ {
		if i == w.swarm.endStep {
			w.stats.EndsEarly++
			w.end()
		}
		w.step()
	}
	w.calm()
	for !w.ending && w.going() && !w.quiet() {
		if w.step(); w.now > w.calmed+simSettle {
			w.fail("not delivered %d ns after the faults ended: %s (I12)", w.now-w.calmed,
				w.unfinished())
		}
	}
	w.stats.Settle = w.now - w.calmed
	began := w.now
	if !w.ending && w.going() {
		w.end()
	}
	for w.going() {
		if w.step(); w.now > began+simSettle {
			w.fail("did not end: %s (I8)", w.unfinished())
		}
	}
	w.stats.End = w.now - began
	if w.err == nil {
		w.settleAccounts()
	}
	for _, ring := range w.rings {
		counts := ring.FaultCounts()
		w.stats.add(&simStats{Ring: counts})
	}
	return w, w.err
}

// simSettle is how long (ns) everything takes at most to be delivered once the faults ended: three
// times the longest of 3,000 clean seeds, which is a send that is stuck until its client is called
// stalled.
const simSettle = 90_000

// going reports that a group of the world has not ended.
func (w *world) going() bool {
	if w.err != nil {
		return false
	}
	for _, g := range w.groups {
		if !g.over {
			return true
		}
	}
	return false
}

// step does one thing.
func (w *world) step() {
	w.stats.Steps++
	if w.now += int64(1 + w.r.n(3)); w.patience != 0 && w.now >= w.patience {
		w.giveUp()
	}
	if w.stats.Steps%256 == 0 {
		w.measure()
		w.takeList()
	}
	switch k := w.r.n(20); {
	case k < 12:
		w.stepGroup()
	case k < 13:
		w.moveCursors()
	case k < 14:
		w.produce()
	case k < 16:
		w.rings[w.r.n(len(w.rings))].Tick()
	case k < 18:
		w.clients()
	default:
		w.disturb()
	}
}

// stepGroup lets one goroutine continue, any that can, and checks what it did.
func (w *world) stepGroup() {
	at := w.r.n(len(w.groups))
	for range w.groups {
		g := w.groups[at]
		if g.ready() {
			g.step()
			if held := w.p.control.holding; held != w.held {
				w.held = held
				w.stats.ControlFull++
			}
			w.topics.look()
			w.runs.look(w)
			position := w.p.gate.slots.Position()
			w.note(uint64(w.now)<<4|uint64(at), position)
			if position != w.released {
				w.oracle.released(w.released, position)
				w.released = position
			}
			if w.p.phase.Over() {
				w.watchEnd()
			}
			return
		}
		if at++; at == len(w.groups) {
			at = 0
		}
	}
}

// measure compares what connections and shards hold with their bounds (I5).
func (w *world) measure() {
	for _, e := range w.p.shards {
		if held := e.Slab().Held(); held > w.budget {
			w.fail("%s holds %d bytes of buffers, its budget is %d (I5)", e.Name(), held, w.budget)
		}
		for i := range e.Table() {
			c := &e.Table()[i]
			if hard := w.limits[0][c.Class].HardBytes; c.Unsent() > hard+256+encode.TopicBytes {
				w.fail("connection %d has %d unsent bytes, its hard limit is %d (I5)", c.ID,
					c.Unsent(), hard)
			}
			w.overstayed(c)
		}
	}
}

// calm ends the faults: replicas are whole, or gone for good under a policy that does without them.
func (w *world) calm() {
	w.faults, w.calmed = false, w.now
	for _, ring := range w.rings {
		ring.SetFaults(transport.Faults{})
	}
	w.oracle.mend()
}

// quiet reports that every slot was delivered or lawfully dropped.
func (w *world) quiet() bool {
	if w.p.slots.Len() > 0 || len(w.topics.queue) > 0 || w.topics.stale() {
		return false
	}
	for w.settled < len(w.peers) && w.peers[w.settled].satisfied() {
		w.settled++
	}
	return w.settled == len(w.peers) && w.lists.answered()
}

func (w *world) unfinished() string {
	s := fmt.Sprintf("%d slots in the ring, gate at %d", w.p.slots.Len(), w.p.gate.slots.Position())
	for _, g := range w.groups {
		if !g.over {
			s += fmt.Sprintf(", %s goes on (asleep %t)", g.group.Name, g.asleep)
		}
	}
	for _, p := range w.peers {
		if !p.satisfied() {
			return s + "; " + p.String()
		}
	}
	if !w.lists.answered() {
		return s + "; a list of connections"
	}
	if w.topics.stale() {
		return s + "; the producer was not told that subscribers are gone"
	}
	return s
}

// failed is the runner's error, which only a ring in doubt may cause (I11).
func (w *world) failed() error {
	err := w.p.runner.Failure()
	if err != nil && !errors.Is(err, transport.ErrRingInDoubt) {
		w.fail("the pipeline failed: %v", err)
	}
	return err
}
