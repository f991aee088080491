//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/telemetry/otel"
	"sluice/transport"
	"sluice/transport/listen"
)

const serveHead = `usage: sluice serve [flags]

Runs the server in the foreground until SIGTERM or SIGINT.

  SIGTERM, SIGINT   drain: stop accepting, send all responses, end; a second one stops at once
  SIGUSR1           print all measurements to standard error
  SIGHUP            read the authorized keys again, and the settings below that are marked with SIGHUP

Exit codes: 0 drained, 1 failed or stopped with responses unsent, 64 usage error.
Every flag --some-name can also be SLUICE_SOME_NAME in the environment or some-name in the file.
Sizes are written 512B, 64KiB, 1MiB, times 250ms, 10s, 1m.`

// serve is `sluice serve`.
func serve(e *env, args []string) error {
	c := config.DefaultServer()
	set := c.Set()
	rest, done, err := load(e, set, args, serveHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "serve"); err != nil {
		return err
	}
	if err := checkConfiguration(c, set); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may end before the server
	s := &service{env: e, args: args, cfg: c, set: set, log: newLog(c, e.stderr), began: time.Now(),
		signals: make(chan os.Signal, 8)}
	signal.Notify(s.signals, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(s.signals)
	logStart(s.log, c.IO)
	limit := raiseFiles(s.log, c.MaxConnections)
	observed, err := s.observeConfig()
	if err != nil {
		return err
	}
	endpoints, err := observe.Listen(observed) // before any client is accepted: an address may be taken
	if err != nil {
		return fmt.Errorf("%w (flags --admin-address, --admin-socket)", err)
	}
	if err := s.open(); err != nil {
		endpoints.Close()
		return err
	}
	// Not earlier: before this point a signal must end the process at once, even during a long
	// recovery.
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT)
	if s.observer, err = endpoints.Open(s.server); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopFor)
		defer cancel()
		return errors.Join(err, s.server.Stop(ctx))
	}
	s.announce(limit)
	s.manager = newNotifier(e.environ)
	s.manager.tell("READY=1")
	s.manager.watch(s)
	defer s.manager.close()
	defer s.unobserve()
	return s.supervise()
}

// checkConfiguration rejects settings and OTEL_* variables that cannot work, before anything is
// opened.
func checkConfiguration(c *config.Server, set *config.Set) error {
	e, err := otel.FromEnv(otel.Config{})
	if err != nil {
		return config.Usagef("the environment: %v", err)
	}
	whole := *c
	whole.Admin = adminAddress(c, set, e.AdminAddr)
	return whole.Validate()
}

// adminAddress returns the admin address: the flag if it is set, else the variable if it is set,
// else the default.
func adminAddress(c *config.Server, set *config.Set, variable string) string {
	if set.Origin("admin-address") == "default" && variable != "" {
		return variable
	}
	return c.Admin
}

func newLog(c *config.Server, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// sameSignal is the time in which a second SIGTERM counts as the same one: ctrl-C under make, or
// timeout(1), sends two.
const sameSignal = 500 * time.Millisecond

// stopFor is the limit of a stop without a drain.
const stopFor = time.Second

// service is a running server with its signals.
type service struct {
	*env
	args      []string // flags, to be read again on SIGHUP
	cfg       *config.Server
	log       *slog.Logger
	began     time.Time
	signals   chan os.Signal
	server    node.Running
	set       *config.Set // origins of cfg
	observer  *observe.Observer
	manager   *notifier
	addresses []string
	until     time.Time // deadline set by a signal; zero before the first one
}

// open opens the node.
func (s *service) open() error {
	c, err := s.nodeConfig()
	if err != nil {
		return err
	}
	n, err := node.Open(context.Background(), c)
	if err != nil {
		return err
	}
	s.server, s.addresses = n, n.Addresses()
	return nil
}

// nodeConfig translates the settings.
func (s *service) nodeConfig() (sc node.Config[orderbook.Report, orderbook.Answer], err error) {
	c := s.cfg
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return sc, err
	}
	sc = node.Config[orderbook.Report, orderbook.Answer]{
		Application: book, Encoder: orderbook.Encoder{},
		DataDir: c.DataDir, KeysFile: c.Keys, Policy: c.Policy, ForcePolicy: c.ForcePolicy, Log: s.log,
		SnapshotEvents: uint64(c.SnapshotEvents), SnapshotBytes: c.SnapshotBytes,
		Journal: node.Journal{SegmentBytes: c.SegmentBytes},
	}
	for _, a := range c.TCP {
		sc.Listen.Endpoints = append(sc.Listen.Endpoints,
			listen.Endpoint{Network: "tcp", Address: a, Name: a, Open: c.Keys == "",
				ForceOpen: c.Insecure})
	}
	for _, a := range c.Unix {
		sc.Listen.Endpoints = append(sc.Listen.Endpoints,
			listen.Endpoint{Network: "unix", Address: a, Name: a, Open: c.Keys == ""})
	}
	sc.Listen.RequestRate, sc.Listen.ConnectRate = c.Rates()
	sc.EndpointLimits = c.ByListener()
	p := &sc.Pipeline
	p.Egress.DrainSpread = c.DrainSpread
	p.Shards, p.Placement, p.Idle, p.IO, p.RingEntries = c.Shards, c.Placement, c.Idle, c.IO, c.RingEntries
	p.MaxFrame, p.MaxConnections, p.Heartbeat = c.FrameMax, c.MaxConnections, c.Heartbeat
	p.Limits, p.ShardBudget = []transport.Limits{c.Limits}, c.ShardBudget
	return sc, nil
}

// supervise handles signals until the server has ended.
func (s *service) supervise() error {
	for {
		select {
		case <-s.server.Ended():
			s.lastReport()
			return s.server.Err()
		case got := <-s.signals:
			switch got {
			case syscall.SIGUSR1:
				s.report()
			case syscall.SIGHUP:
				s.reload()
			default:
				return s.drain(got)
			}
		}
	}
}

// drain drains the server within the deadline. The next SIGTERM or SIGINT stops it.
func (s *service) drain(got os.Signal) error {
	s.manager.tell("STOPPING=1")
	began := time.Now()
	s.until = began.Add(s.cfg.DrainFor)
	ctx, cancel := context.WithDeadline(context.Background(), s.until)
	defer cancel()
	fmt.Fprintf(s.stderr,
		"sluice: %v: draining for at most %s; the same signal again stops at once\n", got,
		config.FormatDuration(s.cfg.DrainFor))
	ended := make(chan error, 2)
	go func() { ended <- s.server.Drain(ctx) }()
	progress := time.NewTicker(time.Second)
	defer progress.Stop()
	stopping, counted := false, began
	for {
		select {
		case err := <-ended:
			s.lastReport()
			if err != nil {
				return fmt.Errorf("stopped after %s with responses unsent: %w", since(began), err)
			}
			fmt.Fprintf(s.stderr, "sluice: drained in %s\n", since(began))
			return nil
		case <-progress.C:
			fmt.Fprintf(s.stderr, "sluice: still draining after %s; %d clients connected\n",
				since(began), s.server.Connections())
		case got := <-s.signals:
			switch {
			case got == syscall.SIGUSR1:
				s.report()
			case got == syscall.SIGHUP: // ignored during a drain
			case time.Since(counted) < sameSignal: // an echo
			case stopping:
				return fmt.Errorf("%v for the third time; ended without waiting for the disk", got)
			default:
				stopping, counted = true, time.Now()
				s.until = time.Now().Add(stopFor)
				fmt.Fprintf(s.stderr, "sluice: %v again: stopping now\n", got)
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), stopFor)
					defer cancel()
					_ = s.server.Stop(ctx) // Drain returns the same error
				}()
			}
		}
	}
}

// lastReport reports the final measurements of a server that has ended. It does not wait for a disk
// that hangs.
func (s *service) lastReport() {
	s.server.Collector().Final()
	reported := make(chan struct{})
	go func() {
		s.report()
		close(reported)
	}()
	select {
	case <-reported:
	case <-time.After(stopFor):
		s.log.Warn("measurements not written in time", "file", s.cfg.StatsFile)
	}
}

// report prints the measurements and writes them to --stats-file.
func (s *service) report() {
	_ = s.server.WriteStats(s.stderr) // an error means that standard error is closed; the file does not depend on it
	if s.cfg.StatsFile == "" {
		return
	}
	if err := status.Measure(s.server).WriteFile(s.cfg.StatsFile); err != nil {
		s.log.Error("measurements not written", "error", err)
	}
}

// reload applies the settings that may change while the server runs.
func (s *service) reload() {
	fresh, fixed, err := s.cfg.Reload(s.args, s.environ)
	if err == nil {
		changes := node.Changes{Limits: fresh.Limits, EndpointLimits: fresh.ByListener()}
		changes.RequestRate, changes.ConnectRate = fresh.Rates()
		err = s.server.Reload(changes)
	}
	if err != nil {
		s.log.Error("reload rejected; configuration unchanged", "error", err)
		return
	}
	spread := s.cfg.DrainSpread
	s.cfg.Limits, s.cfg.Endpoints = fresh.Limits, fresh.Endpoints
	s.cfg.DrainSpread = spread // a change needs a restart
	l := fresh.Limits
	s.log.Info("limits reloaded",
		"hard", config.FormatSize(uint64(l.HardBytes)), "soft", config.FormatSize(uint64(l.SoftBytes)),
		"soft_for", l.SoftFor, "no_progress", l.NoProgress,
		"listeners", fresh.ListenerLimits, "request_rate", fresh.RequestRate,
		"connect_rate", fresh.ConnectRate)
	if len(fixed) > 0 {
		s.log.Warn("changed settings need a restart", "settings", fixed)
	}
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
