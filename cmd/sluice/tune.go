//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/bench"
	"sluice/cmd/internal/tune"
)

// tuneUp is `sluice tune`. It measures with package bench and recommends flags for `sluice serve`.
func tuneUp(e *env, args []string) error {
	if len(args) > 0 && args[0] == tune.PinArgument {
		return tune.Pin(args[1:], e.environ)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("tune: path of this program, which also runs the server: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	return tune.Main(ctx, tune.Process{
		Environ: e.environ, Stdout: e.stdout, Stderr: e.stderr,
		Command: []string{program, "bench", bench.ChildArgument}, Pin: []string{program, "tune",
			tune.PinArgument},
	}, args)
}
