package config

import (
	"time"
)

// Cluster is the configuration of a member of a cluster. Who the members are is in the data
// directory, which `sluice cluster init` makes.
type Cluster struct {
	Member bool // serve as a member of a cluster

	PeerListen string // host:port for the other nodes; "" for this node's address in the membership
	PeerCert   string // path of this node's certificate; "" for links without TLS
	PeerKey    string // path of its key
	PeerCA     string // path of the authorities that sign the certificates of the nodes

	Election  time.Duration // a follower that hears nothing for this time stands for election
	DiskStall time.Duration // a leader whose disk takes longer hands over
}

// Defaults of a member: those of package raftlog, which this package does not link.
const (
	defaultElection  = 100 * time.Millisecond
	defaultDiskStall = time.Second
	mostNodes        = 7
)

func defaultCluster() Cluster {
	return Cluster{Election: defaultElection, DiskStall: defaultDiskStall}
}

// settings are the group Cluster of the help text.
func (c *Cluster) settings() []Setting {
	return []Setting{
		{Name: "cluster", Value: Bool(&c.Member),
			Help: "serve as a member of a cluster; `sluice cluster init` makes the data directory"},
		{Name: "peer-listen", Value: Text(&c.PeerListen, "ADDR"),
			Help: "listen for the other nodes on this host:port; empty for the address that the " +
				"membership gives this node"},
		{Name: "peer-cert", Value: Text(&c.PeerCert, "FILE"),
			Help: "present this PEM certificate to the other nodes, with the DNS name node-N of node N; " +
				"read again for each connection. Without it, all nodes must be on loopback"},
		{Name: "peer-key", Value: Text(&c.PeerKey, "FILE"),
			Help: "the private key of --peer-cert"},
		{Name: "peer-ca", Value: Text(&c.PeerCA, "FILE"),
			Help: "accept other nodes whose certificates are signed by an authority in this PEM file"},
		{Name: "election", Value: Duration(&c.Election, 40*time.Millisecond, 10*time.Second),
			Help: "stand for election when the leader is silent for one to two times this time; " +
				"the same on all nodes"},
		{Name: "disk-stall", Value: Duration(&c.DiskStall, 50*time.Millisecond, time.Minute),
			Help: "hand leadership over when the disk of the leader takes longer than this"},
	}
}

// TLS reports whether the links between the nodes use TLS.
func (c *Cluster) TLS() bool { return c.PeerCert != "" }

// validate rejects settings that only a member has, and half a configuration of TLS.
func (c *Cluster) validate() error {
	files := []struct{ flag, path string }{
		{"--peer-cert", c.PeerCert}, {"--peer-key", c.PeerKey}, {"--peer-ca", c.PeerCA}}
	if !c.Member {
		for _, f := range append(files, struct{ flag, path string }{"--peer-listen", c.PeerListen}) {
			if f.path != "" {
				return Usagef("%s is %q, which only a member of a cluster uses: add --cluster, or leave it out",
					f.flag, f.path)
			}
		}
		return nil
	}
	for _, f := range files {
		if (f.path != "") != c.TLS() {
			return Usagef("%s is %q, and --peer-cert %q: TLS between the nodes needs --peer-cert, --peer-key and "+
				"--peer-ca, and without TLS all three are left out", f.flag, f.path, c.PeerCert)
		}
	}
	if c.PeerListen == "" {
		return nil
	}
	const example = "10.0.0.1:9870"
	if _, err := checkAddress("--peer-listen", c.PeerListen, example); err != nil {
		return err
	}
	if sameTCP(c.PeerListen, c.PeerListen) {
		return nil
	}
	return Usagef("--peer-listen is %q: the other nodes need a port from 1 to 65535, such as %s", c.PeerListen, example)
}
