package observe_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/orderbook"
	"sluice/transport/listen"
)

// An operator on the same machine swaps the durability policy and drains the server.
func Example() {
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	quiet := slog.New(slog.DiscardHandler)
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		panic(err)
	}
	s, err := node.Open(context.Background(), node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{},
		DataDir: filepath.Join(dir, "data"), Log: quiet,
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "tcp", Address: "127.0.0.1:0", Open: true},
		}},
	})
	if err != nil {
		panic(err)
	}
	o, err := observe.Open(s, observe.Config{Socket: filepath.Join(dir, "admin"), Log: quiet})
	if err != nil {
		panic(err)
	}

	operator := &observe.Client{Socket: filepath.Join(dir, "admin")}
	fmt.Println(operator.Swap(context.Background(), "in_memory>=1", false))
	fmt.Println(operator.Swap(context.Background(), "persisted>=9", false))
	fmt.Println(operator.Kick(context.Background(), 7))
	fmt.Println(operator.Drain(context.Background(), 0))
	<-s.Ended()
	fmt.Println(o.Close(context.Background()), s.Err())
	// Output:
	// policy in_memory>=1 is in force; it was persisted>=1 <nil>
	//  node: refused: durability: clause 1 "persisted>=9": count 9 is above 3, the most nodes that there can be; use a count from 1 to 3, or a larger cluster
	//  node: kick 7: no such connection; it may have ended already
	// draining, for at most 10s <nil>
	// <nil> <nil>
}
