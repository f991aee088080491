package main

import (
	"context"
	"os"
	"strings"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/internal/top"
)

const topHead = `usage: sluice top [flags]

Shows a running server, updated every second: rates and queues of each stage, response latencies
of the last minutes, shards, and clients that do not read. q ends it. The live page at the admin
address shows more.

Exit codes: 0 done, 1 failed, 64 usage error.`

// watch is `sluice top`.
func watch(e *env, args []string) error {
	s, once := top.Server{Address: observe.DefaultAddress, Timeout: 5 * time.Second}, false
	remote := adminTLS{}
	flag := func(name string, v config.Value, help string) config.Setting {
		return config.Setting{Name: name, Group: "Flags", Value: v, Help: help}
	}
	named := func(former string, s config.Setting) config.Setting { s.Former = former; return s }
	set := config.NewSet("", append([]config.Setting{
		named("admin-addr", flag("admin-address", config.Text(&s.Address, "ADDR"),
			"connect to this admin address, the --admin-address of the server")),
		named("socket", flag("admin-socket", config.Text(&s.Socket, "PATH"),
			"connect to this admin socket, the --admin-socket of the server; takes precedence")),
		remote.address(), remote.token(),
		flag("once", config.Bool(&once), "print one frame and exit, for scripts"),
		flag("timeout", config.Duration(&s.Timeout, time.Millisecond, time.Hour),
			"wait at most this time for each response of the server"),
	}, remote.Dial.Settings()...)...)
	rest, done, err := load(e, set, args, topHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "top"); err != nil {
		return err
	}
	if strings.HasPrefix(set.Origin("admin-tls"), "--") { // as a variable, it is meant for the server
		s.Address, s.Socket = remote.Address, ""
		if s.TLS, s.Token, err = remote.options(); err != nil {
			return err
		}
	}
	if once {
		return s.Once(context.Background(), e.stdout)
	}
	out, isFile := e.stdout.(*os.File)
	in, fromFile := e.stdin.(*os.File)
	if !isFile || !fromFile || !top.IsTerminal(out) || !top.IsTerminal(in) {
		return config.Usagef("standard input or output is not a terminal, which sluice top draws on; " +
			"write sluice top --once for one frame")
	}
	return s.Watch(in, out)
}
