//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/bench"
)

// benchmark is `sluice bench`. Load and server are two processes of this program.
func benchmark(e *env, args []string) error {
	if len(args) > 0 && args[0] == bench.ChildArgument {
		return bench.Child(e.stdin, e.stdout, bench.Servers())
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: path of this program, which also runs the server: %w", err)
	}
	if len(args) > 0 && args[0] == bench.MemberArgument {
		return bench.Member(args[1:], e.stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	return bench.Main(ctx, bench.Process{
		Environ: e.environ, Stdout: e.stdout, Stderr: e.stderr, Command: []string{program, "bench",
			bench.ChildArgument},
	}, args)
}
