package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sluice/actors"
	"sluice/actors/node/observe"
	"sluice/actors/node/observe/flight"
	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/config"
	"sluice/telemetry/otel"
)

// observers is everything that looks at the running server. What was not asked for is nil.
type observers struct {
	gate   *gateWatch
	export *otel.Telemetry
	flight *flight.Recorder
	live   *status.Live
	admin  *observe.Admin
	at     string // address of the admin pages; empty if there is none
}

const (
	adminCloses = time.Second            // for requests, and for a recording, under way at the end
	lastWords   = 250 * time.Millisecond // for the last export of a server that has no time left
)

// observe starts the observers of a server that runs. On an error those that were started are closed.
func (s *service) observe() (err error) {
	o := &s.observers
	defer func() {
		if err != nil {
			s.unobserve()
		}
	}()
	c := s.cfg
	o.gate = s.watchGate()
	exports, err := s.exports()
	if err != nil {
		return err
	}
	if o.export, err = otel.Start(context.Background(), exports); err != nil {
		return err
	}
	s.server.Sampler().Set(exports.Rules())
	if c.Flight {
		if o.flight, err = flight.Start(flight.Config{Dir: c.FlightDir(), Slow: c.FlightSlow, Log: s.log}); err != nil {
			return err
		}
	}
	if c.Admin == "" && c.AdminSocket == "" && o.flight == nil {
		return nil
	}
	o.live = status.Start(s.server, o.look)
	handlers := o.live.Handlers()
	maps.Copy(handlers, map[string]http.Handler{"/metrics": o.export.Handler()})
	if o.flight != nil {
		handlers["/debug/flight"] = http.HandlerFunc(o.serveFlight)
	}
	if o.admin, err = observe.New(observe.Config{
		Address: adminAddress(c, s.set, exports.AdminAddr), Force: c.AdminInsecure, Socket: c.AdminSocket, Pprof: c.Pprof, Deadline: c.DrainFor,
		Handlers: handlers, Front: o.live.Front, Log: s.log,
	}, s.server); err != nil {
		return err
	}
	if o.at, err = o.admin.Start(); err != nil {
		o.admin = nil // no door is open
	}
	return err
}

// exports says what is exported: flags that were given win over OTEL_* variables, which win over the flags' defaults.
func (s *service) exports() (otel.Config, error) {
	c, p := s.cfg, s.server
	e, err := otel.FromEnv(otel.Config{
		Collector: p.Collector(), Clock: s.clock, Boxes: p.Traces(), Histograms: c.Histograms, TraceRatio: c.Ratio(), TraceSlow: c.TraceSlow,
		TracesPerSecond: c.TracesPerSec, KindName: kindName, PolicyName: s.policyName, InstanceID: instance(c.DataDir), ClusterID: instance(c.DataDir),
		Log: s.log,
	})
	if err != nil {
		return e, config.Usagef("the environment: %v", err)
	}
	if s.set.Origin("trace-ratio") != "default" {
		e.TraceRatio = c.Ratio()
	}
	return e, nil
}

// instance names a server: its data directory on its host, which one server has at a time, and the same after a restart. A
// server without replicas is a cluster by itself, so it tells its traces from those of other servers, too.
func instance(dir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	return host + ":" + dir
}

// policyName names the policy in force in traces. They are made some milliseconds after their answers left, so an answer of
// the moment of a swap can be told the policy after it.
func (s *service) policyName(uint8) string {
	p := s.server.Policy().Current()
	if p.Name() != "" {
		return p.Name()
	}
	return p.String()
}

// kindName names a slot's kind in traces.
func kindName(kind uint8) string {
	switch actors.Kind(kind) {
	case actors.KindReport:
		return "report"
	case actors.KindQuery:
		return "query"
	case actors.KindEngineError:
		return "engine_error"
	case actors.KindBatchEnd:
		return "batch_end"
	}
	return fmt.Sprint(kind)
}

// look has the flight recording kept when answers were slow, or one waits and will be.
func (o *observers) look(p status.Point) {
	if o.flight == nil {
		return
	}
	if p.Whole != nil {
		o.flight.Look("answer", time.Duration(p.Whole.Max))
	}
	o.flight.Look("gate", time.Duration(p.Oldest*float64(time.Second)))
}

// serveFlight gives what the flight recorder remembers at this moment.
func (o *observers) serveFlight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="flight.trace"`)
	w.Header().Set("Cache-Control", "no-store")
	if n, err := o.flight.WriteTo(w); err != nil && n == 0 { // else nobody is left to hear of it
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// unobserve ends the observers of a server that has ended: the last export holds everything its actors measured. Whatever
// hangs, it is bounded by what is left until s.until, and by otel's ShutdownTimeout and adminCloses.
func (s *service) unobserve() {
	o := &s.observers
	ctx, cancel := s.remaining(time.Now())
	defer cancel()
	if o.gate != nil {
		o.gate.close()
	}
	if o.export != nil {
		if err := o.export.Shutdown(ctx); err != nil {
			s.log.Warn("not everything that was measured was exported", "error", err)
		}
	}
	if o.admin != nil { // after the export, so that the last scrape may see everything
		ctx, cancel := context.WithTimeout(ctx, adminCloses)
		defer cancel()
		if err := o.admin.Close(ctx); err != nil {
			s.log.Debug("closing the admin pages", "error", err)
		}
	}
	if o.live != nil {
		o.live.Close()
	}
	if o.flight != nil {
		ctx, cancel := context.WithTimeout(ctx, adminCloses)
		defer cancel()
		if err := o.flight.Close(ctx); err != nil {
			s.log.Warn("the flight recorder's end", "error", err)
		}
	}
}

// remaining ends when the process is to have ended, lastWords from now at the earliest.
func (s *service) remaining(now time.Time) (context.Context, context.CancelFunc) {
	if s.until.IsZero() {
		return context.WithCancel(context.Background())
	}
	least := now.Add(lastWords)
	if s.until.After(least) {
		least = s.until
	}
	return context.WithDeadline(context.Background(), least)
}
