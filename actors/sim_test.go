package actors

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// The simulator runs the real actors, mailboxes, gate, encoder and connection code on one goroutine, in virtual time and
// over simulated sockets with seeded faults. Every step of a world is drawn from its seed: which actor steps, what the
// producer publishes, how cursors move, when policies are swapped, what clients do. First with faults; then the faults
// end and everything must drain.
//
//	make sim SEEDS=1000          many seeds, on all cores
//	make sim SEED=42             one seed again
//
// A step is one drawn action: one actor steps, or the producer publishes, cursors move, a ring's time passes, a client
// reads, or something is disturbed.

var (
	simSeed  = flag.Uint64("seed", 0, "simulator: run this seed alone")
	simSeeds = flag.Int("seeds", 0, "simulator: how many seeds to run, 0 for a short run")
	simFirst = flag.Uint64("first", 1, "simulator: first seed")
	simSteps = flag.Int("steps", 20000, "simulator: steps with faults of each seed")
)

func TestSim(t *testing.T) {
	if *simSeed != 0 {
		w, err := simulate(*simSeed, *simSteps)
		t.Logf("seed %d, hash %#016x: %+v", *simSeed, w.hash, w.stats)
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
	}
	run := simRun{first: *simFirst, seeds: n, steps: *simSteps}
	run.all()
	t.Log(run.String())
	if run.err != nil {
		t.Fatal(run.err)
	}
	if n >= 60 {
		run.sum.allHappened(t)
	}
}

// simRun runs a range of seeds on all cores.
type simRun struct {
	first        uint64
	seeds, steps int

	next  atomic.Uint64 // seeds taken; written and read by every worker
	mu    sync.Mutex    // guards what follows
	sum   simStats
	clean int
	bad   uint64 // lowest seed that failed
	err   error
	took  time.Duration
	cpu   time.Duration // of the whole process
}

// all returns when every seed ran, or the running ones after one failed.
func (r *simRun) all() {
	began, spent := time.Now(), cpuTime()
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), r.seeds) {
		workers.Go(r.work)
	}
	workers.Wait()
	r.took, r.cpu = time.Since(began), cpuTime()-spent
}

func (r *simRun) work() {
	for {
		i := r.next.Add(1) - 1
		if i >= uint64(r.seeds) {
			return
		}
		seed := r.first + i
		w, err := simulate(seed, r.steps)
		r.mu.Lock()
		r.sum.add(&w.stats)
		if err == nil {
			r.clean++
		} else if r.err == nil || seed < r.bad {
			r.bad = seed
			r.err = fmt.Errorf("seed %d: %w\n\nreplay: make sim SEED=%d STEPS=%d", seed, err, seed, r.steps)
			r.next.Store(uint64(r.seeds))
		}
		r.mu.Unlock()
	}
}

// cpuTime is what the process has used of all cores.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// String gives the rates; a core is a second of processor time, so that a busy machine does not distort them.
func (r *simRun) String() string {
	s := max(r.cpu.Seconds(), 1e-3)
	return fmt.Sprintf("%d seeds from %d clean at %d fault steps, %.1f s, for each core: %.1f seeds/s, %.0f k slots/s, %.0f k faults/s, %.0f k steps/s\n%v",
		r.clean, r.first, r.steps, r.took.Seconds(), float64(r.clean)/s, float64(r.sum.Slots)/s/1e3, float64(r.sum.Faults())/s/1e3,
		float64(r.sum.Steps)/s/1e3, &r.sum)
}

func TestSimSameSeedSameRun(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, errA := simulate(seed, 5000)
		b, errB := simulate(seed, 5000)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.stats != b.stats || a.hash != b.hash {
			t.Fatalf("seed %d ran differently:\n%+v\n%+v", seed, a.stats, b.stats)
		}
	}
}

// simStats counts what happened; a class that never happens over many seeds fails the run.
type simStats struct {
	Steps, Slots, Sent, Overtaken, Connects, Reuses, Refused, HalfCloses, Vanishes, Resets, Kicks, Busies uint64
	Swaps, Flaps, Stalls, EncodeFaults, SlowCloses, Drains, Stops, Fences, Heartbeats                     uint64
	Ring                                                                                                  transport.FaultCounts
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
		{"Steps", &s.Steps}, {"Slots", &s.Slots}, {"Sent", &s.Sent}, {"Overtaken", &s.Overtaken}, {"Connects", &s.Connects}, {"Reuses", &s.Reuses},
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

// String lists every count.
func (s *simStats) String() string {
	var b strings.Builder
	for _, v := range append(s.fields(), ringFields(&s.Ring)...) {
		fmt.Fprintf(&b, "%s %d, ", v.name, *v.n)
	}
	return strings.TrimSuffix(b.String(), ", ")
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
	peers      []*peer // every incarnation of every connection
	settled    int     // peers before this one have all they must get
	open       []*peer // those that may still read or send
	calmed     int64   // when the faults ended
	byID       []*peer // current incarnation
	connecting []bool  // by id: Connect has not returned
	used       []bool  // by id: it had a connection
	swarm      swarm
	faults     bool
	stuck      bool // sends or polls may never complete, so a client can be stalled through no fault of its own
	late       bool // the kernel may take its time with a send, so that bytes pile up behind it
	ended      bool // a stop or fence: undelivered slots are dropped lawfully
	next       uint64
	stats      simStats
	hash       uint64 // of everything that happened
	err        error
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
	w := &world{r: r, now: 1, net: transport.NewSimNet(), faults: true, byID: make([]*peer, 32), connecting: make([]bool, 32), used: make([]bool, 32)}
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
	w.late = w.stuck || faults.LateSend > 0 || faults.PartialSubmit > 0
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
	p, err := New(cfg, &simEncoder{}, w.cursors)
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
	w.stats.Steps++
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

// note enters numbers into the run's hash: two runs are the same if they noted the same.
func (w *world) note(of ...uint64) {
	for _, v := range of {
		w.hash = (w.hash ^ v) * 0x9E3779B97F4A7C15
		w.hash ^= w.hash >> 29
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
	w.note(uint64(w.now), uint64(i), uint64(n))
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
	for w.settled < len(w.peers) && w.peers[w.settled].satisfied() {
		w.settled++
	}
	return w.settled == len(w.peers)
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
