//go:build linux

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"sluice/cmd/internal/config"
	"sluice/transport/listen"
)

const configHead = `usage: sluice config check|print [flags of sluice serve]

  check    check whether sluice serve would start: settings, OTEL_* variables, keys, addresses, and
           the data directory, which is not read. An address that is in use, as by the running
           server, is reported with exit code 1
  print    print the configuration as a file for --config, each setting with its origin: --flag,
           SLUICE_VARIABLE, file:line or default

Exit codes: 0 done, 1 the configuration is valid and sluice serve would not start now, 64 usage error
or rejected configuration.`

// configure is `sluice config check` and `sluice config print`. It reads the same flags,
// environment and file as `sluice serve`.
func configure(e *env, args []string) error {
	c := config.DefaultServer()
	set := c.Set()
	rest, done, err := load(e, set, args, configHead)
	if done || err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] != "check" && rest[0] != "print" {
		return config.Usagef("write sluice config check or sluice config print")
	}
	s := &service{env: e, cfg: c, set: set, budget: c.ShardBudget, console: &console{log: slog.New(slog.DiscardHandler)}}
	if rest[0] == "print" {
		if _, err := s.judge(); err != nil {
			return err
		}
		return set.Print(e.stdout)
	}
	p, err := s.prepare()
	var usage *config.UsageError
	switch {
	case errors.As(err, &usage):
		return err
	case err != nil:
		return fmt.Errorf("the configuration is valid, but sluice serve would not start now: %w", err)
	}
	if err := p.close(); err != nil {
		return err
	}
	given := 0
	for i := range set.Settings {
		if name := set.Settings[i].Name; name != "config" && set.Origin(name) != "default" {
			given++
		}
	}
	from := ""
	if c.File != "" {
		from = " with " + c.File
	}
	fmt.Fprintf(e.stdout,
		"the configuration%s is valid; set: %d, defaults: %d\n", from, given,
		len(set.Settings)-given)
	for _, open := range append(listen.Exposure(s.endpoints()), c.Exposed()...) {
		fmt.Fprintln(e.stdout, "open endpoint", open)
	}
	return nil
}
