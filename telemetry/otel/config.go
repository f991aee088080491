package otel

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

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
	HistogramsAuto    = "auto"    // native for who accepts protobuf, classic for who reads text
	HistogramsClassic = "classic" // explicit buckets for everybody
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
	drainEvery             = 25 * time.Millisecond // between two looks into the trace boxes
	anchorEvery            = time.Second           // between two looks at the wall clock
	spanQueue              = 4096                  // spans in the batch processor, unless OTEL_BSP_MAX_QUEUE_SIZE says
)

// Config says what is exported and where to. FromEnv completes it from the OTEL_*
// variables; a program's flags are applied after that, so that they win.
type Config struct {
	Collector *telemetry.Collector  // what is exported; required
	Clock     telemetry.Clock       // the clock of all stamps; required
	Boxes     []*telemetry.TraceBox // where sampled responses arrive, one box for each producer

	Disabled    bool     // export nothing at all; the pipeline measures as ever
	Metrics     []string // exporters: prometheus, otlp, console, none; default prometheus
	Traces      string   // exporter: otlp, console, none; default none
	NoExemplars bool     // links from histogram buckets to traces are left out

	MetricsProtocol string // of OTLP: http/protobuf (default) or grpc
	TracesProtocol  string
	Histograms      string        // what /metrics shows: auto (default), classic or native
	Scale           int32         // of exponential histograms, -4 to 8
	SLO             time.Duration // responses that take as long or longer violate it; rounded up to a histogram bound, at most 3 %

	TraceRatio      float64       // of all responses, picked by wire seq, the same on every node; 0 = none
	TraceSlow       time.Duration // trace the slowest response of a flush when it took longer; negative = never
	TracesPerSecond int           // at most; ten times as many with a sampled parent or for an operator

	ServiceName, ServiceVersion string // resource attributes; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	InstanceID, ClusterID       string // ClusterID is also part of trace ids
	NodeRole                    string // only if it never changes

	KindName   func(kind uint8) string   // name of a slot kind in traces; default its number
	PolicyName func(policy uint8) string // name of a durability policy in traces; default its number

	ExportEvery     time.Duration // to OTLP and the console, unless OTEL_METRIC_EXPORT_INTERVAL says
	CollectEvery    time.Duration // blocks are emptied at least so often, whoever reads; at most a minute
	ShutdownTimeout time.Duration // bounds Shutdown when its context has no earlier deadline

	AdminAddr string       // where OTEL_EXPORTER_PROMETHEUS_HOST and _PORT want /metrics; for whoever mounts Handler
	Console   io.Writer    // of the console exporters; default standard output
	Log       *slog.Logger // errors, at most one a second; default slog.Default()
}

// Rules returns the sampling rules that the configuration asks for, for the pipeline's
// telemetry.Sampler: none if nobody would export the traces.
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

// check names the first setting that cannot work and says what would.
func (c *Config) check() error {
	if c.Collector == nil {
		return fmt.Errorf("otel: Config.Collector is nil; give the collector of the pipeline")
	}
	return c.checkSettings()
}

// checkSettings is check without what variables cannot say.
func (c *Config) checkSettings() error {
	oneOf := func(setting, value string, allowed ...string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("otel: %s is %q; use one of %q", setting, value, allowed)
	}
	for _, m := range c.Metrics {
		if err := oneOf("metrics exporter", m, ExporterPrometheus, ExporterOTLP, ExporterConsole, ExporterNone); err != nil {
			return err
		}
	}
	if err := oneOf("traces exporter", c.Traces, ExporterOTLP, ExporterConsole, ExporterNone); err != nil {
		return err
	}
	if err := oneOf("OTLP protocol for metrics", c.MetricsProtocol, ProtocolHTTP, ProtocolGRPC); err != nil {
		return err
	}
	if err := oneOf("OTLP protocol for traces", c.TracesProtocol, ProtocolHTTP, ProtocolGRPC); err != nil {
		return err
	}
	if err := oneOf("histograms", c.Histograms, HistogramsAuto, HistogramsClassic, HistogramsNative); err != nil {
		return err
	}
	switch {
	case c.Scale < -4 || c.Scale > 8:
		return fmt.Errorf("otel: histogram scale is %d; use -4 to 8, such as %d", c.Scale, DefaultScale)
	case c.TraceRatio < 0 || c.TraceRatio > 1:
		return fmt.Errorf("otel: trace ratio is %v; use 0 to 1, such as 0.0001", c.TraceRatio)
	case c.TracesPerSecond < 0:
		return fmt.Errorf("otel: %d traces per second; use a positive number, such as %d", c.TracesPerSecond, DefaultTracesPerSecond)
	case c.CollectEvery < 0 || c.CollectEvery > time.Minute:
		return fmt.Errorf("otel: collecting every %v; use up to 1m, blocks count in 32 bits", c.CollectEvery)
	}
	return nil
}
