//go:build linux

package main

import (
	"fmt"
	"path/filepath"

	"sluice/actors/node/cluster"
	"sluice/cmd/internal/config"
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
	if err := c.MeetPolicy(len(m.Members)); err != nil {
		return err
	}
	if _, err := s.peerConfig(m); err != nil {
		return err
	}
	return config.Usagef("--cluster: serving as a member of a cluster is not in this program yet")
}

// peerConfig translates the settings of the links to the other nodes, and checks them. Receive and
// Incarnation are those of the node that opens them.
func (s *service) peerConfig(m *cluster.Membership) (peer.Config, error) {
	c := s.cfg
	pc := peer.Config{
		Cluster: m.Cluster, Node: m.Node, Incarnation: 1, Version: revision(), Listen: c.PeerListen,
		Peers: m.Peers(), Receive: func(peer.Sender, peer.Lane, []byte) {}, Log: s.log,
	}
	if pc.Listen == "" {
		pc.Listen = m.Self().Peer
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
