//go:build linux

package main

import (
	"fmt"

	"sluice/cmd/internal/config"
)

const configHead = `usage: sluice config check|print [flags of sluice serve]

  check    check whether sluice serve accepts the configuration
  print    print the configuration as a file for --config, each setting with its origin: --flag,
           SLUICE_VARIABLE, file:line or default

Exit codes: 0 done, 1 failed, 64 usage error or rejected configuration.`

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
	if err := checkConfiguration(c, set); err != nil {
		return err
	}
	if rest[0] == "print" {
		return set.Print(e.stdout)
	}
	given := 0
	for i := range set.Settings {
		if set.Origin(set.Settings[i].Name) != "default" {
			given++
		}
	}
	from := ""
	if c.File != "" {
		from = " with " + c.File
	}
	fmt.Fprintf(e.stdout,
		"the configuration%s is valid: %d settings are set, %d have their defaults\n", from, given,
		len(set.Settings)-given)
	return nil
}
