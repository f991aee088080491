package otel

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// drainer takes sampled responses out of their boxes and makes traces of those within the rate. Its
// goroutine may block on the batch processor, whose exporter may hang. Then the boxes fill up and count
// the responses that they reject; no other goroutine is affected.
type drainer struct {
	boxes         []*telemetry.TraceBox
	clock         telemetry.Clock
	self          *selfCounts
	builder       *builder
	defaultRate   *bucket     // for responses that the rules pick
	parentRate    *bucket     // for sampled parents, which any client can send
	requestedRate *bucket     // for operators
	previous      []responses // by box
	provider      *sdktrace.TracerProvider
	batches       sdktrace.SpanProcessor // of the provider; has goroutines of its own

	stop          chan struct{} // closed to end the goroutine; it empties the boxes once more
	done          chan struct{}
	flushRequests chan chan struct{} // requests to empty the boxes now; the sent channel is closed afterwards
}

// responses counts the consecutive responses of one event to one connection.
type responses struct {
	seq, conn, ordinal uint64
}

// requestedFactor is the rate of traces for operators as a multiple of the default rate.
const requestedFactor = 10

// newDrainer returns nil if traces are not exported. Exports are cancelled when exportCtx ends.
func newDrainer(ctx, exportCtx context.Context, c *Config, src *source,
	res *resource.Resource) (*drainer, error) {
	exporter, err := newSpanExporter(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("otel: %s exporter for traces: %w", c.Traces, err)
	}
	if exporter == nil {
		return nil, nil
	}
	// A full queue blocks, so that traces are dropped in one place, the box, and as a whole.
	batch := []sdktrace.BatchSpanProcessorOption{sdktrace.WithBlocking()}
	if os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE") == "" {
		batch = append(batch, sdktrace.WithMaxQueueSize(spanQueue))
	}
	guarded := &spanGuard{SpanExporter: exporter, exportCtx: exportCtx,
		errors: &src.self.traceErrors, dropped: &src.self.exporter}
	batches := sdktrace.NewBatchSpanProcessor(guarded, batch...)
	generator := newIDs(c.ClusterID)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithIDGenerator(generator),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // the pipeline has decided
		sdktrace.WithSpanProcessor(batches),
	)
	now := c.Clock.Now()
	d := &drainer{
		boxes: c.Boxes, clock: c.Clock, self: src.self, provider: provider, batches: batches,
		defaultRate:   newBucket(c.TracesPerSecond, now),
		parentRate:    newBucket(c.TracesPerSecond, now),
		requestedRate: newBucket(requestedFactor*c.TracesPerSecond, now),
		previous:      make([]responses, len(c.Boxes)),
		stop:          make(chan struct{}), done: make(chan struct{}),
		flushRequests: make(chan chan struct{}),
		builder: &builder{
			tracer: provider.Tracer(scopeName,
				trace.WithInstrumentationVersion(src.scope.Version)), ids: generator,
			anchor: newAnchor(c.Clock), exemplars: src.exemplars, kind: c.KindName,
			policy: c.PolicyName, voters: c.Voters,
		},
	}
	return d, nil
}

// newSpanExporter returns nil for "none". The exporters read the OTEL_EXPORTER_OTLP_*
// variables themselves.
func newSpanExporter(ctx context.Context, c *Config) (sdktrace.SpanExporter, error) {
	switch {
	case c.Traces == ExporterConsole:
		var options []stdouttrace.Option
		if c.Console != nil {
			options = append(options, stdouttrace.WithWriter(c.Console))
		}
		return stdouttrace.New(options...)
	case c.Traces == ExporterOTLP:
		return c.OTLP.Traces(ctx, c.TracesProtocol == ProtocolGRPC)
	}
	return nil, nil
}

// run is the trace goroutine.
func (d *drainer) run() {
	defer close(d.done)
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			d.drain()
			return
		case answer := <-d.flushRequests:
			d.drain()
			close(answer)
		case <-tick.C:
			d.drain()
		}
	}
}

func (d *drainer) drain() {
	d.builder.anchor.refresh(d.clock.Now())
	var r telemetry.TraceRec
	for i, box := range d.boxes {
		for box.TryGet(&r) {
			d.take(i, &r, d.clock.Now())
		}
	}
}

// take makes a trace of a record if it is within the rate.
func (d *drainer) take(box int, r *telemetry.TraceRec, now int64) {
	p := &d.previous[box]
	if p.seq == r.Seq && p.conn == r.Conn {
		p.ordinal++
	} else {
		*p = responses{seq: r.Seq, conn: r.Conn}
	}
	rate := d.defaultRate
	switch r.Reason {
	case telemetry.TraceReasonParent:
		rate = d.parentRate
	case telemetry.TraceReasonDebug:
		rate = d.requestedRate
	}
	if !rate.take(now) {
		d.self.rate.Add(1)
		return
	}
	if int(r.Reason) < len(d.self.sampled) {
		d.self.sampled[r.Reason].Add(1)
	}
	d.builder.build(r, p.ordinal)
}

// flush makes traces of the records in the boxes and exports them.
func (d *drainer) flush(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case d.flushRequests <- answer:
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("otel: the trace goroutine is waiting for the collector: %w", ctx.Err())
	}
	select {
	case <-answer:
	case <-ctx.Done():
		return fmt.Errorf("otel: the trace goroutine is waiting for the collector: %w", ctx.Err())
	}
	return d.provider.ForceFlush(ctx)
}

// end makes traces of the remaining records, exports them and ends the goroutine. It returns at the
// latest when ctx ends.
func (d *drainer) end(ctx context.Context) error {
	close(d.stop)
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	return d.provider.Shutdown(ctx)
}

// release ends the goroutines that end left behind because a collector hung. It is called after the
// exports were cancelled, so they fail at once. The provider does not wait for a processor after its
// context has ended.
func (d *drainer) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := d.batches.Shutdown(ctx); err != nil {
		d.self.traceErrors.Add(1)
	}
}

// spanGuard counts failed exports and their traces, and cancels running exports when exportCtx ends.
type spanGuard struct {
	sdktrace.SpanExporter
	exportCtx       context.Context
	errors, dropped *atomic.Uint64
}

// ExportSpans calls the exporter.
func (g *spanGuard) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.exportCtx, cancel)()
	err := g.exportCtx.Err()
	if err == nil {
		err = g.SpanExporter.ExportSpans(ctx, spans)
	}
	if err != nil {
		g.errors.Add(1)
		for _, s := range spans {
			if s.Name() == spanRoot {
				g.dropped.Add(1)
			}
		}
	}
	return err
}
