package otel

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// spanReplicate is the span of a response's event in a cluster.
const spanReplicate = "replicate"

// Voter is when a node of the cluster had an event on its disk, as the leader heard it.
type Voter struct {
	Node uint64
	At   telemetry.Nanos
}

// replicate adds a span within the gate's span, with an event for each voter. A voter may be later than
// the release, which waits for no more of them than the policy asks for.
func (b *builder) replicate(ctx context.Context, r *telemetry.TraceRec, from, to int64) {
	if b.voters == nil {
		return
	}
	voters := b.voters(r.Seq)
	if len(voters) == 0 {
		return
	}
	_, span := b.start(ctx, spanReplicate, from)
	for _, v := range voters {
		span.AddEvent("node "+strconv.FormatUint(v.Node, 10)+" persisted", trace.WithTimestamp(b.anchor.wall(v.At)),
			trace.WithAttributes(attribute.Int64("sluice.node.id", signed(v.Node))))
	}
	b.end(span, to)
}
