//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/config"
	"sluice/durability"
)

// announce prints one block with the state of the server and its addresses, once clients can
// connect.
func (s *service) announce(files uint64) {
	c, p := s.cfg, s.server
	var where []string
	for i, a := range s.addresses {
		network := "tcp"
		switch i -= len(c.TCP); {
		case i >= len(c.TLSListen):
			network = "unix"
		case i >= 0:
			network = "tls"
		}
		where = append(where, network+" "+a)
	}
	keys := "no authentication"
	if c.Keys != "" {
		keys = "keys in " + c.Keys
	}
	l := c.Limits
	var b strings.Builder // one write, so that log lines do not interleave
	metrics := ""         // the line of an address of their own
	if c.Metrics != "" {
		metrics = fmt.Sprintf("http://%s/metrics, and no other page", c.Metrics)
	}
	st := status.Read(p, s.began, nil)
	member := "" // the line of a member of a cluster
	if m := st.Cluster; m != nil {
		member = fmt.Sprintf("node %d of %d, %s; sluice cluster status and the log say when a node leads", m.Node,
			len(m.Members), m.State)
	}
	fmt.Fprintf(&b, "sluice is ready after %s\n", since(s.began))
	for _, line := range [][2]string{
		{"cluster", member},
		{"clients", strings.Join(where, ", ")},
		{"access", fmt.Sprintf("%s; at most %d clients, %d file descriptors", keys,
			c.MaxConnections, files)},
		{"data", fmt.Sprintf("%s, at event %d", c.DataDir, st.Persisted)},
		{"policy", s.policyLine()},
		{"engine", fmt.Sprintf("%s Compiled in: %s.", p.Diagnosis().Text, engines())},
		{"pipeline", fmt.Sprintf("%d shards, placement %v, idle %v", len(p.Rings()), c.Placement,
			c.Idle)},
		{"slow", fmt.Sprintf("a client is closed at %s unsent, at %s for %s, or after %s without "+
			"progress", config.FormatSize(uint64(l.HardBytes)),
			config.FormatSize(uint64(l.SoftBytes)), config.FormatDuration(l.SoftFor),
			config.FormatDuration(l.NoProgress))},
		{"live", s.liveLine()},
		{"metrics", metrics},
		{"process", fmt.Sprintf("%d: kill -USR1 prints measurements, kill -HUP reloads limits, keys and certificate, "+
			"kill drains within %s", os.Getpid(), config.FormatDuration(c.DrainFor))},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", line[0], line[1])
		}
	}
	fmt.Fprint(s.stdout, b.String())
}

// policyLine is the policy in force, and why it is another one than the configuration names.
func (s *service) policyLine() string {
	policy := s.server.Policy().Current()
	line := policy.String()
	if policy.Name() != "" {
		line = policy.Name() + ", " + line
	}
	configured, err := durability.Parse(s.cfg.Policy, durability.MaxNodes)
	if err == nil && !s.cfg.Member && configured.String() != policy.String() {
		line += "; an operator swapped it in an earlier run, and --policy names " + s.cfg.Policy
	}
	return line
}

// liveLine is where the live page is.
func (s *service) liveLine() string {
	var at []string
	if address := s.observer.Address(); address != "" {
		at = append(at, fmt.Sprintf("http://%s/ in a browser, or sluice top --admin-address %s", address, address))
	}
	if s.cfg.AdminTLS != "" {
		at = append(at, fmt.Sprintf("https://%s/ with the token", s.listeners.TLSAddress()))
	}
	if len(at) == 0 {
		return "disabled, --admin-address is empty"
	}
	return strings.Join(at, "; ")
}
