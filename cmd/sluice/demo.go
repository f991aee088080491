//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/cmd/internal/config"
	"sluice/cmd/internal/demo"
	"sluice/cmd/internal/top"
)

const demoHead = `usage: sluice demo [flags] [-- flags of sluice serve]

Starts a server in a temporary directory, lets clients trade, kills the server with -9, starts it
again, lets the clients continue, and compares every response with a replay of the journal. Subscribers
follow the order books meanwhile, and must have the books of the replay in the end.

With --cluster it starts three nodes and kills the one that leads. Another one takes over, the killed
one comes back, and every response is compared with the journals of all three.

Exit codes: 0 done, 1 failed or a response is missing or different, 64 usage error.`

// demonstrate is `sluice demo`.
func demonstrate(e *env, args []string) error {
	seconds, clients, subscribers, keep, members := 10, 64, 500, false, false
	set := config.NewSet("",
		config.Setting{Name: "seconds", Group: "Flags",
			Value: config.Count(&seconds, 1, 3600, false), Help: "trade for N seconds"},
		config.Setting{Name: "clients", Group: "Flags",
			Value: config.Count(&clients, 2, 4096, false),
			Help:  "run N clients, each with a connection and an account of its own"},
		config.Setting{Name: "subscribers", Group: "Flags",
			Value: config.Count(&subscribers, 0, 4096, false),
			Help: "run N clients that follow the book of an instrument; one of ten reads slowly, and one " +
				"nothing until the end; not with --cluster"},
		config.Setting{Name: "cluster", Group: "Flags", Value: config.Bool(&members),
			Help: "run a cluster of three nodes, and kill the leader"},
		config.Setting{Name: "keep", Group: "Flags",
			Value: config.Bool(&keep),
			Help: "keep trading until ctrl-C, at most half an hour, and print the address of the " +
				"live page; keep journal, measurements and log"},
	)
	rest, done, err := load(e, set, args, demoHead)
	if done || err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	f, isFile := e.stdout.(*os.File)
	return demo.Run(ctx, demo.Config{
		Program: program, Serve: rest, For: time.Duration(seconds) * time.Second, Clients: clients,
		Subscribers: subscribers,
		Keep:        keep, Hold: keep, Cluster: members, Out: e.stdout,
		Terminal: isFile && top.IsTerminal(f),
	})
}
