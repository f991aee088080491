package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"

	"sluice"
	"sluice/cmd/internal/config"
	"sluice/transport"
)

const versionHead = `usage: sluice version

Prints the version, the commit that it was built from, Go, the kernel, the engines that it was built
with, and the one that works here.

Exit codes: 0 done, 64 usage error.`

// version is `sluice version`. It prints what an issue report needs.
func version(e *env, args []string) error {
	rest, done, err := load(e, config.NewSet(""), args, versionHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "version"); err != nil {
		return err
	}
	b := sluice.ReadBuild()
	fmt.Fprintf(e.stdout, "sluice %s\ncommit %s\nbuilt with %s for %s/%s\n", b.Version, commit(b), b.Go,
		runtime.GOOS, runtime.GOARCH)
	if name := kernel(); name != "" {
		fmt.Fprintf(e.stdout, "kernel %s\n", name)
	}
	fmt.Fprintf(e.stdout, "engines compiled in: %s\n", engines())
	d, err := probe(transport.ModeAuto)
	if err != nil {
		fmt.Fprintf(e.stdout, "no engine: %v\n", err)
		return nil
	}
	fmt.Fprintf(e.stdout, "engine %s: %s\n", d.Engine, d.Text)
	return nil
}

// commit is the commit that this program was built from, with its date.
func commit(b sluice.Build) string {
	switch {
	case b.Commit == sluice.Unknown:
		return "unknown: built without version control"
	case b.Modified:
		return b.Commit + " of " + b.Date + ", with changes"
	}
	return b.Commit + " of " + b.Date
}

// engines lists the engines that this program was built with.
func engines() string { return strings.Join(transport.Engines(), ", ") }

// probe opens a small ring and closes it again, to see which engine a mode gets here.
func probe(mode transport.Mode) (*transport.Diagnosis, error) {
	ring, d, err := transport.Open(mode, transport.RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		return d, err
	}
	return d, ring.Close()
}

// logStart writes the first line of a server's log: the program, its engines, and the engine in
// use.
func logStart(log *slog.Logger, mode transport.Mode) {
	message := "server starting"
	if !slices.Contains(transport.Engines(), transport.ModeUring.String()) {
		message = "server starting; built without io_uring"
	}
	d, err := probe(mode)
	attributes := []any{"version", sluice.ReadBuild().String(), "go", runtime.Version(), "engines", engines(),
		"engine", d.Engine}
	if err != nil {
		attributes = append(attributes, "error", err)
	}
	log.Info(message, attributes...)
}
