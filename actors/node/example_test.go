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

// A server in this process, on a unix-domain socket, and a client that asks it something it does not know.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := node.New(node.Config{
		DataDir: filepath.Join(dir, "data"),
		Listen:  listen.Config{Endpoints: []listen.Endpoint{{Network: "unix", Address: filepath.Join(dir, "s"), Open: true}}},
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	addresses, err := s.Start()
	if err != nil {
		panic(err)
	}
	c, err := client.Dial(context.Background(), "unix", addresses[0], client.Options{})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if err := c.Send(1, 0x2F, nil); err != nil {
		panic(err)
	}
	if err := c.Flush(); err != nil {
		panic(err)
	}
	for range 2 {
		tag, _, err := c.Next()
		fmt.Printf("0x%02x %v\n", tag, err)
	}
	fmt.Println("ended:", s.Drain(context.Background()))
	// Output:
	// 0x03 <nil>
	// 0x02 <nil>
	// ended: <nil>
}
