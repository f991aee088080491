package otel

import (
	"context"
	"encoding/binary"
	"hash/fnv"

	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// ids derives trace and span ids from cluster, wire seq and connection instead of choosing them at
// random. So the trace id of a known response can be computed, and every node of a cluster gives the
// spans of one event the same trace id without communication. It is the SDK's IDGenerator; only the
// trace goroutine calls it, between begin and the last span.
type ids struct {
	cluster uint64
	trace   trace.TraceID
	span    uint64 // base of the span ids of the current response
	next    uint64 // index of its next span
}

func newIDs(cluster string) *ids {
	h := fnv.New64a()
	h.Write([]byte(cluster))
	return &ids{cluster: scramble(h.Sum64())}
}

// begin sets the response of the following spans. The ordinal distinguishes the responses that one
// event caused for one connection.
func (g *ids) begin(r *telemetry.TraceRec, ordinal uint64) {
	high := scramble(g.cluster ^ scramble(r.Seq))
	low := scramble(high + r.Seq)
	binary.BigEndian.PutUint64(g.trace[:8], high|1) // an id must not be all zero
	binary.BigEndian.PutUint64(g.trace[8:], low)
	g.span = scramble(low ^ scramble(r.Conn) + ordinal)
	g.next = 0
}

// NewIDs returns the ids of a root span.
func (g *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	return g.trace, g.NewSpanID(ctx, g.trace)
}

// NewSpanID returns the id of the next span.
func (g *ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], scramble(g.span+g.next)|1)
	g.next++
	return id
}

// scramble spreads a number over all 64 bits (the finalizer of splitmix64).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
