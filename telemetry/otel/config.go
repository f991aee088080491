package otel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"sluice/telemetry"
)

// Names of exporters in Config.Metrics and Config.Traces.
const (
	ExporterNone       = "none"
	ExporterOTLP       = "otlp"
	ExporterPrometheus = "prometheus"
	ExporterConsole    = "console"
)

// Protocols of OTLP.
const (
	ProtocolHTTP = "http/protobuf"
	ProtocolGRPC = "grpc"
)

// Values of Config.Histograms.
const (
	HistogramsAuto    = "auto"    // native for scrapers that accept protobuf, else classic
	HistogramsClassic = "classic" // explicit buckets for all scrapers
	HistogramsNative  = "native"  // native only; a text scrape shows sum and count
)

// Defaults of Config.
const (
	DefaultScale           = 3                     // exponential buckets in each power of two: 2^3
	DefaultSLO             = time.Millisecond      // see Config.SLO
	DefaultTracesPerSecond = 100                   // see Config.TracesPerSecond
	DefaultExportEvery     = 10 * time.Second      // see Config.ExportEvery
	DefaultCollectEvery    = time.Second           // see Config.CollectEvery
	DefaultShutdownTimeout = 4 * time.Second       // see Config.ShutdownTimeout
	DefaultTraceSlow       = 10 * time.Millisecond // see Config.TraceSlow
	drainEvery             = 25 * time.Millisecond // interval at which the trace boxes are emptied
	anchorEvery            = time.Second           // interval at which the wall clock is read
	spanQueue              = 4096                  // spans in the batch processor, unless OTEL_BSP_MAX_QUEUE_SIZE is set
)

// Config is what is exported and where. FromEnv completes it from the OTEL_* variables. A program
// applies its flags after that, so flags take precedence.
type Config struct {
	Collector *telemetry.Collector  // what is exported; required
	Clock     telemetry.Clock       // the clock of all stamps; required
	Boxes     []*telemetry.TraceBox // boxes of sampled responses, one for each producer

	Disabled    bool     // export nothing; the pipeline still measures
	Metrics     []string // exporters: prometheus, otlp, console, none; default prometheus
	Traces      string   // exporter: otlp, console, none; default none
	NoExemplars bool     // omit the links from histogram buckets to traces

	// OTLP makes the OTLP exporters; required if one of the exporters is otlp. Package
	// telemetry/otel/otlp has them, apart because they link gRPC.
	OTLP            OTLP
	MetricsProtocol string // of OTLP: http/protobuf (default) or grpc
	TracesProtocol  string
	Histograms      string // what /metrics shows: auto (default), classic or native
	Scale           int32  // of exponential histograms, -4 to 8
	// SLO is the latency objective: responses that take this long or longer violate it. It is
	// rounded up to a histogram bound, by at most 3 %.
	SLO time.Duration

	TraceRatio float64       // fraction of all responses, picked by wire seq, the same on every node
	TraceSlow  time.Duration // trace the slowest response of a flush if it took longer; negative = never
	// TracesPerSecond limits the traces that the rules pick, and apart from them those with a sampled
	// parent, since any client can send one. The limit of those for an operator is ten times as high.
	TracesPerSecond int

	ServiceName, ServiceVersion string // resource attributes; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence
	InstanceID, ClusterID       string // ClusterID is also part of trace ids
	NodeRole                    string // set it only if it never changes
	// Build has the labels of the gauge sluice_build_info of /metrics, whose value is 1: what the program
	// was built from. nil: no such gauge.
	Build map[string]string

	KindName   func(kind uint8) string   // name of a slot kind in traces; default its number
	PolicyName func(policy uint8) string // name of a durability policy in traces; default its number

	// Voters returns which nodes of a cluster had an event on disk, and when, for the span replicate; nil on
	// a single node. The goroutine of traces calls it.
	Voters func(event uint64) []Voter

	ExportEvery     time.Duration // export interval of OTLP and console, unless OTEL_METRIC_EXPORT_INTERVAL is set
	CollectEvery    time.Duration // longest interval between two collections, at most a minute
	ShutdownTimeout time.Duration // bounds Shutdown unless its context has an earlier deadline

	AdminAddr string       // address from OTEL_EXPORTER_PROMETHEUS_HOST and _PORT; for the program that mounts Handler
	Console   io.Writer    // output of the console exporters; default standard output
	Log       *slog.Logger // receives errors, at most one a second; default slog.Default()
}

// OTLP makes exporters of OTLP, over gRPC or else HTTP.
type OTLP interface {
	Metrics(ctx context.Context, grpc bool) (metric.Exporter, error)
	Traces(ctx context.Context, grpc bool) (trace.SpanExporter, error)
}

// Rules returns the sampling rules of the configuration for the pipeline's telemetry.Sampler. If no
// traces are exported, it returns the zero Rules.
func (c Config) Rules() telemetry.Rules {
	c.defaults()
	if c.Disabled || c.Traces == ExporterNone {
		return telemetry.Rules{}
	}
	r := telemetry.NewRules(c.TraceRatio, c.TraceSlow)
	r.Exported = true
	return r
}

func (c *Config) defaults() {
	setDefault(&c.Traces, ExporterNone)
	setDefault(&c.MetricsProtocol, ProtocolHTTP)
	setDefault(&c.TracesProtocol, ProtocolHTTP)
	setDefault(&c.Histograms, HistogramsAuto)
	setDefault(&c.Scale, DefaultScale)
	setDefault(&c.SLO, DefaultSLO)
	setDefault(&c.TracesPerSecond, DefaultTracesPerSecond)
	setDefault(&c.ServiceName, "sluice")
	setDefault(&c.ExportEvery, DefaultExportEvery)
	setDefault(&c.CollectEvery, DefaultCollectEvery)
	setDefault(&c.ShutdownTimeout, DefaultShutdownTimeout)
	setDefault(&c.TraceSlow, DefaultTraceSlow)
	if c.Metrics == nil {
		c.Metrics = []string{ExporterPrometheus}
	}
	if c.KindName == nil {
		c.KindName = func(kind uint8) string { return fmt.Sprint(kind) }
	}
	if c.PolicyName == nil {
		c.PolicyName = func(policy uint8) string { return fmt.Sprint(policy) }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// check returns an error for the first invalid setting, with a valid value.
func (c *Config) check() error {
	if c.Collector == nil {
		return fmt.Errorf("otel: Config.Collector is nil; set it to the pipeline's collector")
	}
	if !c.Disabled && c.OTLP == nil &&
		(c.Traces == ExporterOTLP || slices.Contains(c.Metrics, ExporterOTLP)) {
		return errors.New("otel: an exporter is otlp and Config.OTLP is nil; " +
			"set it to otlp.Exporters{} of package telemetry/otel/otlp, or name other exporters")
	}
	return c.checkSettings()
}

// checkSettings checks everything that variables can set.
func (c *Config) checkSettings() error {
	oneOf := func(setting, value string, allowed ...string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("otel: %s is %q; use one of %q", setting, value, allowed)
	}
	for _, m := range c.Metrics {
		if err := oneOf("metrics exporter", m, ExporterPrometheus, ExporterOTLP, ExporterConsole,
			ExporterNone); err != nil {
			return err
		}
	}
	if err := oneOf("traces exporter", c.Traces, ExporterOTLP, ExporterConsole,
		ExporterNone); err != nil {
		return err
	}
	if err := oneOf("OTLP protocol for metrics", c.MetricsProtocol, ProtocolHTTP,
		ProtocolGRPC); err != nil {
		return err
	}
	if err := oneOf("OTLP protocol for traces", c.TracesProtocol, ProtocolHTTP,
		ProtocolGRPC); err != nil {
		return err
	}
	if err := oneOf("histograms", c.Histograms, HistogramsAuto, HistogramsClassic,
		HistogramsNative); err != nil {
		return err
	}
	switch {
	case c.Scale < -4 || c.Scale > 8:
		return fmt.Errorf("otel: histogram scale is %d; use -4 to 8, such as %d", c.Scale, DefaultScale)
	case c.TraceRatio < 0 || c.TraceRatio > 1:
		return fmt.Errorf("otel: trace ratio is %v; use 0 to 1, such as 0.0001", c.TraceRatio)
	case c.TracesPerSecond < 0:
		return fmt.Errorf("otel: %d traces per second; use a positive number, such as %d",
			c.TracesPerSecond, DefaultTracesPerSecond)
	case c.CollectEvery < 0 || c.CollectEvery > time.Minute:
		return fmt.Errorf("otel: collection interval is %v; use at most 1m, because blocks count "+
			"in 32 bits", c.CollectEvery)
	}
	return nil
}
