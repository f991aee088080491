package actors

import (
	"context"
	"log/slog"

	"sluice/actors/internal/run"
	"sluice/telemetry"
	"sluice/transport"
)

// end begins the world's end, in one of its four ways.
func (w *world) end() {
	w.ending = true
	switch w.swarm.finale {
	case finaleDrain, finaleDrainStop:
		w.stats.Drains++
		w.p.slots.Close()
		if w.swarm.finale == finaleDrainStop && w.r.oneIn(2) { // its context has a deadline
			w.patience = w.now + int64(w.swarm.grace)
		}
		for _, p := range w.open { // readers that the node's end ended
			if p.owned && !p.gone && !p.alone && !p.cut && w.r.oneIn(4) {
				w.depart(p)
			}
		}
		w.p.phase.Advance(run.PhaseDraining, w.patience)
	case finaleStop:
		w.stats.Stops++
		w.cut(run.PhaseStopping)
	case finaleFence:
		w.stats.Fences++
		w.cut(run.PhaseFenced)
	}
	w.p.runner.Wake()
}

// cut starts a stop or a fence.
func (w *world) cut(phase uint32) {
	w.cutShort = true
	w.deadline = w.now + int64(w.swarm.grace)
	if w.patience != 0 {
		w.deadline = min(w.deadline, w.patience) // an earlier one stays
	}
	w.halted = w.p.gate.slots.Position()
	w.p.phase.Advance(phase, w.deadline)
	w.watchEnd()
}

// giveUp turns a drain that takes long into a stop.
func (w *world) giveUp() {
	if w.ending && w.swarm.finale == finaleDrainStop && !w.cutShort {
		w.stats.Stops++
		w.cut(run.PhaseStopping)
		w.p.runner.Wake()
	}
}

// simSlack is how far (ns) behind its deadline the end may be: the longest nap, and a few rounds of
// everybody.
const simSlack = 3000 + 5000

// watchEnd checks what must hold while the pipeline stops: nothing is released, a shard that says
// so is silent, the deadline is kept (I8, R15).
func (w *world) watchEnd() {
	if !w.cutShort { // an actor ended the pipeline by itself
		w.cutShort, w.halted = true, w.released
		if w.failed() == nil {
			w.fail("the pipeline ends although no end was requested")
		}
		w.stats.InDoubt++
	}
	if w.released != w.halted {
		w.fail("the gate released slots %d..%d after the stop", w.halted, w.released)
	}
	for i, e := range w.p.shards {
		sent := int64(w.rings[i].Counters().Bytes)
		switch {
		case w.p.phase.Fenced() && w.asked[i] == 0:
			w.asked[i] = w.rings[i].SendCalls() + 1
		case w.p.phase.Fenced() && w.asked[i] != w.rings[i].SendCalls()+1:
			w.fail("shard %d asked for a send after the fence (R15)", i)
		case !e.Gauges.Fenced.Load():
		case w.silent[i] < 0:
			w.silent[i] = sent
		case w.silent[i] != sent:
			w.fail("shard %d sent %d bytes after it said that nothing leaves any more (R15)", i,
				sent-w.silent[i])
		}
	}
	if w.deadline != 0 && w.now > w.deadline+simSlack && w.going() {
		w.fail("still at work %d ns after the deadline: %s (I8)", w.now-w.deadline, w.unfinished())
	}
}

// settleAccounts checks what must hold when every goroutine has ended (I8, I9, I10).
func (w *world) settleAccounts() {
	w.p.finish(w.failed())
	close(w.p.ended)
	for _, p := range w.peers {
		if p.owned && !p.gone && !p.alone { // the reader releases it late
			w.p.Disconnect(p.id, p.owed, transport.ReasonShutdown)
		}
	}
	if n := w.p.Connections(); n != 0 {
		w.fail("%d permits were not returned (I10)", n)
	}
	if len(w.p.sockets.orphans) != 0 {
		w.fail("%d sockets were orphaned (I8)", len(w.p.sockets.orphans))
	}
	if n := w.net.Live(); n != 0 {
		w.fail("%d sockets are still open (I8)", n)
	}
	for _, e := range w.p.shards {
		if n := e.Slab().InUse(); n != 0 {
			w.fail("%s: %d bytes of buffers were not freed (I5)", e.Name(), n)
		}
	}
	w.ledger()
}

// ledger compares what went in with what came out (I9).
func (w *world) ledger() {
	w.p.Collector().Final()
	sum := w.p.Collector().Sum()
	var dropped uint64
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		dropped += sum.C[r.Counter()]
	}
	w.lastFlush = w.healthy && w.cutShort && !w.p.phase.Fenced()
	w.healthy = false // how long ago the rest came is not known
	delivered, whole := sum.C[telemetry.EgressFramesSent], uint64(0)
	for _, p := range w.peers {
		p.read(1 << 30)
		whole += uint64(p.whole)
		p.streamEnded()
		switch {
		case p.cut:
		case p.closed == transport.ReasonPeerClosed && p.answers < p.answered ||
			p.closed == transport.ReasonShutdown && !w.cutShort && p.answers < p.answered:
			w.fail("%v: got %d of %d responses that were no slots", p, p.answers, p.answered)
		case p.closed == transport.ReasonShutdown && !w.cutShort && p.slowTold:
			w.fail("%v: was served and is still called slow", p)
		case p.closed == transport.ReasonShutdown && w.lastFlush && !p.slow && !p.blocked &&
			!p.sim.Refused() && p.got < p.slotsBefore(w.halted):
			w.fail("%v: a stop did not send it the %d responses that were released (R31)", p,
				p.slotsBefore(w.halted))
		case p.closed == transport.ReasonPeerClosed && p.got < p.due:
			w.fail("%v: closed as served, %d responses were due", p, p.due)
		case p.closed == transport.ReasonShutdown && !w.cutShort && p.got < len(p.slots):
			w.fail("%v: closed by a drain before it was served", p)
		default:
			p.endedWhole()
		}
	}
	s := &w.stats
	s.Slots, s.Sent = w.next, delivered
	s.Overtaken = sum.C[telemetry.GateOvertaken]
	s.Heartbeats = sum.C[telemetry.EgressHeartbeats]
	s.EncodeErrors, s.EncodePanics, s.EncodeLarge = sum.C[telemetry.EncodeErrors], sum.C[telemetry.EncodePanics], sum.C[telemetry.EncodeOversized]
	s.SlowHard, s.SlowSoft, s.Stalled = sum.C[telemetry.CloseSlowHard.Counter()], sum.C[telemetry.CloseSlowSoft.Counter()], sum.C[telemetry.CloseStalled.Counter()]
	s.BudgetCloses = sum.C[telemetry.CloseShardBudget.Counter()]
	if in := w.next - w.topics.slots; delivered+dropped != in {
		w.fail("ledger: %d slots in, %d delivered + %d dropped (I9)", in, delivered, dropped)
	}
	w.topics.ledger(sum)
	doubt := uint64(0)
	for _, ring := range w.rings {
		doubt += ring.FaultCounts().Doubt
	}
	if delivered < whole && doubt == 0 { // what a ring in doubt sent is unknown
		w.fail("ledger: clients got %d whole responses, %d were counted as delivered (I9)", whole,
			delivered)
	}
	if n := sum.C[telemetry.EgressStale]; n != 0 {
		w.fail("%d completions matched no connection (I4)", n)
	}
}

// logger takes the pipeline's log. The one line that matters: a socket that outlived its shard is
// closed by close(2), which fails here since no process has that descriptor, and is then closed in
// the simulated world.
func (w *world) logger() *slog.Logger { return slog.New(simLog{w}) }

type simLog struct{ w *world }

func (simLog) Enabled(context.Context, slog.Level) bool { return true }
func (l simLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l simLog) WithGroup(string) slog.Handler          { return l }
func (l simLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "fd" {
			l.w.stats.Orphan++
			l.w.net.Close(int32(a.Value.Int64()))
		}
		return true
	})
	return nil
}
