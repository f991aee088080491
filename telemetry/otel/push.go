package otel

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// newPush returns the provider of the periodic readers, nil if there are none. Exports are cancelled
// when exportCtx ends.
func newPush(ctx context.Context, exportCtx context.Context, src *source, c *Config,
	res *resource.Resource) (*metric.MeterProvider, error) {
	options := []metric.Option{metric.WithResource(res)}
	for _, name := range c.Metrics {
		exporter, err := newMetricExporter(ctx, name, c)
		if err != nil {
			return nil, fmt.Errorf("otel: %s exporter for metrics: %w", name, err)
		}
		if exporter == nil {
			continue
		}
		guarded := &metricGuard{Exporter: exporter, exportCtx: exportCtx,
			errors: &src.self.metricErrors}
		reader := []metric.PeriodicReaderOption{metric.WithProducer(viewFor(src, exporter, c)),
			metric.WithProducer(runtime.NewProducer())}
		if os.Getenv("OTEL_METRIC_EXPORT_INTERVAL") == "" {
			reader = append(reader, metric.WithInterval(c.ExportEvery))
		}
		options = append(options, metric.WithReader(metric.NewPeriodicReader(guarded, reader...)))
	}
	if len(options) == 1 {
		return nil, nil
	}
	provider := metric.NewMeterProvider(options...)
	if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
		return nil, fmt.Errorf("otel: runtime metrics: %w", err)
	}
	if strings.EqualFold(os.Getenv("OTEL_GO_X_OBSERVABILITY"), "true") {
		otel.SetMeterProvider(provider) // the SDK measures itself with the global provider
	}
	return provider, nil
}

// newMetricExporter returns nil for exporters that do not push. The exporters read the
// OTEL_EXPORTER_OTLP_* variables themselves.
func newMetricExporter(ctx context.Context, name string, c *Config) (metric.Exporter, error) {
	switch {
	case name == ExporterConsole:
		var options []stdoutmetric.Option
		if c.Console != nil {
			options = append(options, stdoutmetric.WithWriter(c.Console))
		}
		return stdoutmetric.New(options...)
	case name == ExporterOTLP:
		return c.OTLP.Metrics(ctx, c.MetricsProtocol == ProtocolGRPC)
	}
	return nil, nil
}

// viewFor returns the view for an exporter. Without the variable, histograms are exponential: these
// are smaller and finer.
func viewFor(src *source, e metric.Exporter, c *Config) *view {
	const variable = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
	s := shape{exponential: true, scale: c.Scale, maxSize: 160}
	if os.Getenv(variable) != "" {
		s = shapeOf(e.Aggregation(metric.InstrumentKindHistogram), c.Scale)
	}
	return newView(src, s, deltas{
		counters:   e.Temporality(metric.InstrumentKindCounter) == metricdata.DeltaTemporality,
		histograms: e.Temporality(metric.InstrumentKindHistogram) == metricdata.DeltaTemporality,
	})
}

// metricGuard counts failed exports and cancels running ones when exportCtx ends.
type metricGuard struct {
	metric.Exporter
	exportCtx context.Context
	errors    *atomic.Uint64
}

// Export calls the exporter.
func (g *metricGuard) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.exportCtx, cancel)()
	err := g.Exporter.Export(ctx, rm)
	if err != nil {
		g.errors.Add(1)
	}
	return err
}
