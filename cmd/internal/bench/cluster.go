package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice/cmd/internal/config"
	nodes "sluice/cmd/internal/fleet"
	"sluice/transport/client"
)

// What --cluster measures, in rounds over all:
//
//	one order     client -- order --> leader: log, own disk and those of the others, gate --> client
//	batch         the same with many orders in one write
//	slow disk     the same with a follower whose disk takes longer
//	etcd          the same bytes proposed by its leader itself, as one value for a batch
//	kills         traders; the leader is killed with -9 and started again
//	transfers     traders; the leader gets SIGTERM and is started again

const (
	batchOrders = 256
	slowDisk    = 5 * time.Millisecond // longer for each sync
)

// clusterSettings returns the flags of --cluster.
func (o *options) clusterSettings() []config.Setting {
	return []config.Setting{
		{Name: "cluster", Group: axesGroup,
			Help:  "with --durable: measure a cluster of this number of processes beside a single node; 0 is none",
			Value: config.Count(&o.Cluster, 0, 7, false)},
		{Name: "kills", Group: runsGroup,
			Help: "with --cluster: kill the leader with -9 N times", Value: config.Count(&o.Kills, 0, 10_000, false)},
		{Name: "transfers", Group: runsGroup,
			Help: "with --cluster: end the leader with SIGTERM N times", Value: config.Count(&o.Transfers, 0, 10_000, false)},
	}
}

// clusterKind is a cluster that is measured. Its rows have a result for each round.
type clusterKind struct {
	name       string
	nodes      int
	slow       time.Duration
	etcd       string // program that measures etcd; empty for sluice
	one, batch *Row   // of one order, and of batchOrders
}

// clusterBench is the measurement of --cluster.
type clusterBench struct {
	*options
	program string
	io      string
	log     func(format string, args ...any)
	kinds   []*clusterKind
	noEtcd  string // why etcd is not among kinds

	kills, transfers []time.Duration
	faults           []error
}

// runCluster measures and writes the tables of --cluster.
func (o *options) runCluster(ctx context.Context, p Process, args []string) error {
	if !o.Durable || o.Cluster < 3 || o.profile != "" || o.html != "" {
		return config.Usagef("--cluster measures three to seven nodes, with --durable and without --profile or --html")
	}
	if o.into != "" {
		if err := o.checkPlaces([]section{{name: "cluster"}}, ""); err != nil {
			return err
		}
	}
	b := &clusterBench{options: o, program: p.Command[0], io: o.IO[0],
		log: func(format string, args ...any) { fmt.Fprintf(p.Stderr, "bench: "+format+"\n", args...) },
		kinds: []*clusterKind{{name: "single node", nodes: 1}, {name: fmt.Sprintf("%d nodes", o.Cluster), nodes: o.Cluster},
			{name: fmt.Sprintf("%d nodes, the disk of one %v slower", o.Cluster, slowDisk), nodes: o.Cluster, slow: slowDisk}}}
	for _, k := range b.kinds {
		k.one, k.batch = &Row{}, &Row{}
	}
	if program, err := b.findEtcd(); err == nil {
		b.kinds = append(b.kinds, &clusterKind{name: "etcd, 3 nodes", nodes: 3, etcd: program, one: &Row{}, batch: &Row{}})
	} else {
		b.noEtcd = err.Error()
	}
	err := b.rounds(ctx)
	if err == nil {
		err = b.gaps(ctx)
	}
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(p.Stdout)
		e.SetIndent("", " ")
		err = e.Encode(b.summary(args))
	} else {
		err = o.put(p, "cluster", b.text(args))
	}
	return errors.Join(append(b.faults, err)...)
}

// rounds measures the times of orders.
func (b *clusterBench) rounds(ctx context.Context) error {
	for round := range b.Runs {
		for i := range b.kinds {
			k := b.kinds[(i+round)%len(b.kinds)]
			measure := b.measure
			if k.etcd != "" {
				measure = b.measureEtcd
			}
			if err := measure(ctx, k); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			one, all := k.one.Results[round], k.batch.Results[round]
			b.log("%d/%d %s: one order p50 %s, p99 %s; %d orders p50 %s, p99 %s", round+1, b.Runs, k.name, Micros(one.P50),
				Micros(one.P99), batchOrders, Micros(all.P50), Micros(all.P99))
		}
	}
	return nil
}

// start starts a cluster or a single node in a directory of its own. Close ends it.
func (b *clusterBench) start(ctx context.Context, k *clusterKind) (f *nodes.Fleet, leader *nodes.Node, end func(), err error) {
	dir, err := os.MkdirTemp(b.Dir, ".sluice-bench-")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("bench: directory for journals: %w; name one with --dir", err)
	}
	f = &nodes.Fleet{}
	end = func() { f.Kill(); _ = os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			end()
		}
	}()
	serve := []string{"--io", b.io, "--shards", "1", "--log-level", "error"}
	if k.nodes == 1 {
		f.Nodes = []*nodes.Node{{Number: 1, Log: filepath.Join(dir, "log"), Program: b.program, Args: append([]string{"serve",
			"--data-dir", filepath.Join(dir, "data"), "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"}, serve...)}}
	} else if f, err = nodes.New(nodes.Options{Program: b.program, Dir: dir, Nodes: k.nodes, Serve: serve}); err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err = f.Start(ctx); err != nil {
		return nil, nil, nil, err
	}
	for _, n := range f.Nodes {
		n.Client = n.TCP
	}
	if leader, err = f.Leader(ctx); err != nil || k.slow == 0 {
		return f, leader, end, err
	}
	n := f.Nodes[leader.Number%k.nodes] // one that follows
	n.Kill()
	n.Args = []string{"bench", MemberArgument, n.Dir, n.Client, b.io, k.slow.String()}
	return f, leader, end, n.Start(ctx)
}

// measure is one round of one kind.
func (b *clusterBench) measure(ctx context.Context, k *clusterKind) error {
	f, leader, end, err := b.start(ctx, k)
	if err != nil {
		return err
	}
	defer end()
	spec := Spec{Server: ordersServer, IO: b.io, Net: "tcp", Connections: 1, Frame: recordSize, Warm: b.Warm, Run: b.Run}
	for _, x := range []struct {
		row *Row
		n   int
	}{{k.one, 1}, {k.batch, batchOrders}} {
		conn, err := client.Dial(ctx, "tcp", leader.Client, client.Options{Congestion: b.Congestion})
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		o := orders{conn: conn, account: uint64(x.n)}
		limit, cancel := context.WithTimeout(ctx, b.Warm+b.Run+stepLimit)
		stop := context.AfterFunc(limit, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		res, err := oneByOne(limit, &spec, func(int64) error { return nil }, func() error { return o.send(x.n) })
		stop()
		cancel()
		_ = conn.Close()
		if err != nil {
			return err
		}
		x.row.Spec, x.row.Results = spec, append(x.row.Results, res)
	}
	for _, n := range f.Nodes {
		select {
		case <-n.Exited():
			return fmt.Errorf("bench: node %d has ended:\n%s", n.Number, nodes.Tail(n.Log, 5))
		default:
		}
	}
	return nil
}
