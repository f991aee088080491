package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sluice/cmd/internal/audit"
	nodes "sluice/cmd/internal/fleet"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
)

const (
	gapClients = 4                // traders during kills and transfers, one request under way each
	stepLimit  = 30 * time.Second // for whatever takes a second
	warmOrders = 20               // responses of each trader between two kills
)

// gapRun is a cluster with traders, whose leader is ended again and again.
type gapRun struct {
	fleet   *nodes.Fleet
	dir     string
	traders []*nodes.Trader
	answers chan int // index of a trader, for each response
	stop    chan struct{}
	ended   chan error // result of a trader
}

// gaps measures how long clients have no response after kills, and at transfers. The histories of the
// clients are audited.
func (b *clusterBench) gaps(ctx context.Context) (err error) {
	for _, x := range []struct {
		name  string
		n     int
		end   func(*nodes.Node) error
		since bool // the time from the last response, else from the moment
		into  *[]time.Duration
	}{
		{"kill -9", b.Kills, func(n *nodes.Node) error { n.Kill(); return nil }, false, &b.kills},
		{"transfer", b.Transfers, func(n *nodes.Node) error {
			if err := n.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			select {
			case <-n.Exited():
				return nil
			case <-time.After(stepLimit):
				return fmt.Errorf("bench: node %d has not ended within %v of SIGTERM", n.Number, stepLimit)
			}
		}, true, &b.transfers},
	} {
		if x.n == 0 {
			continue
		}
		moments, traders, err := b.endLeaders(ctx, x.name, x.n, x.end)
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		if !x.since {
			*x.into = nodes.Gaps(moments, traders...)
			continue
		}
		for _, t := range traders {
			for _, br := range t.Breaks {
				*x.into = append(*x.into, br.Over.Sub(br.Since))
			}
		}
	}
	return nil
}

// endLeaders lets traders trade and ends the leader n times. It returns the times.
func (b *clusterBench) endLeaders(ctx context.Context, what string, n int,
	end func(*nodes.Node) error) (moments []time.Time, traders []*nodes.Trader, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, leader, remove, err := b.start(ctx, &clusterKind{nodes: b.Cluster})
	if err != nil {
		return nil, nil, err
	}
	defer remove()
	g := &gapRun{fleet: f, dir: filepath.Join(filepath.Dir(f.Nodes[0].Dir), "histories"),
		answers: make(chan int, 1<<16), stop: make(chan struct{}), ended: make(chan error, gapClients)}
	if err := g.trade(ctx); err != nil {
		return nil, nil, err
	}
	for i := range n {
		if err := g.warm(ctx); err != nil {
			return nil, nil, err
		}
		moments = append(moments, time.Now())
		if err := end(leader); err != nil {
			return nil, nil, err
		}
		before := leader
		limit, cancel := context.WithTimeout(ctx, stepLimit)
		if leader, err = f.Leader(limit, before); err == nil {
			err = g.warm(limit)
		}
		if err == nil {
			err = before.Start(limit)
		}
		cancel()
		if err != nil {
			return nil, nil, err
		}
		if (i+1)%10 == 0 {
			b.log("%s %d/%d", what, i+1, n)
		}
	}
	if err := g.close(); err != nil {
		return nil, nil, err
	}
	result, err := audit.Run(f.Dirs(), []string{g.dir})
	if err == nil && result.Failed() > 0 {
		b.faults = append(b.faults, fmt.Errorf("bench: %w: after %d times %s: %v", ErrViolated, n, what, result))
	}
	return moments, g.traders, err
}

// trade starts the traders.
func (g *gapRun) trade(ctx context.Context) error {
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	clock := history.NewClock()
	for i := range gapClients {
		c, err := nodes.Open(nodes.ClientOptions{Account: uint64(i + 1), History: g.dir, Clock: clock}, g.fleet.Addresses()...)
		if err != nil {
			return err
		}
		t := &nodes.Trader{Client: c, Window: 1}
		t.Next = func(c *orderbook.Command) { *c = orderOrCancel(t.LastID + 1) }
		t.Response = func(*nodes.Call, nodes.Result) {
			select {
			case g.answers <- i:
			case <-ctx.Done():
			}
		}
		g.traders = append(g.traders, t)
	}
	for _, t := range g.traders {
		go func() { g.ended <- errors.Join(t.Run(ctx, g.stop), t.Client.Close()) }()
	}
	return nil
}

// warm waits until every trader has had some responses.
func (g *gapRun) warm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	for len(g.answers) > 0 { // from before
		<-g.answers
	}
	for got := make([]int, gapClients); slices.Min(got) < warmOrders; {
		select {
		case i := <-g.answers:
			got[i]++
		case err := <-g.ended:
			return fmt.Errorf("bench: a trader ended early: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("bench: the traders have had %v responses: %w", got, context.Cause(ctx))
		}
	}
	return nil
}

// close ends the traders and the nodes.
func (g *gapRun) close() error {
	close(g.stop)
	var all []error
	for len(all) < gapClients {
		select {
		case err := <-g.ended:
			all = append(all, err)
		case <-g.answers:
		}
	}
	g.fleet.Kill()
	return errors.Join(all...)
}
