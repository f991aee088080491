package otel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
)

// Telemetry exports until Shutdown. Any goroutine may call its methods.
type Telemetry struct {
	config Config
	src    *source
	pull   http.Handler
	push   *metric.MeterProvider // nil: no exporter pushes
	traces *drainer              // nil: no traces

	cancelExports context.CancelFunc // cancels running exports
	stop          chan struct{}      // closed to end the collecting goroutine
	wg            sync.WaitGroup
	ending        sync.Once
	ended         error // result of the first Shutdown
}

// Start starts to export. It returns an error for invalid settings, but not if a collector does not
// answer: collectors may come and go. It sets the error handler and the logger of the OpenTelemetry
// SDK, which are global to the process. The context bounds the start only.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	c.defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	exportCtx, cancelExports := context.WithCancel(context.Background())
	t := &Telemetry{config: c, cancelExports: cancelExports, stop: make(chan struct{}),
		pull: http.HandlerFunc(notExported)}
	t.src = newSource(&c)
	if c.Disabled {
		return t, nil
	}
	res, err := newResource(ctx, &c)
	if err != nil {
		cancelExports()
		return nil, err
	}
	otel.SetErrorHandler(&sdkErrorHandler{log: c.Log, count: &t.src.self.sdkErrors})
	otel.SetLogger(logr.FromSlogHandler(c.Log.Handler())) // otherwise the SDK writes to standard error
	for _, m := range c.Metrics {
		if m == ExporterPrometheus {
			t.pull, err = newScrapeHandler(t.src, &c, res)
		}
	}
	if err == nil {
		t.push, err = newPush(ctx, exportCtx, t.src, &c, res)
	}
	if err == nil {
		t.traces, err = newDrainer(ctx, exportCtx, &c, t.src, res)
	}
	if err != nil {
		cancelExports()
		if t.push != nil {
			err = errors.Join(err, t.push.Shutdown(exportCtx))
		}
		return nil, err
	}
	if t.traces != nil {
		t.wg.Go(t.traces.run)
	}
	t.wg.Go(t.collect)
	return t, nil
}

func newSource(c *Config) *source {
	s := &source{
		collector: c.Collector, now: c.Clock.Now, start: time.Now(), slo: sloBound(c.SLO),
		scope: instrumentation.Scope{Name: scopeName, Version: c.ServiceVersion,
			SchemaURL: semconv.SchemaURL},
		self: &selfCounts{},
	}
	if c.Traces != ExporterNone && !c.Disabled { // otherwise the boxes are not emptied, and a full box is no loss
		s.self.boxes = c.Boxes
	}
	if !c.NoExemplars && c.Traces != ExporterNone {
		s.exemplars = newExemplars()
	}
	return s
}

// notExported serves /metrics if Prometheus is not an exporter.
func notExported(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "metrics are not exported to Prometheus: OTEL_METRICS_EXPORTER does not name "+
		"prometheus, or OTEL_SDK_DISABLED is true", http.StatusNotFound)
}

// Handler serves /metrics. It works until the process ends, so the HTTP server can be closed last and
// the last scrape sees everything.
func (t *Telemetry) Handler() http.Handler { return t.pull }

// collect empties the blocks if no reader does.
func (t *Telemetry) collect() {
	tick := time.NewTicker(t.config.CollectEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.config.Collector.Collect(t.config.CollectEvery / 2)
		}
	}
}

// Flush exports the metrics and traces recorded so far. It returns when they are exported or ctx ends.
// Numbers of running actors that do not answer in time arrive with a later export.
func (t *Telemetry) Flush(ctx context.Context) error {
	var errs []error
	if t.traces != nil {
		errs = append(errs, t.traces.flush(ctx))
	}
	t.config.Collector.Final()
	if t.push != nil {
		errs = append(errs, t.push.ForceFlush(ctx))
	}
	return errors.Join(errs...)
}

// Shutdown exports the rest and ends every goroutine of t. Call it after all actors have parked for
// good: then the last export contains every sample. It is bounded by Config.ShutdownTimeout and ctx; at
// most half of that time is for traces. If a collector does not answer in time, its data is lost and
// Shutdown returns an error. Handler continues to work. Later calls return the result of the first.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.ending.Do(func() { t.ended = t.shutdown(ctx) })
	return t.ended
}

func (t *Telemetry) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.config.ShutdownTimeout)
	defer cancel()
	close(t.stop)
	var errs []error
	if t.traces != nil {
		half, cancel := context.WithTimeout(ctx, remaining(ctx)/2)
		errs = append(errs, wrap("last traces", t.traces.end(half)))
		cancel()
	}
	t.config.Collector.Final()
	if t.push != nil {
		errs = append(errs, wrap("last metrics", t.push.Shutdown(ctx)))
	}
	t.cancelExports()
	if t.traces != nil {
		t.traces.release()
	}
	t.wg.Wait()
	return errors.Join(errs...)
}

func remaining(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("otel: %s: %w", what, err)
	}
	return nil
}

// sdkErrorHandler is the SDK's error handler. It counts all errors and logs at most one a second.
type sdkErrorHandler struct {
	log   *slog.Logger
	count *atomic.Uint64
	last  atomic.Int64 // unix second of the last log line; written and read by any goroutine of the SDK
}

// Handle counts an error.
func (c *sdkErrorHandler) Handle(err error) {
	n := c.count.Add(1)
	if now := time.Now().Unix(); c.last.Swap(now) != now {
		c.log.Warn("telemetry export failed", "error", err, "errors", n)
	}
}

// slogPrinter is the logger of the scrape handler.
type slogPrinter struct{ log *slog.Logger }

// Println logs a line.
func (p slogPrinter) Println(v ...any) {
	p.log.Warn("telemetry scrape failed", "error", fmt.Sprint(v...))
}
