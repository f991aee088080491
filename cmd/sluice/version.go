package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"sluice/transport"

	"golang.org/x/sys/unix"
)

// version is `sluice version`: what an issue report needs.
func version(e *env, args []string) error {
	if err := noArguments(args, "version"); err != nil {
		return err
	}
	revision := "unknown revision"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				revision += " with changes"
			}
		}
	}
	fmt.Fprintf(e.stdout, "sluice %s, %s %s/%s\n", revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		fmt.Fprintf(e.stdout, "kernel %s\n", unix.ByteSliceToString(name.Release[:]))
	}
	ring, d, err := transport.Open(transport.ModeAuto, transport.RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		fmt.Fprintf(e.stdout, "no engine: %v\n", err)
		return nil
	}
	fmt.Fprintf(e.stdout, "engine %s: %s\n", d.Engine, d.Text)
	return ring.Close()
}
