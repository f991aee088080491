package demo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"sluice/actors/node/inspect"
	auditing "sluice/cmd/internal/audit"
	"sluice/cmd/internal/fleet"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
)

// clusterNodes is the number of nodes of the demonstration with a cluster.
const clusterNodes = 3

// clusterRun is the demonstration with a cluster: the leader is killed, another node takes over, and
// the killed one comes back. Its fields are in the order in which they are found out.
type clusterRun struct {
	*run
	fleet   *fleet.Fleet
	members []*member
	ready   time.Duration // from the start until a node led
	killed  *fleet.Node
	kill    time.Time
	heir    *fleet.Node // led after the kill
	result  *auditing.Result
}

// cluster runs the demonstration with a cluster.
func (r *run) cluster(ctx context.Context) error {
	c := &clusterRun{run: r}
	fmt.Fprintf(r.Out, "%d clients trade %d instruments for %v with a cluster of %d nodes; kill -9 of the leader, "+
		"which comes back later\n\n", r.Clients, instruments, r.For, clusterNodes)
	if err := c.trade(ctx); err != nil {
		return fmt.Errorf("demo: %w\nThe logs of the nodes end:\n%s", err, c.logs())
	}
	c.say("comparing the histories of the clients with all journals")
	var err error
	if c.result, err = auditing.Run(c.fleet.Dirs(), []string{r.path("histories")}); err != nil {
		return fmt.Errorf("demo: cannot audit the journals: %w", err)
	}
	r.clear()
	c.table()
	if c.result.Failed() > 0 {
		return ErrFailed
	}
	return nil
}

func (c *clusterRun) logs() (text string) {
	if c.fleet == nil {
		return ""
	}
	for _, n := range c.fleet.Nodes {
		text += fmt.Sprintf("node %d:\n%s\n", n.Number, fleet.Tail(n.Log, 3))
	}
	return text
}

// trade runs the nodes, the traders, the kill and the return of the killed node.
func (c *clusterRun) trade(ctx context.Context) (err error) {
	// The audit sees every event if no snapshot shortens a journal.
	serve := append([]string{"--snapshot-events", "1073741824", "--snapshot-bytes", "1TiB"}, c.Serve...)
	if c.fleet, err = fleet.New(fleet.Options{Program: c.Program, Dir: c.Dir, Nodes: clusterNodes, Serve: serve}); err != nil {
		return err
	}
	defer c.fleet.Kill()
	first, err := c.start(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended, err := c.open(ctx, cancel)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, "trading", c.For/3); err != nil {
		return err
	}
	if err := c.fail(ctx, first); err != nil {
		return err
	}
	if err := c.wait(ctx, "resumed", c.For/3); err != nil {
		return err
	}
	if err := first.Start(ctx); err != nil {
		return err
	}
	c.say(fmt.Sprintf("node %d is started again", first.Number))
	if err := c.wait(ctx, "rejoined", c.For/3); err != nil {
		return err
	}
	if err := c.hold(ctx, c.heir.Live); err != nil {
		return err
	}
	c.traded = time.Since(c.began)
	close(c.stop)
	if err := c.settle(ctx, ended); err != nil {
		return err
	}
	if err := c.caughtUp(ctx); err != nil {
		return err
	}
	return c.fleet.Drain(drainTime)
}

// start starts all nodes and waits for a leader.
func (c *clusterRun) start(ctx context.Context) (leader *fleet.Node, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	began := time.Now()
	if err := c.fleet.Start(ctx); err != nil {
		return nil, err
	}
	if leader, err = c.fleet.Leader(ctx); err != nil {
		return nil, err
	}
	c.ready = time.Since(began)
	if c.Hold {
		fmt.Fprintf(c.Out, "node %d leads; its live page until the kill: %s\n", leader.Number, leader.Live)
	}
	return leader, nil
}

// open starts the traders. The channel is closed when all of them have ended. The first error cancels
// ctx.
func (c *clusterRun) open(ctx context.Context, cancel context.CancelCauseFunc) (ended chan struct{}, err error) {
	if err := os.Mkdir(c.path("histories"), 0o700); err != nil {
		return nil, err
	}
	c.clock, c.stop, c.settled, ended = telemetry.NewClock(), make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.times = telemetry.NewCollector(c.clock)
	c.began = time.Now()
	clock := history.NewClock()
	for i := range c.Clients {
		m := &member{market: &c.market, strategy: newStrategy(uint64(i + 1)), times: c.times.Register("client", i),
			under: make(map[uint64]*orderbook.Command)}
		addresses := slices.Concat(c.fleet.Addresses()[i%clusterNodes:], c.fleet.Addresses()[:i%clusterNodes])
		m.trader.Client, err = fleet.Open(fleet.ClientOptions{Account: uint64(i + 1), History: c.path("histories"), Clock: clock,
			OnReport: m.learn}, addresses...)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	c.quiet.Add(c.Clients)
	left := make(chan struct{}, c.Clients)
	for i, m := range c.members {
		go func() {
			if err := m.run(ctx); err != nil {
				cancel(fmt.Errorf("client %d: %w", i+1, err))
			}
			left <- struct{}{}
		}()
	}
	go func() {
		for range c.Clients {
			<-left
		}
		close(ended)
	}()
	return ended, nil
}

// fail kills the leader, and waits for the next one.
func (c *clusterRun) fail(ctx context.Context, leader *fleet.Node) (err error) {
	c.killed = leader
	c.kill = time.Now()
	leader.Kill()
	c.say(fmt.Sprintf("node %d, the leader, is killed with -9", leader.Number))
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if c.heir, err = c.fleet.Leader(ctx, leader); err != nil {
		return err
	}
	c.say(fmt.Sprintf("node %d leads", c.heir.Number))
	return nil
}

// caughtUp waits until the killed node has what the others have.
func (c *clusterRun) caughtUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		var last [2]uint64
		for i, n := range []*fleet.Node{c.heir, c.killed} {
			j, err := inspect.Open(n.Dir, new(orderbook.Book))
			if err != nil {
				return err
			}
			last[i] = uint64(j.Last())
		}
		if last[1] >= last[0] {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d has events up to %d, node %d up to %d: %w", c.killed.Number, last[1], c.heir.Number,
				last[0], context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
