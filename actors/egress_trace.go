package actors

import (
	"sluice/durability"
	"sluice/telemetry"
)

// tracer is what a shard knows about the traced answers of the current step. The gate chose some by head sampling; the
// slowest answer of a flush joins them when it was slower than the threshold.
type tracer struct {
	box     *telemetry.TraceBox
	sampler *telemetry.Sampler
	clock   telemetry.Clock
	alarm   *durability.Degradation
	chosen  []traced // of the current step, in the order of their samples
}

type traced struct {
	sample int // index in Egress.samples
	parent telemetry.Parent
}

// handed is when a flush begins. Answers are stamped as appended with the beginning of their step, so that one reading of
// the clock for each flush tells the time it took to gather them from the time the kernel took (docs/telemetry.md).
func (t *tracer) handed(now int64) int64 { return max(now, t.clock.Now()) }

func (t *tracer) add(sample int, parent telemetry.Parent) {
	t.chosen = append(t.chosen, traced{sample, parent})
}

// trace puts the traced answers of the last flush into the box. An answer whose bytes have not all left is not traced:
// its connection is blocked, which the gauges and notices tell. batch is the number of answers that were sent.
func (e *Egress) trace(slowest, batch int, now int64) {
	for _, t := range e.traces.chosen {
		s := &e.samples[t.sample]
		if t.sample == slowest {
			slowest = -1
		}
		if s.slot {
			e.put(s, t.parent, telemetry.Reason(s.flags>>recordReason), batch, now)
		}
	}
	e.traces.chosen = e.traces.chosen[:0]
	if slowest < 0 {
		return
	}
	s := &e.samples[slowest]
	if e.traces.sampler.Load().Slow(uint64(max(now-s.received, 0))) {
		e.put(s, telemetry.Parent{}, telemetry.ReasonSlow, batch, now)
	}
}

// put builds the record of one traced answer; a full box drops it and counts.
func (e *Egress) put(s *sample, parent telemetry.Parent, why telemetry.Reason, batch int, now int64) {
	t := telemetry.TraceRec{
		Recv: s.received, Bytes: s.bytes, Seq: s.seq, Conn: e.conns[s.entry].ID, TraceID: parent.TraceID, Parent: parent.Span,
		Batch: uint16(min(batch, 1<<16-1)), Shard: uint16(e.shard), Kind: uint8(s.flags >> recordKind), Reason: why,
	}
	if parent.Sampled() {
		t.Flags |= telemetry.TraceParentSampled
	}
	if e.traces.alarm.Degraded() {
		t.Flags |= telemetry.TraceDegraded
	}
	t.D[telemetry.PointMatched] = max(s.matched, 1)
	t.D[telemetry.PointSeen] = max(s.consumed, 1)
	t.D[telemetry.PointReleased] = max(s.opened, 1)
	t.D[telemetry.PointEncoded] = max(s.encoded, 1)
	t.Stamp(telemetry.PointAppended, s.appended)
	t.Stamp(telemetry.PointFlushed, e.flushed)
	t.Stamp(telemetry.PointCompleted, now)
	waits(&t, s)
	counter := telemetry.TracesTaken
	if !e.traces.box.TryPut(&t) {
		counter = telemetry.TracesDropped
	}
	e.rec.B.C[counter]++
}

// waits stamps the cursors the answer waited for. The one that passed it last opened the gate for it.
func waits(t *telemetry.TraceRec, s *sample) {
	first, last, flag := telemetry.PointJournal, telemetry.PointReplica, telemetry.TraceBlockedByReplica
	switch waited := s.flags >> recordWaits & (belowJournal | belowReplicas | journalLast); {
	case waited == 0:
		return
	case waited == belowJournal, waited&journalLast != 0:
		first, last, flag = telemetry.PointReplica, telemetry.PointJournal, telemetry.TraceBlockedByJournal
	}
	if s.crossed != 0 {
		t.D[first] = max(s.crossed, 1)
	}
	t.D[last] = max(s.opened, 1)
	t.Flags |= flag
}
