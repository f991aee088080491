package trials

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"sluice/actors/node"
	"sluice/cmd/internal/fleet"
	"sluice/durability"
)

// fault is a kind of fault that a cluster is put under.
type fault struct {
	name   string
	alone  bool // no other fault at the same time: it needs the others, or takes them
	links  bool // it is one of the network between the nodes, of which there is one at a time
	last   bool // it ends behind the others, and there is one at a time
	kernel bool // it needs the kernel of the node
	loses  bool // the node's data is lost

	// begin does it to h.node, and returns what ends it, if it lasts.
	begin func(a *attack, h *hit) (end func() error, err error)
}

// hit is a fault that was drawn.
type hit struct {
	*fault
	victim int // number of a node; 0: the one that leads
	lasts  time.Duration
	rng    *rand.Rand

	// As of its beginning:
	node     *fleet.Node // the victim, or another one that is not disturbed
	together bool        // with other faults
	end      func() error
}

// faults are all kinds: by processes, network, membership, disks and clocks.
func faults() []*fault {
	return append(diskFaults(), []*fault{
		{name: "kill", begin: kill},
		{name: "kill several", alone: true, begin: killSeveral},
		{name: "pause", begin: pause},
		{name: "transfer", begin: transfer},
		{name: "rolling restart", alone: true, begin: rollingRestart},
		{name: "partition", links: true, begin: func(a *attack, h *hit) (func() error, error) {
			n := h.node.Number
			return a.weather(weather{held: true}, func(r route) bool { return r.from == n || r.to == n })
		}},
		{name: "partition one way", links: true, begin: func(a *attack, h *hit) (func() error, error) {
			n, other := h.node.Number, 1+(h.node.Number+h.rng.IntN(2))%3
			return a.weather(weather{held: true}, [](func(r route) bool){
				func(r route) bool { return r.from == n },
				func(r route) bool { return r.to == n },
				func(r route) bool { return r.from == n && r.to == other },
			}[h.rng.IntN(3)])
		}},
		{name: "delay", links: true, begin: func(a *attack, h *hit) (func() error, error) {
			n := h.node.Number
			return a.weather(weather{late: a.election}, func(r route) bool { return r.from == n || r.to == n })
		}},
		{name: "cut connections", links: true, begin: func(a *attack, _ *hit) (func() error, error) {
			return a.weather(weather{cut: 0.01}, func(route) bool { return true })
		}},
		{name: "reordered connections", links: true, begin: reorder},
		{name: "replace", alone: true, loses: true, begin: replace},
		{name: "membership", last: true, loses: true, begin: membership},
	}...)
}

// kinds are the faults with these names.
func kinds(names ...string) (list []*fault) {
	for _, f := range faults() {
		for _, name := range names {
			if f.name == name {
				list = append(list, f)
			}
		}
	}
	return list
}

// weather sets the weather of the routes, until the end.
func (a *attack) weather(w weather, which func(r route) bool) (func() error, error) {
	a.links.set(w, which)
	return func() error { a.links.clear(); return nil }, nil
}

func kill(a *attack, h *hit) (func() error, error) {
	h.node.Kill()
	return func() error { return a.again(h.node) }, nil
}

// again starts a node.
func (a *attack) again(n *fleet.Node) error {
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	return n.Start(ctx)
}

// killSeveral kills two nodes, or all.
func killSeveral(a *attack, h *hit) (func() error, error) {
	killed := append(a.followers(h.node)[:1+h.rng.IntN(2)], h.node)
	for _, n := range killed {
		n.Kill()
	}
	return func() error {
		for _, n := range killed {
			if err := a.again(n); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func pause(_ *attack, h *hit) (func() error, error) {
	return func() error { return h.node.Signal(syscall.SIGCONT) }, h.node.Signal(syscall.SIGSTOP)
}

// transfer hands the leadership over. Under other faults there may be no leader, or no node that can follow it.
func transfer(a *attack, h *hit) (func() error, error) {
	if h.together {
		ctx, cancel := context.WithTimeout(a.ctx, 2*a.election)
		defer cancel()
		leader, err := a.fleet.Leader(ctx)
		if err == nil {
			err = leader.Transfer(ctx)
		}
		if err != nil {
			a.tell("no transfer: %v", err)
		}
		return nil, nil
	}
	return nil, a.tries("the transfer", func(ctx context.Context, leader *fleet.Node) error {
		return leader.Transfer(ctx)
	})
}

// tries asks the node that leads for something, again until it succeeds: a leadership may end meanwhile.
func (a *attack) tries(what string, try func(ctx context.Context, leader *fleet.Node) error,
	except ...*fleet.Node) error {
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	for {
		leader, err := a.fleet.Leader(ctx, except...)
		if err != nil {
			return err
		}
		if err = try(ctx, leader); err == nil {
			return nil
		}
		a.tell("%s is tried again: %v", what, err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rollingRestart ends one node after the other in order, and starts it again.
func rollingRestart(a *attack, h *hit) (func() error, error) {
	for i := range a.fleet.Nodes {
		n := a.fleet.Nodes[(h.node.Number+i)%len(a.fleet.Nodes)]
		if err := n.Drain(trioPatience); err != nil {
			return nil, err
		}
		if err := a.again(n); err != nil {
			return nil, err
		}
		if err := a.catchUp(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// reorder holds a lane of a node back and breaks its connections, whose bytes arrive together with those of
// the connections that follow.
func reorder(a *attack, h *hit) (func() error, error) {
	n, lane := h.node.Number, 1+h.rng.IntN(lanes)
	which := func(r route) bool { return (r.from == n || r.to == n) && r.lane == lane }
	a.links.set(weather{held: true}, which)
	return func() error {
		a.links.breakAll(func(r route) bool { return r.from == n && r.lane == lane })
		a.links.clear()
		return nil
	}, nil
}

// replace takes the disk of a node, and gives its number to a new directory.
func replace(a *attack, h *hit) (func() error, error) {
	lost := h.node
	lost.Kill()
	if err := os.RemoveAll(lost.Dir); err != nil {
		return nil, err
	}
	return func() error {
		if err := a.tries("the replacement", lost.Replace, lost); err != nil {
			return err
		}
		if err := a.again(lost); err != nil {
			return err
		}
		return a.voters()
	}, nil
}

// voters waits until the members are the nodes, all of them vote, and the policy is that of their majority.
func (a *attack) voters() error {
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	size := len(a.fleet.Nodes)
	policy := durability.Majority(size).String()
	for {
		leader, err := a.fleet.Leader(ctx)
		if err != nil {
			return fmt.Errorf("there are not %d voters again: %w", size, err)
		}
		now, err := look(ctx, leader)
		learns := slices.ContainsFunc(now.Members, func(x node.ClusterMember) bool { return x.Role != "voter" })
		if err == nil && len(now.Members) == size && !learns && now.Policy == policy {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
}
