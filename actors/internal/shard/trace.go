package shard

import (
	"math"

	"sluice/durability"
	"sluice/telemetry"
)

// tracer holds the traced responses of the current step. The gate selects some by head sampling;
// the oldest response of a flush is added if it took longer than the threshold.
type tracer struct {
	box     *telemetry.TraceBox
	sampler *telemetry.Sampler
	alarm   *durability.Degradation
	chosen  []traced // of the current step, in the order of their samples
	oldest  traced   // the first one received in the current step; none if received is never
}

// traced is a response with its stamps, which outlive its record in the inbox.
type traced struct {
	sample   int    // index in ledger.samples
	bytes    uint32 // of its frames
	record   Record
	appended int64 // monotonic ns
	parent   telemetry.Parent
}

// never is later than any response.
const never = math.MaxInt64

// note keeps the stamps of a response, whose record is b, if it was selected or is the oldest so
// far.
func (t *tracer) note(sample int, b []byte, bytes int, now int64) {
	r := RecordIn(b)
	noted := traced{sample: sample, bytes: uint32(bytes), record: *r, appended: now}
	if r.Flags&RecordParent != 0 {
		noted.parent.Get(b[len(b)-ParentBytes:])
	}
	if r.Received < t.oldest.record.Received {
		t.oldest = noted
	}
	if r.Flags&RecordTraced != 0 {
		t.chosen = append(t.chosen, noted)
	}
}

// trace puts the traced responses of the last flush into the box. A response whose bytes have not
// all left is not traced: its connection is blocked, which gauges and notices show. batch is the
// number of responses that were sent.
func (e *Shard) trace(batch int, now int64) {
	oldest := &e.traces.oldest
	for i := range e.traces.chosen {
		t := &e.traces.chosen[i]
		if t.sample == oldest.sample {
			oldest.record.Received = never // traced already
		}
		e.put(t, telemetry.TraceReason(t.record.Flags>>RecordReason), batch, now)
	}
	e.traces.chosen = e.traces.chosen[:0]
	age := uint64(max(now-oldest.record.Received, 0))
	if oldest.record.Received != never && e.traces.sampler.Load().Slow(age) {
		oldest.parent = telemetry.Parent{}
		e.put(oldest, telemetry.TraceReasonSlow, batch, now)
	}
	oldest.record.Received = never
}

// put builds the record of one traced response. If the box is full, the record is dropped and
// counted.
func (e *Shard) put(of *traced, why telemetry.TraceReason, batch int, now int64) {
	if e.ledger.samples[of.sample].bytes&sampleLen != 0 {
		e.putRecord(of, of.bytes, why, batch, now)
	} // else not delivered
}

// putRecord does so for bytes that were sent.
func (e *Shard) putRecord(of *traced, bytes uint32, why telemetry.TraceReason, batch int, now int64) {
	s, parent := &of.record, of.parent
	t := telemetry.TraceRec{
		Received: s.Received, Bytes: bytes, Seq: s.Seq, Conn: s.Conn, TraceID: parent.TraceID,
		Parent: parent.Span,
		Batch:  uint16(min(batch, 1<<16-1)), Shard: uint16(e.shard),
		Kind: uint8(s.Flags >> RecordKind), Reason: why,
	}
	if parent.Sampled() {
		t.Flags |= telemetry.TraceParentSampled
	}
	if t.Kind == KindTopic {
		t.Flags |= telemetry.TraceTopic
	}
	if e.traces.alarm.Degraded() {
		t.Flags |= telemetry.TraceDegraded
	}
	t.AfterNanos[telemetry.PointMatched] = max(s.Matched, 1)
	t.AfterNanos[telemetry.PointSeen] = max(s.Consumed, 1)
	t.AfterNanos[telemetry.PointReleased] = max(s.Opened, 1)
	t.AfterNanos[telemetry.PointEncoded] = max(s.Encoded, 1)
	t.Stamp(telemetry.PointAppended, of.appended)
	t.Stamp(telemetry.PointFlushed, e.outbox.flushed)
	t.Stamp(telemetry.PointCompleted, now)
	waits(&t, s)
	counter := telemetry.TracesTaken
	if !e.traces.box.TryPut(&t) {
		counter = telemetry.TracesDropped
	}
	e.rec.B.C[counter]++
}

// waits stamps the cursors that the response waited for. The one that passed it last opened the
// gate for it.
func waits(t *telemetry.TraceRec, s *Record) {
	first, last, flag := telemetry.PointJournal, telemetry.PointReplica, telemetry.TraceBlockedByReplica
	switch waited := s.Flags >> RecordWaits & (BelowJournal | BelowReplicas | JournalLast); {
	case waited == 0:
		return
	case waited == BelowJournal, waited&JournalLast != 0:
		first, last, flag = telemetry.PointReplica, telemetry.PointJournal, telemetry.TraceBlockedByJournal
	}
	if s.Crossed != 0 {
		t.AfterNanos[first] = max(s.Crossed, 1)
	}
	t.AfterNanos[last] = max(s.Opened, 1)
	t.Flags |= flag
}
