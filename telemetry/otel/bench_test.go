package otel

import (
	"context"
	"strconv"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sluice/telemetry"
)

// loaded returns a rig of eleven actors in which every series has values.
func loaded() *rig {
	r := newRig()
	for i := 2; i < 8; i++ {
		a := r.collector.Register("egress", i)
		a.Park()
		r.actors["egress "+strconv.Itoa(i)] = a
	}
	for name := range r.actors {
		r.record(name, func(b *telemetry.Block) {
			blockWithEverything(b)
			for s := range b.H {
				for v := range uint64(2000) {
					b.H[s].Record(v * v)
				}
			}
		})
	}
	return r
}

// BenchmarkProduce measures the cost of one reader, without the collection that readers share.
func BenchmarkProduce(b *testing.B) {
	for name, s := range map[string]shape{"classic": {},
		"exponential": {exponential: true, scale: 3, maxSize: 160}} {
		for kind, d := range map[string]deltas{"cumulative": {},
			"delta": {counters: true, histograms: true}} {
			b.Run(name+" "+kind, func(b *testing.B) {
				v := testView(loaded(), s, d)
				b.ReportAllocs()
				for b.Loop() {
					v.Produce(b.Context())
				}
			})
		}
	}
}

func BenchmarkCollect(b *testing.B) {
	r := loaded()
	b.ReportAllocs()
	for b.Loop() {
		r.collector.Collect(0)
	}
}

// BenchmarkScrape measures a whole scrape, including Go and process metrics.
func BenchmarkScrape(b *testing.B) {
	for name, accept := range map[string]string{"text": "", "protobuf native": acceptProtobuf} {
		b.Run(name, func(b *testing.B) {
			tel := start(b, loaded().config())
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				body, _ := scrape(b, tel.Handler(), "/metrics", accept)
				size = len(body)
			}
			b.ReportMetric(float64(size), "bytes/scrape")
		})
	}
}

// BenchmarkTrace measures the cost of a sampled response for the trace goroutine, up to the batch
// processor.
func BenchmarkTrace(b *testing.B) {
	r := newRig()
	c := r.config()
	c.Traces, c.Console, c.TracesPerSecond = ExporterConsole, discard{}, 1<<30
	b.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
	tel := start(b, c)
	close(tel.traces.stop) // the benchmark replaces the trace goroutine
	<-tel.traces.done
	tel.traces.stop = make(chan struct{})
	tel.traces.builder.tracer = nopTracer()
	rec := sampled(r, 1)
	b.ReportAllocs()
	for b.Loop() {
		rec.Seq++
		tel.traces.take(0, &rec, r.clock.Now())
	}
}

// nopTracer returns the SDK's tracer with an exporter that does nothing.
func nopTracer() trace.Tracer {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithSyncer(nothing{})).Tracer("bench")
}

type nothing struct{}

func (nothing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nothing) Shutdown(context.Context) error                             { return nil }
