package main

import (
	"context"
	"os"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/internal/top"
)

const topHead = `usage: sluice top [flags]

Shows a running server once a second: rates and queues of each stage, response latencies of the last minutes, shards,
and clients that do not take their responses. q ends it. The live page at the admin address shows more.`

// watch is `sluice top`.
func watch(e *env, args []string) error {
	s, once := top.Server{Address: observe.DefaultAddress, Timeout: 5 * time.Second}, false
	flag := func(name string, v config.Value, help string) config.Setting {
		return config.Setting{Name: name, Group: "Flags", Value: v, Help: help}
	}
	rest, done, err := load(e, config.NewSet("",
		flag("admin-addr", config.Text(&s.Address, "ADDR"), "admin address of the server, its --admin-addr"),
		flag("socket", config.Text(&s.Socket, "PATH"), "admin socket of the server, its --admin-socket; takes precedence"),
		flag("once", config.Bool(&once), "print one frame and exit, for scripts"),
		flag("timeout", config.Duration(&s.Timeout, time.Millisecond, time.Hour), "time limit for each response of the server"),
	), args, topHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "top"); err != nil {
		return err
	}
	if once {
		return s.Once(context.Background(), e.stdout)
	}
	out, isFile := e.stdout.(*os.File)
	in, fromFile := e.stdin.(*os.File)
	if !isFile || !fromFile || !isTerminal(out) || !isTerminal(in) {
		return config.Usagef("standard input or output is not a terminal, which sluice top draws on; " +
			"write sluice top --once for one frame")
	}
	return s.Watch(in, out)
}
