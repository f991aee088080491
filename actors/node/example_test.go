package node_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// A node for an application of one's own: the ledger of example_ledger_test.go. It is closed and
// opened again, and has forgotten nothing.
func Example() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	session(dir, func(c *ledgerClient) {
		c.do(tagOpen, 1, 100)
		c.do(tagOpen, 2, 0)
		fmt.Println(c.do(tagTransfer, 1, 2, 30))
	})
	session(dir, func(c *ledgerClient) {
		fmt.Println(c.do(tagBalance, 1))
		fmt.Println(c.do(tagTransfer, 1, 2, 71))
	})
	// Output:
	// {48 1 70} <nil>
	// {50 1 70} <nil>
	// {49 1 70} <nil>
}

// session opens the ledger in dir, lets a client work with it, and drains it.
func session(dir string, work func(c *ledgerClient)) {
	ctx, end := context.WithCancel(context.Background())
	n, err := node.Open(ctx, node.Config[result, result]{
		DataDir:     filepath.Join(dir, "data"),
		Application: newLedger,
		Encoder:     ledgerEncoder{},
		Listen: listen.Config{Endpoints: []listen.Endpoint{{Network: "unix",
			Address: filepath.Join(dir, "socket"), Open: true}}},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	c, err := client.Dial(ctx, "unix", n.Addresses()[0], client.Options{})
	if err != nil {
		panic(err)
	}
	work(&ledgerClient{conn: c})
	if err := c.Close(); err != nil {
		panic(err)
	}
	end()
	if err := n.Wait(ctx); err != nil {
		panic(err)
	}
}
