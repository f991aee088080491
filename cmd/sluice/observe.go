//go:build linux

package main

import (
	"context"
	"net/http"
	"time"

	"sluice"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/telemetry/otel"
	"sluice/telemetry/otel/otlp"
)

// lastExport is the time for the last export of a server that has no time left.
const lastExport = 250 * time.Millisecond

// observation is what observes a server: an *observe.Observer, or those of a member's periods.
type observation interface {
	Address() string
	Close(ctx context.Context) error
}

// observeConfig translates the settings. Flags that are set take precedence over OTEL_* variables,
// which take precedence over the defaults of flags.
func (s *service) observeConfig() (observe.Config, error) {
	c := s.cfg
	e, err := otel.FromEnv(otel.Config{
		OTLP:       otlp.Exporters{},
		Histograms: c.Histograms, TraceRatio: c.Ratio(), TraceSlow: c.TraceSlow,
		TracesPerSecond: c.TracesPerSec, Log: s.log, Console: s.out,
		ServiceVersion: sluice.ReadBuild().String(),
	})
	if err != nil {
		return observe.Config{}, config.Usagef("the environment: %v", err)
	}
	if s.set.Origin("trace-ratio") != "default" {
		e.TraceRatio = c.Ratio()
	}
	o := observe.Config{
		Admin: adminAddress(c, s.set,
			e.AdminAddr), Insecure: c.AdminInsecure, TLS: c.AdminTLS, Socket: c.AdminSocket, Metrics: c.Metrics, Pprof: c.Pprof,
		DrainTimeout: c.DrainFor, Export: e, Log: s.log, Audit: s.trail.logger(),
		Handlers: map[string]http.Handler{"/docs/": documentation()},
	}
	if s.reloads != nil { // not for a check
		o.Reload = s.reloads.ask
	}
	if c.Flight {
		o.Flight = observe.Flight{Dir: c.FlightDir(), Slow: c.FlightSlow}
	}
	return o, nil
}

// unobserve ends the observation of a server that has ended, within the time left until s.until.
func (s *service) unobserve() {
	ctx, cancel := s.remaining(time.Now())
	defer cancel()
	if err := s.observer.Close(ctx); err != nil {
		s.log.Warn("observation ended incompletely", "error", err)
	}
}

// remaining returns a context that ends at s.until, but not before lastExport from now.
func (s *service) remaining(now time.Time) (context.Context, context.CancelFunc) {
	if s.until.IsZero() {
		return context.WithCancel(context.Background())
	}
	least := now.Add(lastExport)
	if s.until.After(least) {
		least = s.until
	}
	return context.WithDeadline(context.Background(), least)
}
