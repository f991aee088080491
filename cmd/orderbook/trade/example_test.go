package trade_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/listen"
)

// openNode starts a server in dir, whose socket is dir/s.
func openNode(dir string) (*node.Node[orderbook.Report, orderbook.Answer], error) {
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		return nil, err
	}
	return node.Open(context.Background(), node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{}, DataDir: filepath.Join(dir, "data"),
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "unix", Address: filepath.Join(dir, "s"), Open: true}}},
		Journal: node.Journal{SegmentBytes: 1 << 20}, Log: slog.New(slog.DiscardHandler),
	})
}

// Two accounts trade. The first one observes the fill of its resting order.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "trade")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := openNode(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	filled := make(chan uint64)
	seller, err := trade.Open(trade.Options{Account: 1, OnReport: func(r *orderbook.Report) {
		if r.Unasked() {
			filled <- r.Quantity
		}
	}}, filepath.Join(dir, "s"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer seller.Close()
	buyer, err := trade.Open(trade.Options{Account: 2}, filepath.Join(dir, "s"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer buyer.Close()

	sold, err := seller.New(ctx, trade.Order{Instrument: 3, Side: orderbook.Sell, Price: 101, Quantity: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	bought, err := buyer.New(ctx, trade.Order{Instrument: 3, Side: orderbook.Buy, Price: 101, Quantity: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("bought", bought.Filled())
	fmt.Println("seller's fill:", <-filled)
	open, err := seller.OpenOrders(ctx)
	fmt.Println(len(open), "open order,", open[0].Open, "of", open[0].Quantity, err)
	outcome, err := seller.Outcome(ctx, sold.ID)
	fmt.Println("the sell order was", outcome.Status, err)
	// Output:
	// bought 4
	// seller's fill: 4
	// 1 open order, 6 of 10 <nil>
	// the sell order was accepted <nil>
}
