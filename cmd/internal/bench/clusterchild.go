package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/cmd/orderbook"
	"sluice/transport"
	endpoints "sluice/transport/listen"
)

// MemberArgument is the first argument of a process that calls Member.
const MemberArgument = "member"

// Member is a member of a cluster whose disk is slower. Its arguments are data directory, address for
// clients, engine, and the additional time of each sync. It returns after SIGTERM.
func Member(args []string, out io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("bench: a member has 4 arguments, got %q", args)
	}
	slower, err := time.ParseDuration(args[3])
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	mode, err := transport.ParseMode(args[2])
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := cluster.Config[orderbook.Report, orderbook.Answer]{Node: node.Config[orderbook.Report, orderbook.Answer]{
		Application: books, Encoder: orderbook.Encoder{}, DataDir: args[0],
		Listen:   endpoints.Config{Endpoints: []endpoints.Endpoint{{Network: "tcp", Address: args[1], Open: true}}},
		Pipeline: actors.Config{IO: mode, Shards: 1},
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}}
	c.Node.Journal.BeforeSync = func() { time.Sleep(slower) }
	m, err := cluster.Open(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  clients tcp %s\n  live none\n", args[1]) // for fleet.Spawn
	return m.Wait(ctx)
}
