package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/transport/client"
)

// Options are the options of a Fleet.
type Options struct {
	Program string   // path of the sluice binary
	Dir     string   // for data directories and logs
	Nodes   int      // one, or three to seven
	Serve   []string // additional flags of sluice serve

	// Peer, if set, returns the address where the other nodes reach a node that listens for them on another
	// one, such as that of a proxy.
	Peer func(number int, listen string) (string, error)
}

// Fleet is the nodes of one cluster. It belongs to one goroutine.
type Fleet struct {
	Nodes []*Node // in the order of their numbers, from 1

	options Options
	host    string // an address of loopback, of this fleet alone
}

// Node is one member of a cluster. It belongs to one goroutine.
type Node struct {
	Number int
	Dir    string // data directory
	Client string // address for clients
	Peer   string // address for the other nodes
	Log    string // file of the log, of all its processes

	*Process // the last one; nil before the first Start

	Program string // that Start runs, with Args
	Args    []string
	Wrap    []string // a program, with arguments, that Start runs with Program and Args behind them; empty: none

	lay func(ctx context.Context) error // makes its data directory
}

// Loopback is a random host of 127.0.0.0/8, which hardly any other program uses: a port there stays free between
// two processes.
func Loopback() string {
	var at [3]byte          // 127.x.y.z; the last one is neither 0 nor 255
	_, _ = rand.Read(at[:]) // never fails
	return fmt.Sprintf("127.%d.%d.%d", 1+at[0]%254, at[1], 1+at[2]%254)
}

// New makes the data directories of a cluster. No process is started.
func New(o Options) (*Fleet, error) {
	m := cluster.Membership{}
	_, _ = rand.Read(m.Cluster[:]) // never fails
	f := &Fleet{options: o, host: Loopback()}
	for i := range o.Nodes {
		n, err := f.Further(i + 1)
		if err != nil {
			return nil, err
		}
		f.Nodes = append(f.Nodes, n)
		m.Members = append(m.Members, cluster.Member{Node: uint8(n.Number), Peer: n.Peer, Client: n.Client})
	}
	for _, n := range f.Nodes {
		own := m
		own.Node = uint8(n.Number)
		n.lay = func(context.Context) error { return cluster.Init(n.Dir, own) }
		if err := n.lay(context.Background()); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Further returns a node of a number (1 to 9) that no node has: it is not a member, has no data directory, and is
// not one of Nodes. Change adds it to the cluster.
func (f *Fleet) Further(number int) (*Node, error) {
	o := &f.options
	listen := fmt.Sprintf("%s:%d", f.host, 9870+number)
	n := &Node{Number: number, Client: fmt.Sprintf("%s:%d", f.host, 9880+number), Peer: listen, Program: o.Program,
		Dir: filepath.Join(o.Dir, fmt.Sprintf("node%d", number)),
		Log: filepath.Join(o.Dir, fmt.Sprintf("node%d.log", number))}
	if o.Peer != nil {
		var err error
		if n.Peer, err = o.Peer(number, listen); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	n.Args = append([]string{"serve", "--cluster", "--data-dir", n.Dir, "--listen-tcp", n.Client,
		"--peer-listen", listen, "--admin-address", fmt.Sprintf("%s:%d", f.host, 9890+number),
		"--admin-socket", n.Socket()}, o.Serve...)
	return n, nil
}

// Socket is the path of its admin socket.
func (n *Node) Socket() string { return n.Dir + ".admin" }

// Replace gives the number of a node whose process has ended and whose data is lost to a new data directory, in
// the place of the old one, which it removes. The leader is asked, again until it knows that the node is down.
// Start starts the node.
func (n *Node) Replace(ctx context.Context, leader *Node) error {
	for {
		done, err := leader.Change(ctx, "replace", fmt.Sprint(n.Number))
		if err == nil {
			return n.Join(ctx, done.Ticket)
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "is up") {
			return err
		}
	}
}

// Change has the node, which leads, change the members: sluice cluster with these words.
func (n *Node) Change(ctx context.Context, words ...string) (done node.MemberChanged, err error) {
	if err := n.ask(ctx, &done, words...); err != nil {
		return done, fmt.Errorf("fleet: cluster %s: %w", strings.Join(words, " "), err)
	}
	return done, nil
}

// Join makes the data directory of a node with a ticket, in the place of an earlier one, which it removes.
func (n *Node) Join(ctx context.Context, ticket string) error {
	n.lay = func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, n.Program, "cluster", "init", "--data-dir", n.Dir, "--join",
			ticket).CombinedOutput()
		if err != nil {
			return fmt.Errorf("fleet: the directory of node %d: %w: %s", n.Number, err, out)
		}
		return nil
	}
	return n.Remake(ctx)
}

// Remake makes the data directory of a node whose process has ended anew, as an operator does who has lost it and
// repeats the command that made it. The directory itself may be a mount point.
func (n *Node) Remake(ctx context.Context) error {
	all, err := filepath.Glob(filepath.Join(n.Dir, "*"))
	for _, path := range all {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return n.lay(ctx)
}

// Status is what the node knows of the cluster.
func (n *Node) Status(ctx context.Context) (c node.Cluster, err error) {
	return c, n.ask(ctx, &c, "status")
}

// Votes reports that all members are voters, as the node says, and how many there are.
func (n *Node) Votes(ctx context.Context) (members int, all bool) {
	c, err := n.Status(ctx)
	if err != nil {
		return 0, false
	}
	return len(c.Members), !slices.ContainsFunc(c.Members, func(x node.ClusterMember) bool { return x.Role != "voter" })
}

// Transfer has the node, which leads, begin to hand its leadership over: to a node, or to the fittest one.
func (n *Node) Transfer(ctx context.Context, to ...*Node) error {
	var done any
	words := []string{"transfer"}
	for _, heir := range to {
		words = append(words, fmt.Sprint(heir.Number))
	}
	if err := n.ask(ctx, &done, words...); err != nil {
		return fmt.Errorf("fleet: node %d: %w", n.Number, err)
	}
	return nil
}

// ask runs a command of sluice cluster that goes to the node, and reads its result.
func (n *Node) ask(ctx context.Context, into any, words ...string) error {
	words = append(append([]string{"cluster"}, words...), "--json", "--admin-socket", n.Socket())
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, n.Program, words...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, problems.String())
	}
	return json.Unmarshal(out.Bytes(), into)
}

// Start starts the node, for the first time or after its process has ended. It returns when clients can
// connect.
func (n *Node) Start(ctx context.Context) error {
	log, err := os.OpenFile(n.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	defer log.Close() // the process has its own
	line := slices.Concat(n.Wrap, []string{n.Program}, n.Args)
	p, err := Spawn(ctx, line[0], line[1:], log)
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
