//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/telemetry/otel"
	"sluice/transport/listen"
)

// prepared is a server whose settings are valid, and whose addresses are bound.
type prepared struct {
	endpoints *observe.Listeners
	node      opener
}

// opener is a server that can be opened: of a single node, or of a member of a cluster.
type opener interface {
	open(ctx context.Context) (node.Running, error)
	Close() error
}

// single is the opener of a single node.
type single struct {
	*node.Prepared[orderbook.Report, orderbook.Answer]
}

func (s single) open(ctx context.Context) (node.Running, error) { return s.Open(ctx) }

// judge checks settings and variables. It opens nothing.
func (s *service) judge() (observe.Config, error) {
	if err := checkVariables(s.environ); err != nil {
		return observe.Config{}, err
	}
	observed, err := s.observeConfig()
	if err != nil {
		return observed, err
	}
	whole := *s.cfg
	whole.Admin = observed.Admin
	return observed, whole.Validate()
}

// prepare judges everything that the server is told and opens what can be opened before the data
// directory, for `sluice serve` and for `sluice config check`. An error is a *config.UsageError if a
// restart cannot mend it.
func (s *service) prepare() (*prepared, error) {
	observed, err := s.judge()
	if err != nil {
		return nil, err
	}
	if err := s.checkKeys(); err != nil {
		return nil, err
	}
	if err := s.checkStatsFile(); err != nil {
		return nil, err
	}
	if err := s.checkTrail(); err != nil {
		return nil, fmt.Errorf("--audit-file: %w", err)
	}
	if err := s.checkFlightDir(); err != nil {
		return nil, err
	}
	if err := s.checkMember(); err != nil {
		return nil, err
	}
	if err := s.checkDataDir(); err != nil {
		return nil, err
	}
	if _, err := probe(s.cfg.IO); err != nil {
		return nil, err
	}
	nc, err := s.nodeConfig()
	if err != nil {
		return nil, err
	}
	p := new(prepared)
	if p.endpoints, err = observe.Listen(observed); err != nil {
		return nil, judged(fmt.Errorf("%w (flags --admin-address, --admin-socket)", err))
	}
	s.listeners = p.endpoints
	if _, err = s.reloadAccess(); err != nil {
		p.endpoints.Close()
		return nil, judged(err)
	}
	if s.cfg.Member {
		p.node, err = s.prepareMember(nc, p.endpoints)
	} else {
		p.node, err = s.prepareSingle(nc, p.endpoints)
	}
	if err != nil {
		p.endpoints.Close()
		return nil, judged(err)
	}
	return p, nil
}

// prepareSingle prepares a single node. Its observer owns the endpoints.
func (s *service) prepareSingle(nc node.Config[orderbook.Report, orderbook.Answer],
	endpoints *observe.Listeners) (opener, error) {
	nc.BeforeClients = func(n node.Running) (err error) {
		s.server = n
		s.observer, err = endpoints.Open(n)
		s.console.measure(n.Collector())
		s.trail.measure(n.Collector())
		return err
	}
	p, err := node.Prepare(nc)
	return single{p}, err
}

// close releases the addresses.
func (p *prepared) close() error {
	p.endpoints.Close()
	return p.node.Close()
}

// judged makes an error of a configuration a *config.UsageError. What is about the state of the
// machine, such as an address in use, stays as it is: a restart may help.
func judged(err error) error {
	if listen.Unavailable(err) {
		return err
	}
	return config.Usagef("%v", err)
}

// checkKeys reads the keys, so that a missing file is a mistake in the configuration. The node reads
// them again.
func (s *service) checkKeys() error {
	info, err := os.Stat(s.cfg.Keys)
	if s.cfg.Keys == "" || err == nil && !info.Mode().IsRegular() { // a pipe can be read once
		return nil
	}
	if _, err := listen.ReadKeys(s.cfg.Keys); err != nil {
		return config.Usagef("--authorized-keys: %v", err)
	}
	return nil
}

// checkDataDir looks for what --data-dir-must-exist asks for. A volume may be mounted later, so a restart may
// help.
func (s *service) checkDataDir() error {
	if !s.cfg.DataDirExists {
		return nil
	}
	path := filepath.Join(s.cfg.DataDir, "journal")
	exists, err := journal.Exists(path)
	if err != nil || exists {
		return err
	}
	return fmt.Errorf("--data-dir-must-exist: there is no journal in %s; mount its volume, or start once without "+
		"this flag to create it", path)
}

// checkStatsFile checks the directory of --stats-file, which is written at the end at the latest.
func (s *service) checkStatsFile() error {
	if s.cfg.StatsFile == "" {
		return nil
	}
	dir := filepath.Dir(s.cfg.StatsFile)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return judged(fmt.Errorf("--stats-file: %s cannot be written: %w; create the directory, or choose "+
			"another path", dir, err))
	}
	return nil
}

// checkFlightDir checks the directory of flight recordings, or the one that the first recording
// creates it in.
func (s *service) checkFlightDir() error {
	if !s.cfg.Flight {
		return nil
	}
	for dir := s.cfg.FlightDir(); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if _, linked := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && linked != nil && filepath.Dir(dir) != dir {
			continue
		}
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s: %w", dir, unix.ENOTDIR)
		}
		if err == nil {
			err = unix.Access(dir, unix.W_OK|unix.X_OK)
		}
		if err != nil {
			return judged(fmt.Errorf("--trace-dir: flight recordings cannot be kept in %s: %w; choose another "+
				"directory, or leave out --flight-recorder", s.cfg.FlightDir(), err))
		}
		return nil
	}
}

// checkVariables rejects a variable whose name is nearly one of OpenTelemetry's.
func checkVariables(environ []string) error {
	known := otel.Variables()
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "OTEL_") {
			continue
		}
		if best, edits := config.Nearest(name, known); edits == 1 || edits == 2 {
			return config.Usagef("unknown variable %s in the environment; did you mean %s?", name, best)
		}
	}
	return nil
}

// open recovers the node and serves.
func (s *service) open(p *prepared) error {
	n, err := p.node.open(context.Background())
	if err != nil {
		p.endpoints.Close()
		return err
	}
	s.server, s.addresses = n, n.Addresses()
	return nil
}

// adminAddress returns the admin address: the flag if it is set, else the variable if it is set,
// else the default.
func adminAddress(c *config.Server, set *config.Set, variable string) string {
	if set.Origin("admin-address") == "default" && variable != "" {
		return variable
	}
	return c.Admin
}
