package actors

import (
	"sync/atomic"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

// gate holds every slot back until the durability policy is met for it (I1). It is the first reader
// of the slot ring: it releases a position and copies nothing, except for the few slots that
// overtake.
//
//	released | waiting ................ | not examined yet
//	         position            scanned             published
//
// Each slot is judged on its own, against exactly its own sequence number. The highest position
// proven under the policy in force is remembered, so that only a miss reads the cursors; a swap
// discards it (R8, R10, R12).
//
// Its groups of fields are, in this order: where slots come from and go to, and what decides; what
// is traced; the position proven and the last snapshot of the cursors; how far slots were examined;
// the counts and times of the current step; and what other goroutines read.
type gate[R, Q any] struct {
	slots        *mailbox.Reader[Slot[R, Q]]
	barriers     *mailbox.Reader[Barrier] // nil if no slot waits for a proof
	lane         *mailbox.Writer[laneEntry[R, Q]]
	source       durability.Source
	policy       *durability.Switch
	phase        *run.Phase
	rec          *telemetry.Recorder
	sampler      *telemetry.Sampler
	rules        *telemetry.Rules // this step's
	headSampling bool             // the rules select slots without a sampled parent too
	batch        int              // slots per step at most

	durable durability.Seq // highest position proven under the policy in force
	view    durability.View
	verdict durability.Verdict // of the last snapshot; its Journal and Replicas explain the wait
	alarm   *durability.Degradation
	onAlarm func(durability.Notice)

	scanned uint64    // ring position up to which slots were examined
	crossed [2]uint64 // ring positions up to which waits for journal, and for replicas, were recorded
	ahead   lookAhead
	waited  bool // the head slot has waited since the last release

	passed         uint64        // slots released and not counted yet
	match, handoff telemetry.Run // of the slots that were first examined in this step
	times          telemetry.Run // time in the gate of slots that waited and pass in this step
	atOnce         uint32        // slots that pass when first examined: their time in the gate is 0

	ended   chan struct{} // closed by Close
	oldest  atomic.Int64  // when the waiting head slot was first examined, monotonic ns; 0 if none waits
	pending atomic.Uint64 // wire seq of the waiting head slot
	binding atomic.Int64  // node whose cursor the waiting head slot waits for, -1 if none, or awaitsProof
}

// Name implements Actor.
func (g *gate[R, Q]) Name() string { return "gate" }

// Step releases the slots that may pass, at most one batch, and lets bypass slots overtake (R12).
// It implements Actor.
func (g *gate[R, Q]) Step(now int64) int {
	if g.phase.Over() {
		return 0 // nothing more passes; Close accounts for what is left
	}
	g.rec.Poll()
	g.rules = g.sampler.Load()
	g.headSampling = g.rules.SampleBelow != 0 || g.rules.DebugConn != 0
	p, changed := g.policy.Adopt()
	if changed {
		g.rec.B.C[telemetry.GateSwaps]++
		g.durable = 0
	}
	slots := g.slots.Batch(g.batch)
	g.rec.B.Mark(telemetry.MarkInbox, uint64(len(slots)))
	if len(slots) == 0 {
		g.oldest.Store(0)
		g.observe(p, now)
		return 0
	}
	free := len(slots)
	if g.barriers != nil {
		free = g.proven(p, slots, now)
	}
	released := g.pass(p, slots[:free], now)
	g.release(slots[:released], now)
	work := released
	switch {
	case released == len(slots):
		g.oldest.Store(0)
	case released == free:
		work += g.wait(&slots[released], awaitsProof, now)
	default:
		work += g.wait(&slots[released], g.verdict.Binding, now)
	}
	g.record()
	return work
}

// pass stamps the slots that may pass now and returns their number. The first slot that may not is
// checked once more against fresh cursors.
func (g *gate[R, Q]) pass(p durability.Policy, slots []Slot[R, Q], now int64) int {
	// The index of the first slot that was not examined before.
	fresh := int(max(g.scanned, g.slots.Position()) - g.slots.Position())
	looked := false
	for i := range slots {
		s := &slots[i]
		if s.overtaken {
			continue
		}
		if s.Seq > g.durable && !s.Bypass {
			if looked {
				return i
			}
			looked = true
			if g.look(p, now); s.Seq > g.durable {
				return i
			}
		}
		if i >= fresh {
			s.waits, s.crossed = 0, 0
			g.arrive(s, now)
			g.atOnce++
		} else {
			g.times.Add(&g.rec.B.H[telemetry.StageGate], uint64(now-s.consumed))
		}
		g.passed++
		if s.Bypass {
			g.rec.B.C[telemetry.GateBypassed]++
		}
		s.opened = now
		s.traced = telemetry.TraceReasonNone
		if g.headSampling && g.rules.Picks(uint64(s.Seq), s.Conn) || s.Parent.Sampled() {
			g.choose(s)
		}
	}
	return len(slots)
}

// look reads all cursors as one snapshot and remembers what they prove.
func (g *gate[R, Q]) look(p durability.Policy, now int64) {
	if !g.source.Snapshot(&g.view) {
		g.rec.B.C[telemetry.GateTorn]++
		return // writers kept moving the cursors: stay shut, read again in the next step
	}
	g.verdict = p.Evaluate(&g.view)
	g.durable = max(g.durable, g.verdict.Position)
	g.notice(now)
	g.crossed[0] = g.cross(g.crossed[0], shard.BelowJournal, g.verdict.Journal, now)
	g.crossed[1] = g.cross(g.crossed[1], shard.BelowReplicas, g.verdict.Replicas, now)
}

// arrive stamps a slot that is examined for the first time.
func (g *gate[R, Q]) arrive(s *Slot[R, Q], now int64) {
	s.consumed = now
	g.match.Add(&g.rec.B.H[telemetry.StageMatch], uint64(max(s.Matched-s.Received, 0)))
	g.handoff.Add(&g.rec.B.H[telemetry.StageHandoff], uint64(max(now-s.Matched, 0)))
}

// record flushes the measurements of the step.
func (g *gate[R, Q]) record() {
	h := &g.rec.B.H
	g.match.Flush(&h[telemetry.StageMatch])
	g.handoff.Flush(&h[telemetry.StageHandoff])
	g.times.Flush(&h[telemetry.StageGate])
	h[telemetry.StageGate].RecordN(0, g.atOnce)
	g.atOnce = 0
	g.rec.B.C[telemetry.GateSlots] += g.passed
	g.passed = 0
}

// choose decides whether a slot that passes is traced.
func (g *gate[R, Q]) choose(s *Slot[R, Q]) {
	s.traced, _ = g.rules.Head(uint64(s.Seq), s.Conn, s.Parent.Sampled())
}

// release releases the first slots of the ring to the encoder.
func (g *gate[R, Q]) release(slots []Slot[R, Q], now int64) {
	n := len(slots)
	if n == 0 {
		return
	}
	if g.ahead.counting {
		g.forget(slots)
	}
	if g.waited {
		g.waited = false
		g.countOpener()
	}
	g.slots.Release(n)
	position := g.slots.Position()
	g.scanned = max(g.scanned, position)
}

// countOpener counts which node's cursor was the binding one in the snapshot that opened the gate
// (R13), or that a proof was awaited.
func (g *gate[R, Q]) countOpener() {
	switch {
	case g.binding.Load() == awaitsProof:
		g.rec.B.C[telemetry.GateOpenedProof]++
	case g.verdict.Binding == 0:
		g.rec.B.C[telemetry.GateOpenedJournal]++
	case g.verdict.Binding > 0:
		g.rec.B.C[telemetry.GateOpenedReplication]++
	}
}

// wait records that head cannot pass for want of binding, and examines the slots behind it.
func (g *gate[R, Q]) wait(head *Slot[R, Q], binding int, now int64) int {
	if !g.waited {
		g.waited = true
		g.rec.B.C[telemetry.GateWaits]++
	}
	work := g.scan(now)
	g.oldest.Store(head.consumed)
	g.pending.Store(uint64(head.Seq))
	g.binding.Store(int64(binding))
	return work
}

// cross records how long it took one kind of cursor to pass the slots from a ring position on that
// waited for it. It returns the position up to which that is done; the two kinds advance on their
// own. A replica that leaves takes its cursor with it, so it never counts as crossed.
func (g *gate[R, Q]) cross(from uint64, kind uint8, cursor durability.Seq, now int64) uint64 {
	base := g.slots.Position()
	from = max(from, base)
	if from >= g.scanned {
		return from
	}
	stage := telemetry.StageJournalWait
	if kind == shard.BelowReplicas {
		stage = telemetry.StageReplicaWait
	}
	slots := g.slots.Ahead(int(from-base), min(g.batch, int(g.scanned-from)))
	for i := range slots {
		s := &slots[i]
		if s.waits&kind != 0 {
			if s.Seq > cursor {
				break
			}
			s.waits &^= kind
			g.rec.B.H[stage].Record(uint64(now - s.consumed))
			if left := s.waits & (shard.BelowJournal | shard.BelowReplicas); left != 0 {
				s.crossed = now // by the first of two cursors
				if left == shard.BelowJournal {
					s.waits |= shard.JournalLast << shard.RecordWaits
				}
			}
		}
		from++
	}
	return from
}

// observe keeps the degraded gauge current while nothing waits (R14).
func (g *gate[R, Q]) observe(p durability.Policy, now int64) {
	if g.source.Snapshot(&g.view) {
		g.verdict = p.Evaluate(&g.view)
		g.notice(now)
	}
}

func (g *gate[R, Q]) notice(now int64) {
	n := g.alarm.Observe(now, g.verdict.Degraded)
	if n.Kind != durability.Quiet && g.onAlarm != nil {
		g.onAlarm(n)
	}
}

// Recorder implements Actor.
func (g *gate[R, Q]) Recorder() *telemetry.Recorder { return g.rec }

// Park implements Actor.
func (g *gate[R, Q]) Park() { g.rec.Park() }

// Unpark implements Actor.
func (g *gate[R, Q]) Unpark() { g.rec.Unpark() }

// Done implements Actor: the producer closed the ring and every slot has passed, or the pipeline
// stops.
func (g *gate[R, Q]) Done() bool { return g.phase.Over() || g.slots.Done() }

// Close closes the lane, which tells the encoder that nothing more is released, ends a wait of the
// producer for room, and counts the slots that were never released. It implements Actor.
func (g *gate[R, Q]) Close() error {
	reason := telemetry.DropShutdown
	if g.phase.Fenced() {
		reason = telemetry.DropFenced
	}
	g.held(func(s *Slot[R, Q]) {
		g.rec.B.C[telemetry.GateSlots]++
		if s.Kind != KindTopic { // a frame without subscribers is dropped for none
			g.rec.B.C[reason.Counter()]++
		}
	})
	g.slots.End()
	g.policy.Close()
	g.lane.Close()
	close(g.ended)
	g.rec.Park()
	return nil
}

// held calls f for each slot that was published and not released, without releasing it, which would
// hand it to the encoder.
func (g *gate[R, Q]) held(f func(*Slot[R, Q])) {
	for skip := 0; ; {
		slots := g.slots.Ahead(skip, g.batch)
		if len(slots) == 0 {
			return
		}
		for i := range slots {
			if !slots[i].overtaken {
				f(&slots[i])
			}
		}
		skip += len(slots)
	}
}

// leftover is the gate's part of what the end found unfinished, after every goroutine has ended.
func (g *gate[R, Q]) leftover() (left leftover) {
	g.held(func(s *Slot[R, Q]) {
		if left.slots == 0 {
			left.seq = s.Seq
		}
		left.slots++
	})
	left.open = left.slots == 0 && !g.slots.Done()
	return left
}
