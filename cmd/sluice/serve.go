//go:build linux

package main

import (
	"os/signal"
	"syscall"
	"time"

	"sluice"
	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/listen"
)

const serveHead = `usage: sluice serve [flags]

Runs the server in the foreground until SIGTERM or SIGINT.

  SIGTERM, SIGINT   drain: stop accepting, send all responses, end; a second one stops at once
  SIGUSR1           print all measurements to standard error
  SIGHUP            read the authorized keys again, and the settings below that are marked with
                    SIGHUP; sluice admin reload does the same, and waits for the results

Exit codes: 0 drained, 1 failed or stopped with responses unsent, 64 usage error.
Every flag --some-name can also be SLUICE_SOME_NAME in the environment or some-name in the file.
Sizes are written 512B, 64KiB, 1MiB, times 250ms, 10s, 1m.`

// serve is `sluice serve`.
func serve(e *env, args []string) (result error) {
	signals := catch() // first: a signal that is not caught ends the process
	defer signals.release()
	c := config.DefaultServer()
	set := c.Set()
	rest, done, err := load(e, set, args, serveHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "serve"); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may end before the server
	s := &service{env: e, args: args, cfg: c, set: set, console: newConsole(e, c), began: time.Now(),
		signals: signals, budget: c.ShardBudget}
	s.reloads = newReloads(s)
	logStart(s.log, c.IO)
	s.limitMemory("/")
	limit, err := s.raiseFiles()
	if err != nil {
		return err
	}
	if err := s.openTrail(); err != nil {
		return err
	}
	defer func() { s.closeTrail(result) }()
	p, err := s.prepare()
	if err != nil {
		return err
	}
	s.recordStart()
	if err := s.open(p); err != nil {
		return err
	}
	for _, open := range c.Exposed() {
		s.log.Warn("open endpoint", "endpoint", open)
	}
	signals.serving()
	s.announce(limit)
	s.manager = newNotifier(e.environ)
	s.manager.tell("READY=1")
	s.manager.watch(s)
	return s.supervise()
}

// service is a running server with its signals. args, cfg and set are what the server was told, server
// to manager are what runs, and the rest are the moments of its life.
type service struct {
	*env
	*console
	args      []string // flags, to be read again on SIGHUP
	cfg       *config.Server
	budget    int64 // of send buffers of a shard: that of cfg, or less under a memory limit
	began     time.Time
	signals   *signals
	server    node.Running
	set       *config.Set // origins of cfg
	observer  observation
	listeners *observe.Listeners // of the admin
	manager   *notifier
	reloads   *reloads
	trail     trail
	addresses []string
	until     time.Time // deadline set by a signal; zero before the first one
}

// nodeConfig translates the settings.
func (s *service) nodeConfig() (sc node.Config[orderbook.Report, orderbook.Answer], err error) {
	c := s.cfg
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		return sc, err
	}
	sc = node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{},
		DataDir: c.DataDir, DataDirMustExist: c.DataDirExists, KeysFile: c.Keys, Policy: c.Policy, ForcePolicy: c.ForcePolicy, Log: s.log,
		Audit:          s.trail.logger(),
		SnapshotEvents: uint64(c.SnapshotEvents), SnapshotBytes: c.SnapshotBytes,
		Journal: node.Journal{SegmentBytes: c.SegmentBytes},
	}
	sc.Listen.Endpoints, sc.TLS = s.endpoints(), c.Files
	sc.Listen.RequestRate, sc.Listen.ConnectRate = c.Rates()
	sc.Listen.Announce.Name = "sluice " + sluice.Version
	need := s.descriptors()
	sc.Listen.Spare = need.programSpare()
	sc.EndpointLimits = c.ByListener()
	p := &sc.Pipeline
	p.Egress.DrainSpread = c.DrainSpread
	p.Shards, p.Placement, p.Idle, p.IO, p.RingEntries = c.Shards, c.Placement, c.Idle, c.IO, c.RingEntries
	p.MaxFrame, p.MaxConnections, p.Heartbeat = c.FrameMax, c.MaxConnections, c.Heartbeat
	p.Topics = c.Topics.Pipeline()
	p.Limits, p.ShardBudget = []transport.Limits{c.Limits}, s.budget
	return sc, nil
}

// endpoints are the addresses for clients.
func (s *service) endpoints() (all []listen.Endpoint) {
	c := s.cfg
	for _, a := range c.TCP {
		all = append(all,
			listen.Endpoint{Network: "tcp", Address: a, Name: a, Open: c.Keys == "",
				ForceOpen: c.Insecure})
	}
	for _, a := range c.TLSListen {
		all = append(all,
			listen.Endpoint{Network: "tcp", Address: a, Name: a, Open: c.Keys == "",
				ForceOpen: c.Insecure, TLS: true})
	}
	for _, a := range c.Unix {
		all = append(all,
			listen.Endpoint{Network: "unix", Address: a, Name: a, Open: c.Keys == ""})
	}
	return all
}
