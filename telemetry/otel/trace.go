package otel

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// drainer takes sampled responses out of their boxes and makes traces of those that
// the rate allows. Its goroutine may block on the batch processor, whose exporter may
// hang; then the boxes fill and count what they refuse, and nobody else notices.
type drainer struct {
	boxes         []*telemetry.TraceBox
	clock         telemetry.Clock
	self          *selfCounts
	builder       *builder
	defaultRate   *bucket
	requestedRate *bucket     // sampled parents and operators
	previous      []responses // by box
	provider      *sdktrace.TracerProvider
	batches       sdktrace.SpanProcessor // the provider's; it has goroutines of its own

	stop          chan struct{} // closed to end the goroutine after a last look into the boxes
	done          chan struct{}
	flushRequests chan chan struct{} // a look into the boxes now, answered when it is over
}

// responses counts consecutive responses to one connection by one event.
type responses struct {
	seq, conn, ordinal uint64
}

// requestedFactor is how many times the usual rate those get who asked for a trace.
const requestedFactor = 10

// newDrainer returns nil if traces are not exported.
func newDrainer(ctx, exportCtx context.Context, c *Config, src *source, res *resource.Resource) (*drainer, error) {
	exporter, err := newSpanExporter(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("otel: %s exporter for traces: %w", c.Traces, err)
	}
	if exporter == nil {
		return nil, nil
	}
	// A full queue blocks, so that whole traces are dropped in one place, the box.
	batch := []sdktrace.BatchSpanProcessorOption{sdktrace.WithBlocking()}
	if os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE") == "" {
		batch = append(batch, sdktrace.WithMaxQueueSize(spanQueue))
	}
	guarded := &spanGuard{SpanExporter: exporter, exportCtx: exportCtx, errors: &src.self.traceErrors, dropped: &src.self.exporter}
	batches := sdktrace.NewBatchSpanProcessor(guarded, batch...)
	generator := newIDs(c.ClusterID)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithIDGenerator(generator),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // the pipeline decided
		sdktrace.WithSpanProcessor(batches),
	)
	now := c.Clock.Now()
	d := &drainer{
		boxes: c.Boxes, clock: c.Clock, self: src.self, provider: provider, batches: batches,
		defaultRate: newBucket(c.TracesPerSecond, now), requestedRate: newBucket(requestedFactor*c.TracesPerSecond, now),
		previous: make([]responses, len(c.Boxes)),
		stop:     make(chan struct{}), done: make(chan struct{}), flushRequests: make(chan chan struct{}),
		builder: &builder{
			tracer: provider.Tracer(scopeName, trace.WithInstrumentationVersion(src.scope.Version)), ids: generator,
			anchor: newAnchor(c.Clock), exemplars: src.exemplars, kind: c.KindName, policy: c.PolicyName,
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
	case c.Traces == ExporterOTLP && c.TracesProtocol == ProtocolGRPC:
		return otlptracegrpc.New(ctx)
	case c.Traces == ExporterOTLP:
		return otlptracehttp.New(ctx)
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

// take makes a trace of a record if the rate allows.
func (d *drainer) take(box int, r *telemetry.TraceRec, now int64) {
	p := &d.previous[box]
	if p.seq == r.Seq && p.conn == r.Conn {
		p.ordinal++
	} else {
		*p = responses{seq: r.Seq, conn: r.Conn}
	}
	rate := d.defaultRate
	if r.Reason == telemetry.TraceReasonParent || r.Reason == telemetry.TraceReasonDebug {
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

// flush makes traces of what lies in the boxes and exports them.
func (d *drainer) flush(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case d.flushRequests <- answer:
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("otel: the trace goroutine waits for the collector: %w", ctx.Err())
	}
	select {
	case <-answer:
	case <-ctx.Done():
		return fmt.Errorf("otel: the trace goroutine waits for the collector: %w", ctx.Err())
	}
	return d.provider.ForceFlush(ctx)
}

// end makes traces of what is left, exports them and ends the goroutine, or gives up
// when ctx is over.
func (d *drainer) end(ctx context.Context) error {
	close(d.stop)
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	return d.provider.Shutdown(ctx)
}

// release ends the goroutines that end left because the collector hung, now that
// exports fail at once. The provider gives up on a processor when its context is over.
func (d *drainer) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := d.batches.Shutdown(ctx); err != nil {
		d.self.traceErrors.Add(1)
	}
}

// spanGuard counts the traces of exports that failed, and ends those that are going
// on when Shutdown has waited long enough.
type spanGuard struct {
	sdktrace.SpanExporter
	exportCtx       context.Context
	errors, dropped *atomic.Uint64
}

// ExportSpans passes on to the exporter.
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
