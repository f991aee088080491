package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe/internal/flight"
	"sluice/actors/node/observe/status"
	"sluice/telemetry"
	"sluice/telemetry/otel"
)

// Defaults of Config's zero fields, and constants for help texts.
const (
	DefaultAddress      = "127.0.0.1:9464" // usual Admin address; an empty one opens none
	DefaultDrainTimeout = 10 * time.Second

	FlightEvery = flight.DefaultEvery // at most one flight recording is saved in this time
	FlightKeep  = flight.DefaultKeep  // flight recordings that are kept
)

// Times of the end.
const (
	closeTimeout = 10 * time.Second // for Close by Serve
	adminTimeout = time.Second      // for requests, and for a flight recording, under way at the end
	endingWithin = time.Second      // for a node that shares the context of Serve to begin its end
)

// Config describes how a node is observed and operated. A zero field is off or takes its default.
type Config struct {
	Admin    string // host:port of the read-only HTTP endpoint; empty for none
	Insecure bool   // allow an Admin address that other machines can reach
	// TLS is the host:port of an HTTP endpoint with TLS, for clients with the token or with a certificate of an
	// authorized key. The token, and the certificate of an operator, may send commands too. SetAccess comes
	// before Open. Empty for none.
	TLS     string
	Socket  string // path of the unix-domain socket that also accepts commands; empty for none
	Metrics string // host:port that serves /metrics and nothing else, to any host; empty for none
	Pprof   bool   // serve profiles at /debug/pprof/ of all HTTP endpoints but Metrics
	// Handlers are more pages of these endpoints, by http.ServeMux pattern without a method.
	// They serve GET and HEAD only.
	Handlers map[string]http.Handler
	// DrainTimeout bounds a drain whose command names no deadline; default DefaultDrainTimeout.
	DrainTimeout time.Duration
	// Reload, if set, carries out POST /reload: it reads again what the program was configured with, and
	// returns what it did. It is called by any goroutine, and returns when ctx ends.
	Reload func(ctx context.Context) (done string, err error)

	// Export says which metrics and traces are exported; default Prometheus metrics at /metrics and
	// no traces. OTLP needs Export.OTLP, otlp.Exporters{} of telemetry/otel/otlp. Open sets
	// Collector, Clock and Boxes, and KindName, PolicyName and Log unless they are set.
	Export otel.Config
	Flight Flight
	Log    *slog.Logger // commands and their operators, and a wedged gate; default slog.Default
	Audit  *slog.Logger // commands, their operators and results, see auditfile; default nil: none

	headerTimeout time.Duration // for a request's header; default 5 s, tests shorten it
	settleFor     time.Duration // for the first request of a connection, at the end; tests lengthen it
}

// Flight configures Go's flight recorder, of which a process has one. GET /debug/flight returns
// what it remembers, for `go tool trace`.
type Flight struct {
	Dir  string        // directory of the saved recordings; empty for no flight recorder
	Slow time.Duration // save a recording if a response takes or waits longer; 0 for never
}

func (c Config) withDefaults() Config {
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.settleFor == 0 {
		c.settleFor = settleFor
	}
	if c.headerTimeout == 0 {
		c.headerTimeout = headerTimeout
	}
	if c.Export.Log == nil {
		c.Export.Log = c.Log
	}
	return c
}

// Serve observes and operates a node until it has ended or ctx ends, then closes everything within
// 10 seconds. If the end of ctx also ends the node (node.Wait), Serve goes on until the node has
// ended: the drain can be observed, and the last export holds everything. The error is that of the
// start, or says what the end left out.
func Serve(ctx context.Context, n node.Running, cfg Config) error {
	o, err := Open(n, cfg)
	if err != nil {
		return err
	}
	select {
	case <-n.Ended():
	case <-ctx.Done():
		if ending(n) {
			<-n.Ended()
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return o.Close(end)
}

// ending reports whether a node ends, or begins to within a second.
func ending(n node.Running) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(endingWithin)
	defer limit.Stop()
	for n.Ready() {
		select {
		case <-n.Ended():
			return true
		case <-tick.C:
		case <-limit.C:
			return false
		}
	}
	return true
}

// Observer is everything that observes one node. Its methods may be called from any goroutine.
type Observer struct {
	log     *slog.Logger
	node    node.Running
	address string
	gate    *gateWatch
	pulse   *status.Pulse
	stalls  *stallWatch
	export  *otel.Telemetry
	flight  *flight.Recorder // nil if it was not configured
	watcher *status.Watcher  // nil without an HTTP endpoint and a flight recorder
	admin   *admin
}

// Open binds the endpoints of a configuration and observes a node with it until Close. On an error
// nothing is left open. A program that wants to know that an address is taken before it opens its
// node calls Listen first.
func Open(n node.Running, cfg Config) (*Observer, error) {
	l, err := Listen(cfg)
	if err != nil {
		return nil, err
	}
	return l.Open(n)
}

// Open observes a node until Close of the Observer, which owns the endpoints from here on. On an
// error nothing is left open.
func (l *Listeners) Open(n node.Running) (o *Observer, err error) {
	o = &Observer{log: l.cfg.Log, node: n, address: l.Address(), pulse: new(status.Pulse)}
	defer func() {
		if err == nil {
			return
		}
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		err = errors.Join(err, o.Close(ctx))
		o = nil
	}()
	began := time.Now()
	n.Collector().Gauge(telemetry.AdminUnauthorized, telemetry.NoShard, "",
		func() float64 { return float64(l.access.denied.Load()) })
	o.gate = watchGate(n, l.cfg.Log)
	o.stalls = watchStalls(n, o.pulse, l.cfg.Log)
	exports := exportOf(n, l.cfg.Export)
	if o.export, err = otel.Start(context.Background(), exports); err != nil {
		return o, err
	}
	n.Sampler().Set(exports.Rules())
	if m, ok := n.(node.Clustered); ok {
		m.TraceVoters(exports.Rules().Exported)
	}
	if f := l.cfg.Flight; f.Dir != "" {
		recorder := flight.Config{Dir: f.Dir, Slow: f.Slow, Log: l.cfg.Log}
		if o.flight, err = flight.Start(recorder); err != nil {
			return o, err
		}
	}
	if l.tcp != nil || l.unix != nil || l.tls != nil || o.flight != nil {
		o.watcher = status.Watch(n, began, o.pulse, o.look)
	}
	a, err := newAdmin(l.cfg, n, began, o.pulse, o.pages(l.cfg.Handlers), o.front())
	if err != nil {
		return o, err
	}
	a.serve(l)
	o.admin = a
	return o, nil
}

// pages are the pages beside those of the admin, by pattern.
func (o *Observer) pages(more map[string]http.Handler) map[string]http.Handler {
	all := map[string]http.Handler{"/metrics": o.export.Handler()}
	if o.watcher != nil {
		for pattern, h := range (livePage{o.watcher}).handlers() {
			all[pattern] = h
		}
	}
	if o.flight != nil {
		all["/debug/flight"] = http.HandlerFunc(o.serveFlight)
	}
	for pattern, h := range more {
		all[pattern] = h
	}
	return all
}

// front is what stands before the status at /, nil without a live page.
func (o *Observer) front() func(http.Handler) http.Handler {
	if o.watcher == nil {
		return nil
	}
	return livePage{o.watcher}.front
}

// Address is the bound address of the Admin endpoint, empty if there is none.
func (o *Observer) Address() string { return o.address }

// Close ends the observation. If the node has ended, the last export holds everything that it
// measured, and the last scrape may still come, because the endpoints are closed after the export.
// Close returns within the deadline of ctx, or after about 6 seconds; what it had to leave out is
// its error. Call it once.
func (o *Observer) Close(ctx context.Context) error {
	var errs []error
	if o.gate != nil {
		o.gate.close()
		o.stalls.close()
	}
	if o.export != nil {
		o.node.Sampler().Set(telemetry.Rules{}) // traces have no consumer from here on
		if err := o.export.Shutdown(ctx); err != nil {
			errs = append(errs,
				fmt.Errorf("observe: not everything that was measured was exported: %w", err))
		}
	}
	if o.admin != nil {
		ctx, cancel := context.WithTimeout(ctx, adminTimeout)
		defer cancel()
		if err := o.admin.close(ctx); err != nil {
			o.log.Debug("admin requests were cut off", "error", err)
		}
	}
	if o.watcher != nil {
		o.watcher.Close()
	}
	if o.flight != nil {
		ctx, cancel := context.WithTimeout(ctx, adminTimeout)
		defer cancel()
		if err := o.flight.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("observe: %w", err))
		}
	}
	return errors.Join(errs...)
}

// look saves a flight recording if a response of the last second was slow, or one has waited for
// long.
func (o *Observer) look(p status.Point) {
	if o.flight == nil {
		return
	}
	if p.Whole != nil {
		o.flight.Look("answer", time.Duration(p.Whole.Max))
	}
	o.flight.Look("gate", time.Duration(p.Oldest*float64(time.Second)))
}

// serveFlight returns what the flight recorder remembers.
func (o *Observer) serveFlight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="flight.trace"`)
	w.Header().Set("Cache-Control", "no-store")
	if n, err := o.flight.WriteTo(w); err != nil && n == 0 { // after the first byte the client is gone
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
