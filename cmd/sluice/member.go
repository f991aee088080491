//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport/peer"
)

// checkMember checks that --cluster and the data directory agree, and the settings against the
// membership. A volume may be mounted later, so if the directory is empty, a restart may help.
func (s *service) checkMember() error {
	c := s.cfg
	if is, err := cluster.IsMember(c.DataDir); err != nil || !c.Member {
		if is {
			return config.Usagef("%s is the data directory of a member of a cluster: add --cluster, or name another "+
				"directory with --data-dir", c.DataDir)
		}
		return err
	} else if !is {
		const remedy = "make one with sluice cluster init, or leave out --cluster"
		if single, err := journal.Exists(filepath.Join(c.DataDir, "journal")); single && err == nil {
			return config.Usagef("--cluster: %s is the data directory of a single node, which cannot become a member: "+
				"name that of a member with --data-dir; %s", c.DataDir, remedy)
		}
		return fmt.Errorf("--cluster: %s is not the data directory of a member: mount its volume; %s", c.DataDir, remedy)
	}
	m, err := cluster.ReadMembership(c.DataDir)
	if err != nil {
		return err
	}
	now, err := cluster.ReadCurrent(c.DataDir, m)
	if err != nil {
		return err
	}
	if err := c.MeetPolicy(now.Voters); err != nil {
		return err
	}
	if s.set.Origin("policy") != "default" { // else it is that of a member
		if err := c.MeetClass(now.Voters); err != nil {
			return err
		}
	}
	if c.Flight {
		return config.Usagef("--cluster with --flight-recorder: a member cannot record yet; leave one of them out")
	}
	_, err = s.peerConfig(m, now)
	return err
}

// member is the opener of a member of a cluster.
type member struct {
	*cluster.Prepared[orderbook.Report, orderbook.Answer]
}

func (m member) open(ctx context.Context) (node.Running, error) { return m.Open(ctx) }

// prepareMember prepares a member of a cluster. Each of its periods has an observer of its own.
func (s *service) prepareMember(nc node.Config[orderbook.Report, orderbook.Answer],
	endpoints *observe.Listeners) (opener, error) {
	m, err := cluster.ReadMembership(nc.DataDir)
	if err != nil {
		return nil, err
	}
	now, err := cluster.ReadCurrent(nc.DataDir, m)
	if err != nil {
		return nil, err
	}
	pc, err := s.peerConfig(m, now)
	if err != nil {
		return nil, err
	}
	if s.set.Origin("policy") == "default" {
		nc.Policy = "" // that of a member
	}
	if s.set.Origin("drain-spread") == "default" {
		nc.Pipeline.Egress.DrainSpread = 0 // that of a member
	}
	o := &periodObservers{endpoints: endpoints, log: s.log}
	s.observer = o
	nc.BeforeClients = func(n node.Running) error {
		s.console.measure(n.Collector())
		s.trail.measure(n.Collector())
		return o.open(n)
	}
	p, err := cluster.Prepare(cluster.Config[orderbook.Report, orderbook.Answer]{Node: nc, PeerListen: pc.Listen,
		TLS: pc.TLS, Version: sluice.ReadBuild().String(), Election: s.cfg.Election, DiskStall: s.cfg.DiskStall})
	return member{p}, err
}

// periodObservers are the observers of a member, one for each period. Any goroutine.
type periodObservers struct {
	endpoints *observe.Listeners // whose duplicates the observers have
	log       *slog.Logger
	ends      sync.WaitGroup
}

// open observes the node of a period until it has ended.
func (o *periodObservers) open(n node.Running) error {
	shared, err := o.endpoints.Share()
	if err != nil {
		return err
	}
	observer, err := shared.Open(n)
	if err != nil {
		return err
	}
	o.ends.Go(func() {
		<-n.Ended()
		ctx, cancel := context.WithTimeout(context.Background(), observeEnd)
		defer cancel()
		if err := observer.Close(ctx); err != nil {
			o.log.Warn("observation of a period ended incompletely", "error", err)
		}
	})
	return nil
}

// observeEnd is the time for the last export of a period.
const observeEnd = 5 * time.Second

// Address implements observation.
func (o *periodObservers) Address() string { return o.endpoints.Address() }

// Close implements observation. The periods have ended.
func (o *periodObservers) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() { o.ends.Wait(); close(done) }()
	defer o.endpoints.Close()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// peerConfig translates the settings of the links to the other nodes, and checks them. Receive and
// Incarnation are those of the node that opens them.
func (s *service) peerConfig(m *cluster.Membership, now cluster.Current) (peer.Config, error) {
	c := s.cfg
	pc := peer.Config{
		Cluster: m.Cluster, Node: m.Node, Incarnation: 1, Version: sluice.ReadBuild().String(), Listen: c.PeerListen,
		Peers: now.Peers, Receive: func(peer.Sender, peer.Lane, []byte) {}, Log: s.log,
	}
	if pc.Listen == "" {
		pc.Listen = now.Self.Peer
	}
	var err error
	if c.TLS() {
		if pc.TLS, err = peer.TLS(c.PeerCert, c.PeerKey, c.PeerCA); err != nil {
			return pc, config.Usagef("--peer-cert, --peer-key, --peer-ca: %v", err)
		}
	}
	if err := pc.Check(); err != nil {
		return pc, config.Usagef("--cluster, --peer-listen, --peer-cert, --peer-key, --peer-ca: %v", err)
	}
	return pc, nil
}
