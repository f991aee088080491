package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice/actors/node/cluster"
	"sluice/transport/client"
)

// Options are the options of a Fleet.
type Options struct {
	Program string   // path of the sluice binary
	Dir     string   // for data directories and logs
	Nodes   int      // one, or three to seven
	Serve   []string // additional flags of sluice serve
}

// Fleet is the nodes of one cluster.
type Fleet struct {
	Nodes []*Node // in the order of their numbers, from 1
}

// Node is one member of a cluster. It belongs to one goroutine.
type Node struct {
	Number int
	Dir    string // data directory
	Client string // address for clients
	Log    string // file of the log, of all its processes

	*Process // the last one; nil before the first Start

	Program string // that Start runs, with Args
	Args    []string
}

// New makes the data directories of a cluster. No process is started.
func New(o Options) (*Fleet, error) {
	var at [3]byte // 127.x.y.z; the last one is neither 0 nor 255
	m := cluster.Membership{}
	_, _ = rand.Read(at[:]) // never fails
	_, _ = rand.Read(m.Cluster[:])
	host := fmt.Sprintf("127.%d.%d.%d", 1+at[0]%254, at[1], 1+at[2]%254)
	for i := range o.Nodes {
		m.Members = append(m.Members, cluster.Member{Node: uint8(i + 1),
			Peer: fmt.Sprintf("%s:%d", host, 9871+i), Client: fmt.Sprintf("%s:%d", host, 9881+i)})
	}
	f := &Fleet{}
	for i, x := range m.Members {
		n := &Node{Number: i + 1, Client: x.Client, Program: o.Program,
			Dir: filepath.Join(o.Dir, fmt.Sprintf("node%d", i+1)),
			Log: filepath.Join(o.Dir, fmt.Sprintf("node%d.log", i+1))}
		n.Args = append([]string{"serve", "--cluster", "--data-dir", n.Dir, "--listen-tcp", n.Client,
			"--admin-address", fmt.Sprintf("%s:%d", host, 9891+i)}, o.Serve...)
		m.Node = x.Node
		if err := cluster.Init(n.Dir, m); err != nil {
			return nil, err
		}
		f.Nodes = append(f.Nodes, n)
	}
	return f, nil
}

// Start starts the node, for the first time or after its process has ended. It returns when clients can
// connect.
func (n *Node) Start(ctx context.Context) error {
	log, err := os.OpenFile(n.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	defer log.Close() // the process has its own
	p, err := Spawn(ctx, n.Program, n.Args, log)
	if err != nil {
		return fmt.Errorf("node %d: %w\nIts log ends:\n%s", n.Number, err, Tail(n.Log, 5))
	}
	n.Process = p
	return nil
}

// Start starts all nodes at the same time.
func (f *Fleet) Start(ctx context.Context) error {
	return f.all(func(n *Node) error { return n.Start(ctx) })
}

// Drain ends all nodes in order, at the same time.
func (f *Fleet) Drain(limit time.Duration) error {
	return f.all(func(n *Node) error {
		if err := n.Drain(limit); err != nil {
			return fmt.Errorf("node %d: %w", n.Number, err)
		}
		return nil
	})
}

// Kill kills all nodes that were started.
func (f *Fleet) Kill() {
	for _, n := range f.Nodes {
		if n.Process != nil {
			n.Kill()
		}
	}
}

func (f *Fleet) all(do func(*Node) error) error {
	results := make(chan error, len(f.Nodes))
	for _, n := range f.Nodes {
		go func() { results <- do(n) }()
	}
	var all []error
	for range f.Nodes {
		all = append(all, <-results)
	}
	return errors.Join(all...)
}

// Addresses are the addresses for clients.
func (f *Fleet) Addresses() (all []string) {
	for _, n := range f.Nodes {
		all = append(all, n.Client)
	}
	return all
}

// Dirs are the data directories.
func (f *Fleet) Dirs() (all []string) {
	for _, n := range f.Nodes {
		all = append(all, n.Dir)
	}
	return all
}

// Leads reports whether a node says that it leads. One that does not respond within a second does not.
func (n *Node) Leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", n.Client, client.Options{})
	if err != nil {
		return false
	}
	defer c.Close()
	return c.Server().Leads
}

// Leader waits for a node that leads, other than those given.
func (f *Fleet) Leader(ctx context.Context, except ...*Node) (*Node, error) {
	for {
	nodes:
		for _, n := range f.Nodes {
			for _, x := range except {
				if n == x {
					continue nodes
				}
			}
			if n.Leads(ctx) {
				return n, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("fleet: no node leads: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}
