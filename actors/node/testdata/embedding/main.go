// Program ledger embeds a sluice node in a module of its own. `make test-embedding` puts it beside the ledger of
// actors/node/example_ledger_test.go, builds it outside this module, and runs `ledger check`.
//
//	ledger serve DIR   serves on the unix socket DIR/socket until SIGTERM
//	ledger check DIR   runs `ledger serve`, transfers money over it, and kills it with SIGKILL again and again
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/transport/listen"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" && os.Args[1] != "check" {
		fmt.Fprintln(os.Stderr, "usage: ledger serve|check DIR")
		os.Exit(64)
	}
	run := serve
	if os.Args[1] == "check" {
		run = check
	}
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

func socket(dir string) string { return filepath.Join(dir, "socket") }

func serve(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := node.Open(ctx, node.Config[result, result]{
		DataDir:     filepath.Join(dir, "data"),
		Application: newLedger,
		Encoder:     ledgerEncoder{},
		Listen:      listen.Config{Endpoints: []listen.Endpoint{{Network: "unix", Address: socket(dir), Open: true}}},
	})
	if err != nil {
		return err
	}
	observed := make(chan error, 1)
	go func() {
		observed <- observe.Serve(ctx, n, observe.Config{Admin: "127.0.0.1:0", Socket: filepath.Join(dir, "admin")})
	}()
	return errors.Join(n.Wait(ctx), <-observed)
}
