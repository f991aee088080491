package actors

import (
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// The simulator runs the real actors, mailboxes, gate, encoder and connection code on one goroutine, in virtual time and
// over simulated sockets with seeded faults. Every step of a world is drawn from its seed: which actor steps, what the
// producer publishes, how cursors move, when policies are swapped, what clients do. First with faults; then the faults
// end and everything must drain.
//
//	go test ./actors -run TestSim -seeds 1000          many seeds
//	go test ./actors -run TestSim -seed 42 -v          one seed again

var (
	simSeed  = flag.Uint64("seed", 0, "simulator: run this seed alone")
	simSeeds = flag.Int("seeds", 0, "simulator: how many seeds to run, 0 for a short run")
	simFirst = flag.Uint64("first", 1, "simulator: first seed")
	simSteps = flag.Int("steps", 20000, "simulator: steps with faults of each seed")
)

func TestSim(t *testing.T) {
	if *simSeed != 0 {
		w, err := simulate(*simSeed, *simSteps)
		t.Logf("seed %d: %+v", *simSeed, w.stats)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *simSeeds
	if n == 0 {
		n = 60
		if testing.Short() {
			n = 15
		}
		if v, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
			n = v
		}
	}
	var sum simStats
	began := time.Now()
	for seed := *simFirst; seed < *simFirst+uint64(n); seed++ {
		w, err := simulate(seed, *simSteps)
		if err != nil {
			t.Fatalf("seed %d: %v\n\nreplay: go test ./actors -run 'TestSim$' -seed %d -steps %d", seed, err, seed, *simSteps)
		}
		sum.add(&w.stats)
	}
	took := time.Since(began).Seconds()
	t.Logf("%d seeds clean, %.1f seeds/s, %.2g slots/s, %.2g faults/s: %+v", n, float64(n)/took,
		float64(sum.Slots)/took, float64(sum.Faults())/took, sum)
	if n >= 60 {
		sum.allHappened(t)
	}
}

func TestSimSameSeedSameRun(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, errA := simulate(seed, 5000)
		b, errB := simulate(seed, 5000)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.stats != b.stats || a.trace.Sum64() != b.trace.Sum64() {
			t.Fatalf("seed %d ran differently:\n%+v\n%+v", seed, a.stats, b.stats)
		}
	}
}

// simStats counts what happened; a class that never happens over many seeds fails the run.
type simStats struct {
	Slots, Sent, Overtaken, Connects, Reuses, Refused, HalfCloses, Vanishes, Resets, Kicks, Busies uint64
	Swaps, Flaps, Stalls, EncodeFaults, SlowCloses, Drains, Stops, Fences, Heartbeats              uint64
	Ring                                                                                           transport.FaultCounts
}

func (s *simStats) add(o *simStats) {
	for i, v := range o.fields() {
		*s.fields()[i].n += *v.n
	}
	addFaults(&s.Ring, &o.Ring)
}

type namedCount struct {
	name string
	n    *uint64
}

func (s *simStats) fields() []namedCount {
	return []namedCount{
		{"Slots", &s.Slots}, {"Sent", &s.Sent}, {"Overtaken", &s.Overtaken}, {"Connects", &s.Connects}, {"Reuses", &s.Reuses},
		{"Refused", &s.Refused}, {"HalfCloses", &s.HalfCloses}, {"Vanishes", &s.Vanishes}, {"Resets", &s.Resets},
		{"Kicks", &s.Kicks}, {"Busies", &s.Busies}, {"Swaps", &s.Swaps}, {"Flaps", &s.Flaps}, {"Stalls", &s.Stalls},
		{"EncodeFaults", &s.EncodeFaults}, {"SlowCloses", &s.SlowCloses}, {"Drains", &s.Drains}, {"Stops", &s.Stops},
		{"Fences", &s.Fences}, {"Heartbeats", &s.Heartbeats},
	}
}

func ringFields(f *transport.FaultCounts) []namedCount {
	return []namedCount{
		{"ShortSend", &f.ShortSend}, {"Again", &f.Again}, {"Interrupted", &f.Interrupted}, {"NoBuffers", &f.NoBuffers},
		{"NoMemory", &f.NoMemory}, {"Reset", &f.Reset}, {"Pipe", &f.Pipe}, {"LateSend", &f.LateSend}, {"LatePoll", &f.LatePoll},
		{"LostPoll", &f.LostPoll}, {"StuckSend", &f.StuckSend}, {"StuckPoll", &f.StuckPoll}, {"Reorder", &f.Reorder},
		{"PartialSubmit", &f.PartialSubmit}, {"SignalSubmit", &f.SignalSubmit}, {"Overflow", &f.Overflow},
	}
}

func addFaults(sum, f *transport.FaultCounts) {
	for i, v := range ringFields(f) {
		*ringFields(sum)[i].n += *v.n
	}
}

// Faults is the number of injected faults of all classes.
func (s *simStats) Faults() (n uint64) {
	for _, v := range ringFields(&s.Ring) {
		n += *v.n
	}
	return n + s.Vanishes + s.Resets + s.Flaps + s.Stalls + s.Swaps + s.EncodeFaults + s.Kicks + s.Reuses
}

func (s *simStats) allHappened(t *testing.T) {
	t.Helper()
	for _, v := range append(s.fields(), ringFields(&s.Ring)...) {
		if *v.n == 0 {
			t.Errorf("%s never happened: this run tested less than it claims", v.name)
		}
	}
}

// world is one simulated run.
type world struct {
	r          *rand.Rand
	now        int64
	p          *Pipeline[tick, struct{}]
	net        *transport.SimNet
	rings      []*transport.SimRing
	live       []Actor
	cursors    *durability.Cursors
	oracle     oracle
	peers      []*peer          // every incarnation of every connection
	open       []*peer          // those that may still read or send
	calmed     int64            // when the faults ended
	byID       map[uint64]*peer // current incarnation
	connecting map[uint64]bool
	swarm      swarm
	faults     bool
	stuck      bool // sends or polls may never complete, so a client can be stalled through no fault of its own
	ended      bool // a stop or fence: undelivered slots are dropped lawfully
	next       uint64
	stats      simStats
	trace      interface {
		io.Writer
		Sum64() uint64
	}
	err error
}

// swarm is the shape of a world, drawn from its seed (swarm testing: each seed leaves out or favours some features).
type swarm struct {
	replicas, ids, maxBurst          int
	slowPct, bypassPct, badPct       int
	window, slowRead                 int
	flap, swap, churn, stall, vanish int // one in so many steps
	finale                           int // 0 drain, 1 stop, 2 fence
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *world) oneIn(n int) bool { return n > 0 && w.r.IntN(n) == 0 }
func (w *world) pct(n int) bool   { return w.r.IntN(100) < n }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newWorld draws a world.
func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0x51a1ce))
	w := &world{r: r, now: 1, net: transport.NewSimNet(), byID: map[uint64]*peer{}, connecting: map[uint64]bool{}, faults: true, trace: fnv.New64a()}
	w.swarm = swarm{
		replicas: r.IntN(3), ids: pick(r, 2, 6, 16), maxBurst: pick(r, 1, 4, 16),
		slowPct: pick(r, 0, 20, 60), bypassPct: pick(r, 0, 5, 30), badPct: pick(r, 0, 0, 1),
		window: pick(r, 64, 600, 5000), slowRead: pick(r, 10, 100),
		flap: pick(r, 0, 60, 400), swap: pick(r, 0, 50, 300), churn: pick(r, 20, 100, 600), stall: pick(r, 0, 500),
		vanish: pick(r, 0, 50, 500), finale: r.IntN(4),
	}
	w.cursors = durability.NewCursors(2)
	shards := 1 + r.IntN(3)
	policies := simPolicies(w.swarm.replicas)
	fault := func() float64 { return pick(r, 0, 0, 0.002, 0.03) }
	faults := transport.Faults{
		ShortSend: pick(r, 0, 0.05, 0.4), Again: fault(), Interrupted: fault(), NoBuffers: fault(), NoMemory: fault(),
		Reset: fault() / 8, Pipe: fault() / 8, LateSend: pick(r, 0, 0.05, 0.5), LatePoll: pick(r, 0, 0.3), LostPoll: fault(),
		StuckSend: fault() / 8, StuckPoll: fault() / 8, Reorder: pick(r, 0, 0.5), PartialSubmit: fault(), SignalSubmit: fault(),
		LateTicks: pick(r, 4, 40),
	}
	w.stuck = faults.StuckSend > 0 || faults.StuckPoll > 0
	limits := transport.Limits{
		HardBytes: pick(r, 1024, 4096, 16384), SoftFor: 8000, NoProgress: time.Duration(pick(r, 10000, 20000)),
	}
	limits.SoftBytes = limits.HardBytes / 2
	cfg := Config{
		Policy: policies[0], Slots: pick(r, 16, 64, 256), Batch: pick(r, 1, 7, 64), MaxFrame: 256, Shards: shards,
		FrameRing: 4096, MaxConnections: w.swarm.ids + 2, ShardBudget: pick(r, int64(2<<20), int64(4<<20)), Heartbeat: 5000,
		Egress: EgressConfig{FlushBytes: pick(r, 100, 1400), FlushSlots: pick(r, 2, 32), DrainMax: pick(r, 4, 64), Tick: 100, DrainSpread: 700},
		Limits: []transport.Limits{limits}, Placement: PlacementFused, Log: slog.New(slog.DiscardHandler),
		OnNotice: w.notice,
		OpenRing: func(shard int, rc transport.RingConfig) (transport.Ring, error) {
			ring := transport.NewSimRing(w.net, transport.SimConfig{
				Entries: pick(r, 2, 5, 16), Completions: pick(r, 2, 4, 32), Seed: seed*8 + uint64(shard), Faults: faults, Wake: func() {},
			})
			w.rings = append(w.rings, ring)
			return ring, nil
		},
	}
	p, err := New(cfg, tickEncoder{}, w.cursors)
	if err != nil {
		panic(err)
	}
	w.p, w.live = p, append([]Actor(nil), p.runner.groups[0].Actors...)
	w.oracle.init(w, policies)
	return w
}

// simulate runs one seed.
func simulate(seed uint64, steps int) (w *world, err error) {
	w = newWorld(seed)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("step at %d ns: panic: %v", w.now, v)
			if os.Getenv("SIM_PANIC") != "" {
				panic(v)
			}
		}
	}()
	for i := 0; i < steps && w.err == nil; i++ {
		w.step()
	}
	w.calm()
	for i := 0; i < 40*steps+200000 && w.err == nil && !w.quiet(); i++ {
		w.step()
	}
	if w.err == nil && !w.quiet() {
		w.fail("not drained after the faults ended: %s", w.unfinished())
	}
	w.finale()
	for i := 0; i < 200000 && w.err == nil && len(w.live) > 0; i++ {
		w.step()
	}
	if w.err == nil && len(w.live) > 0 {
		w.fail("%s did not end", w.live[0].Name())
	}
	if w.err == nil {
		w.settleAccounts()
	}
	for _, ring := range w.rings {
		counts := ring.FaultCounts()
		addFaults(&w.stats.Ring, &counts)
	}
	return w, w.err
}

// step does one thing.
func (w *world) step() {
	w.now += int64(1 + w.r.IntN(3))
	switch k := w.r.IntN(20); {
	case k < 10 && len(w.live) > 0:
		w.stepActor(w.r.IntN(len(w.live)))
	case k < 12:
		w.moveCursors()
	case k < 14:
		w.produce()
	case k < 17:
		w.rings[w.r.IntN(len(w.rings))].Tick()
	case k < 19:
		w.clients()
	default:
		w.disturb()
	}
}

// stepActor does what the runner does.
func (w *world) stepActor(i int) {
	a := w.live[i]
	before := w.p.gate.slots.Position()
	n := a.Step(w.now)
	if a == Actor(w.p.gate) {
		w.oracle.released(before, w.p.gate.slots.Position())
	}
	fmt.Fprintf(w.trace, "%d %s %d\n", w.now, a.Name(), n)
	if n == 0 && a.Done() {
		if err := a.Close(); err != nil {
			w.fail("closing %s: %v", a.Name(), err)
		}
		w.live = append(w.live[:i], w.live[i+1:]...)
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
	if w.p.slots.Len() > 0 {
		return false
	}
	for _, p := range w.peers {
		if !p.satisfied() {
			return false
		}
	}
	return true
}

func (w *world) unfinished() string {
	s := fmt.Sprintf("%d slots in the ring, gate at %d", w.p.slots.Len(), w.p.gate.slots.Position())
	for _, p := range w.peers {
		if !p.satisfied() {
			return s + "; " + p.String()
		}
	}
	return s
}

// finale ends the pipeline in one of its three ways.
func (w *world) finale() {
	switch w.swarm.finale {
	case 0:
		w.stats.Drains++
		w.p.slots.Close()
		w.p.phase.advance(phaseDraining, 0)
	case 1:
		w.stats.Stops++
		w.ended = true
		w.p.phase.advance(phaseStopping, w.now+50000)
	case 2:
		w.stats.Fences++
		w.ended = true
		w.p.phase.advance(phaseFenced, w.now+50000)
	case 3: // drain with work left that can never become durable, then stop
		w.stats.Drains++
		w.stats.Stops++
		w.ended = true
		w.faults = true
		w.produce()
		w.faults = false
		w.p.slots.Close()
		w.p.phase.advance(phaseDraining, 0)
		for range 200 {
			w.step()
		}
		w.p.phase.advance(phaseStopping, w.now+50000)
	}
}

// settleAccounts checks what must hold when all actors have ended (I8, I9, I10).
func (w *world) settleAccounts() {
	w.p.finish(nil)
	if n := w.p.Connections(); n != 0 {
		w.fail("%d permits were not returned", n)
	}
	if len(w.p.orphans) != 0 {
		w.fail("%d sockets were orphaned", len(w.p.orphans))
	}
	if n := w.net.Live(); n != 0 {
		w.fail("%d sockets are still open", n)
	}
	for _, e := range w.p.shards {
		if n := e.slab.InUse(); n != 0 {
			w.fail("%s: %d bytes of buffers were not freed", e.name, n)
		}
	}
	w.p.Collector().Final()
	sum := w.p.Collector().Sum()
	var dropped uint64
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		dropped += sum.C[r.Counter()]
	}
	delivered, whole := sum.C[telemetry.EgressFramesSent], uint64(0)
	for _, p := range w.peers {
		p.read(1 << 30)
		whole += uint64(p.whole)
		if p.closed == transport.ReasonPeerClosed && !p.cut && p.got < p.due {
			w.fail("%v: closed as served, %d answers were due", p, p.due)
		}
	}
	w.stats.Slots, w.stats.Sent = w.next, delivered
	w.stats.Overtaken = sum.C[telemetry.GateOvertaken]
	w.stats.Heartbeats = sum.C[telemetry.EgressHeartbeats]
	for _, r := range []telemetry.CloseReason{telemetry.CloseSlowHard, telemetry.CloseSlowSoft, telemetry.CloseStalled, telemetry.CloseShardBudget} {
		w.stats.SlowCloses += sum.C[r.Counter()]
	}
	if delivered+dropped != w.next {
		w.fail("ledger: %d slots in, %d delivered + %d dropped", w.next, delivered, dropped)
	}
	if delivered < whole {
		w.fail("ledger: clients got %d whole answers, %d were counted as delivered", whole, delivered)
	}
	if n := sum.C[telemetry.EgressStale]; n != 0 {
		w.fail("%d completions matched no connection", n)
	}
}
