package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"sluice/durability/raftlog"
)

// ID is the identity of a cluster. Nodes of another cluster are refused.
type ID [16]byte

// ParseID reads 32 hexadecimal digits, which must not all be 0.
func ParseID(text string) (id ID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) || ID(b) == (ID{}) {
		return id, fmt.Errorf("cluster: the identity %q: write %d hexadecimal digits, not all of them 0", text,
			2*len(id))
	}
	return ID(b), nil
}

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Member is one node of a cluster.
type Member struct {
	Node   uint8  // number, 1 to raftlog.MaxNode
	Peer   string // host:port where the other nodes reach it
	Client string // host:port that clients are given; they may connect from another network
}

// ParseMember reads NODE=PEER,CLIENT, such as 1=10.0.0.1:9870,10.0.0.1:9876.
func ParseMember(text string) (m Member, err error) {
	number, addresses, _ := strings.Cut(text, "=")
	peer, client, both := strings.Cut(addresses, ",")
	node, err := strconv.ParseUint(number, 10, 8)
	if err != nil || !both {
		return m, fmt.Errorf("cluster: member %q: write NODE=PEER,CLIENT, such as 1=10.0.0.1:9870,10.0.0.1:9876", text)
	}
	m = Member{uint8(node), peer, client}
	return m, m.check()
}

// String returns what ParseMember reads.
func (m Member) String() string { return fmt.Sprintf("%d=%s,%s", m.Node, m.Peer, m.Client) }

func (m Member) check() error {
	if m.Node < 1 || m.Node > raftlog.MaxNode {
		return fmt.Errorf("cluster: member %v has number %d: use 1 to %d", m, m.Node, raftlog.MaxNode)
	}
	if err := checkAddress(m.Peer); err != nil {
		return fmt.Errorf("cluster: node %d, address for the other nodes: %w", m.Node, err)
	}
	if err := checkAddress(m.Client); err != nil {
		return fmt.Errorf("cluster: node %d, address for clients: %w", m.Node, err)
	}
	return nil
}

// checkAddress reports why others cannot connect to an address. Names are not looked up.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, numErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || numErr != nil || n == 0:
		return fmt.Errorf("%q: write host:port with a port from 1 to 65535", address)
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == ',' || r == '=' || r > '~' }):
		return fmt.Errorf("%q: write a host name or an IP address", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q is where a process listens, and nobody can connect to it from another machine: "+
			"write the host name or the IP address of this node", address)
	}
	return nil
}

// Membership is what a data directory says of its cluster: which one it is, which node it is, and the members
// with which the cluster began. It does not change; who the members are now is in the log.
type Membership struct {
	Cluster    ID
	Node       uint8    // number of this node
	Generation uint8    // counts how often the number was given to another directory before
	Joined     bool     // the node was added later, and need not be one of Members
	Members    []Member // by rising number; 1, or 3 to raftlog.MaxVoters
}

// id is that of this node in the log.
func (m *Membership) id() uint64 { return raftlog.NodeID(m.Node, m.Generation) }

// first are the members with which the log begins.
func (m *Membership) first() raftlog.Members {
	var all []raftlog.Member
	for _, x := range m.Members {
		all = append(all, raftlog.Member{ID: uint64(x.Node), Info: infoOf(x, false)})
	}
	return raftlog.FirstMembers(all...)
}

// Self returns this node's entry.
func (m *Membership) Self() Member {
	self, _ := m.Member(m.Node)
	return self
}

// Member returns the entry of a node; false if it is no member.
func (m *Membership) Member(node uint8) (Member, bool) {
	i := slices.IndexFunc(m.Members, func(x Member) bool { return x.Node == node })
	if i < 0 {
		return Member{}, false
	}
	return m.Members[i], true
}

// Check reports what is wrong with a membership.
func (m *Membership) Check() error {
	if m.Cluster == (ID{}) {
		return errors.New("cluster: the identity of the cluster is zero")
	}
	switch n := len(m.Members); {
	case n == 0:
		return errors.New("cluster: no members: name each, this node included")
	case n == 2:
		return errors.New("cluster: two members: both would be needed for a majority, so the loss of either one " +
			"would stop the cluster; use one node, or three")
	case n > raftlog.MaxVoters:
		return fmt.Errorf("cluster: %d members: use one, or three to %d", n, raftlog.MaxVoters)
	}
	if _, ok := m.Member(m.Node); !ok && !m.Joined {
		return fmt.Errorf("cluster: node %d is none of the members: name it, with its addresses", m.Node)
	}
	uses := make(map[string]Member)
	last := uint8(0)
	for _, x := range m.Members {
		if err := x.check(); err != nil {
			return err
		}
		if x.Node <= last {
			return fmt.Errorf("cluster: node %d follows node %d: name each member once, by rising number", x.Node, last)
		}
		last = x.Node
		for _, address := range []string{x.Peer, x.Client} {
			if other, used := uses[strings.ToLower(address)]; used {
				return fmt.Errorf("cluster: %s is an address of node %d and of node %d: "+
					"each node needs one for the other nodes and one for clients", address, other.Node, x.Node)
			}
			uses[strings.ToLower(address)] = x
		}
	}
	return nil
}

// Form of the membership file: lines of words, the last one with the checksum of those before it.
const (
	fileHead = "sluice-cluster 1"
	fileNote = "# Written by sluice cluster init. To change anything here, make a new cluster."
)

// encode returns the membership file.
func (m *Membership) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\ncluster %s\nnode %d\n", fileHead, fileNote, m.Cluster, m.Node)
	if m.Joined {
		fmt.Fprintf(&b, "joined %d\n", m.Generation)
	}
	for _, x := range m.Members {
		fmt.Fprintf(&b, "member %v\n", x)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", checksum(b.Bytes()))
	return b.Bytes()
}

// decode reads a membership file.
func decode(file []byte) (m *Membership, err error) {
	lines, err := sealedLines(file, fileHead)
	if err != nil {
		return nil, err
	}
	m = new(Membership)
	for i, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "#":
		case "cluster":
			m.Cluster, err = ParseID(value)
		case "node":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 8)
			m.Node = uint8(n)
		case "joined":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 8)
			m.Joined, m.Generation = true, uint8(n)
		case "member":
			var x Member
			x, err = ParseMember(value)
			m.Members = append(m.Members, x)
		default:
			err = errors.New("it is unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", i+2, line, err)
		}
	}
	return m, m.Check()
}
