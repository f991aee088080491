package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"sluice/transport"
)

// version is `sluice version`. It prints the facts that an issue report needs.
func version(e *env, args []string) error {
	if err := noArguments(args, "version"); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "sluice %s, %s %s/%s\n", revision(), runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
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

// revision returns the commit that this program was built from.
func revision() string {
	text := "unknown revision"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				text = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				text += " with changes"
			}
		}
	}
	return text
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
	attributes := []any{"revision", revision(), "go", runtime.Version(), "engines", engines(),
		"engine", d.Engine}
	if err != nil {
		attributes = append(attributes, "error", err)
	}
	log.Info(message, attributes...)
}
