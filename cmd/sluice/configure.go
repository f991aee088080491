package main

import (
	"fmt"

	"sluice/cmd/internal/config"
)

// configure is `sluice config check` and `sluice config print`: what `sluice serve` would do with the same flags,
// environment and file.
func configure(e *env, args []string) error {
	c := config.DefaultServer()
	set := c.Set()
	rest, done, err := load(e, set, args, "usage: sluice config check|print [flags of sluice serve]\n\n"+
		"check says whether `sluice serve` would accept the configuration; print writes it as a file that --config reads,\n"+
		"each setting with where it comes from: --flag, SLUICE_VARIABLE, file:line or default.")
	if done || err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] != "check" && rest[0] != "print" {
		return config.Usagef("write sluice config check or sluice config print, and flags if you like")
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
	fmt.Fprintf(e.stdout, "the configuration%s is good: %d settings are given, %d are defaults\n", from, given, len(set.Settings)-given)
	return nil
}
