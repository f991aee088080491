package otel

import (
	"context"
	"math"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// Names of spans; below the root they are those of the stages.
const (
	spanRoot    = "sluice.response"
	spanJournal = "gate.journal"
	spanReplica = "gate.replica"
)

// segment is a section of the path of a response. It starts where the previous one ended and ends at a
// point, so the segments of a trace add up to its whole duration.
type segment struct {
	end   telemetry.Point
	stage telemetry.Stage
}

func segments() [7]segment {
	return [...]segment{
		{telemetry.PointMatched, telemetry.StageMatch},
		{telemetry.PointSeen, telemetry.StageHandoff},
		{telemetry.PointReleased, telemetry.StageGate},
		{telemetry.PointEncoded, telemetry.StageEncode},
		{telemetry.PointAppended, telemetry.StageQueue},
		{telemetry.PointFlushed, telemetry.StageBatch},
		{telemetry.PointCompleted, telemetry.StageSend},
	}
}

// builder makes span trees of records with a tracer. The trace goroutine owns it.
type builder struct {
	tracer    trace.Tracer
	ids       *ids
	anchor    *anchor
	exemplars *exemplars
	kind      func(uint8) string
	policy    func(uint8) string
	voters    func(event uint64) []Voter // nil on a single node
}

// build makes the spans of one response. The root ends last, so a batch usually contains the whole
// tree.
func (b *builder) build(r *telemetry.TraceRec, ordinal uint64) {
	b.ids.begin(r, ordinal)
	ctx, options := b.origin(r)
	options = append(options, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(b.anchor.wall(r.Received)), trace.WithAttributes(b.attributes(r)...))
	ctx, root := b.tracer.Start(ctx, spanRoot, options...)

	link := exemplar{at: b.anchor.wall(r.Received), trace: root.SpanContext().TraceID()}
	from := r.Received
	for _, l := range segments() {
		to, passed := r.At(l.end)
		if !passed {
			continue
		}
		to = max(to, from) // stamps of two cores can be out of order by some ns
		inner, span := b.start(ctx, l.stage.Name(), from)
		if l.stage == telemetry.StageGate {
			b.waits(inner, r, from, to)
			b.replicate(inner, r, from, to)
		}
		b.end(span, to)
		link.ns, link.span = uint64(to-from), span.SpanContext().SpanID()
		b.exemplars.put(l.stage, link)
		from = to
	}
	if r.Flags&telemetry.TraceFailed != 0 {
		root.SetStatus(codes.Error, "the response was dropped")
		root.SetAttributes(attribute.String("error.type", "dropped"))
	} else {
		link.ns, link.span = uint64(from-r.Received), root.SpanContext().SpanID()
		b.exemplars.put(telemetry.StageWhole, link)
	}
	b.end(root, from)
}

// origin decides between continuing the trace of a sampled parent and starting a new one. A new trace
// links to the parent if the parent was not sampled.
func (b *builder) origin(r *telemetry.TraceRec) (context.Context, []trace.SpanStartOption) {
	ctx := context.Background()
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: r.TraceID, SpanID: r.Parent,
		Remote: true})
	switch {
	case !parent.IsValid():
		return ctx, nil
	case r.Flags&telemetry.TraceParentSampled != 0:
		return trace.ContextWithRemoteSpanContext(ctx, parent.WithTraceFlags(trace.FlagsSampled)), nil
	}
	return ctx, []trace.SpanStartOption{trace.WithNewRoot(),
		trace.WithLinks(trace.Link{SpanContext: parent})}
}

// waits adds the waits for journal and replicas as spans within the gate's span.
func (b *builder) waits(ctx context.Context, r *telemetry.TraceRec, from, to int64) {
	for _, w := range []struct {
		end   telemetry.Point
		stage telemetry.Stage
		name  string
	}{{telemetry.PointJournal, telemetry.StageJournalWait, spanJournal},
		{telemetry.PointReplica, telemetry.StageReplicaWait, spanReplica}} {
		at, passed := r.At(w.end)
		if !passed {
			continue
		}
		at = min(max(at, from), to)
		_, span := b.start(ctx, w.name, from)
		b.end(span, at)
		b.exemplars.put(w.stage, exemplar{
			ns: uint64(at - from), at: b.anchor.wall(r.Received),
			trace: span.SpanContext().TraceID(), span: span.SpanContext().SpanID(),
		})
	}
}

func (b *builder) start(ctx context.Context, name string, at int64) (context.Context, trace.Span) {
	return b.tracer.Start(ctx, name, trace.WithTimestamp(b.anchor.wall(at)))
}

func (b *builder) end(s trace.Span, at int64) { s.End(trace.WithTimestamp(b.anchor.wall(at))) }

// attributes returns the attributes of the root span; docs/telemetry.md lists them.
func (b *builder) attributes(r *telemetry.TraceRec) []attribute.KeyValue {
	blocker := "none"
	switch {
	case r.Flags&telemetry.TraceBlockedByReplica != 0:
		blocker = "replication"
	case r.Flags&telemetry.TraceBlockedByJournal != 0:
		blocker = "journal"
	}
	of := "sluice.conn.id"
	if r.Flags&telemetry.TraceTopic != 0 {
		of = "sluice.topic.id"
	}
	return []attribute.KeyValue{
		attribute.Int64("sluice.seq", signed(r.Seq)),
		attribute.Int64(of, signed(r.Conn)),
		attribute.Int("sluice.shard", int(r.Shard)),
		attribute.String("sluice.response.type", b.kind(r.Kind)),
		attribute.Int64("sluice.response.size", int64(r.Bytes)),
		attribute.Int("sluice.batch.size", int(r.Batch)),
		attribute.String("sluice.ack_policy", b.policy(r.Policy)),
		attribute.Bool("sluice.ack_policy.degraded", r.Flags&telemetry.TraceDegraded != 0),
		attribute.String("sluice.gate.blocker", blocker),
		attribute.String("sluice.sampling.reason", r.Reason.Name()),
	}
}

// signed clamps v to the range of an attribute.
func signed(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
