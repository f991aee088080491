package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
)

// MaxNode is the highest node number. The lowest is 1.
const MaxNode = 31

// Lane is a kind of traffic, which has a connection of its own.
type Lane uint8

const (
	Control Lane = iota + 1 // short and urgent: a full queue drops its oldest frame
	Append                  // the log: a full queue drops the new frame
	Bulk                    // snapshots: a full queue drops the new frame, and Send says so
)

// lanes is the number of lanes.
const lanes = int(Bulk)

func (l Lane) valid() bool { return l >= Control && l <= Bulk }

// String returns the lane's name in lower case.
func (l Lane) String() string {
	switch l {
	case Control:
		return "control"
	case Append:
		return "append"
	case Bulk:
		return "bulk"
	}
	return fmt.Sprintf("lane %d", uint8(l))
}

// Sender is the node that a frame comes from, as its Hello said.
type Sender struct {
	Node        uint8
	Generation  uint8
	Incarnation uint64
}

// Data says which data a process of a node runs on, and which starts there were on it.
type Data struct {
	Directory   [16]byte // Config.Directory
	Generation  uint8    // Config.Generation
	Incarnation uint64   // Config.Incarnation: it rises with each start on the data
	Starts      []uint32 // Config.Starts
}

// Config is the configuration of Links.
type Config struct {
	Cluster     [16]byte // identity of the cluster; nodes of another one are refused
	Node        uint8    // number of this node, 1..MaxNode
	Generation  uint8    // of this node's id
	Incarnation uint64   // count of this node's starts, from 1
	Directory   [16]byte // identity of this node's data, which a node that lost its disk does not have any more
	// a random number of each start on the data, this one the last, for Known of the others; at most 16,383
	Starts  []uint32
	Version string // of the program, for Status and the texts of refusals; at most 255 bytes

	Listen string         // host:port; port 0 picks a free one
	Socket net.Listener   // if set, used instead of Listen; Links closes it
	Peers  map[uint8]Peer // the other nodes, by number; SetPeers changes them

	// TLS is the configuration of both directions, usually made by the function TLS. It may be nil
	// only if this node listens on loopback and all peers are on loopback.
	TLS *tls.Config

	// Receive is called for each frame by the reading goroutine of its connection: never twice at a
	// time for one node and lane, whatever SetPeers changes meanwhile. It may be called a little longer for
	// a node that SetPeers has removed. The frame is valid during the call. While Receive blocks, TCP holds
	// that lane of that sender back; after 5 seconds, the sender reconnects. It must not call Close.
	Receive func(from Sender, lane Lane, frame []byte)

	// OnState, if set, is called with true when a link to a node is up, and with false when frames
	// that Send accepted may be lost: the link broke, or could not be made while frames waited. The
	// calls for one node and lane come from one goroutine at a time, in order, whatever SetPeers changes
	// meanwhile. It must neither block for long nor call Close.
	OnState func(to uint8, lane Lane, up bool)

	// Known, if set, reports why the data of a node cannot be what it says, for the text of a refusal: it
	// had other data before, or is an older copy. It is called for each connection, by any goroutine, and
	// may wait for a disk.
	Known func(node uint8, data Data) error

	// Table, if set, is what each Hello says of the members: at most 12 KiB. OnTable is called with that of
	// another node, before it is judged whether that node is a peer; it may call SetPeers. Removed, if set,
	// reports that an id was that of a member once; such a node is told so, and its OnRemoved is called
	// with the refusal. All by any goroutine.
	Table     func() []byte
	OnTable   func(from uint8, table []byte)
	Removed   func(node, generation uint8) bool
	OnRemoved func(text string)

	Log *slog.Logger // nil: none

	// Bounds of the queue of each peer and lane. 0 chooses the default. What is being written comes
	// on top, and is at most as much again.
	ControlFrames int // default 1,024
	AppendBytes   int // default 8 MiB
	BulkBytes     int // default 1 MiB
}

// listenAddress returns the address of this node.
func (c *Config) listenAddress() string {
	if c.Socket != nil {
		return c.Socket.Addr().String()
	}
	return c.Listen
}

func (c *Config) setDefaults() {
	if c.ControlFrames == 0 {
		c.ControlFrames = 1024
	}
	if c.AppendBytes == 0 {
		c.AppendBytes = 8 << 20
	}
	if c.BulkBytes == 0 {
		c.BulkBytes = 1 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Check reports all mistakes in a configuration, among them a certificate of this node that the others
// would refuse. New calls it.
func (c *Config) Check() error {
	var bad []error
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	add(c.Cluster == [16]byte{}, "Cluster is zero: every cluster needs an identity of its own")
	add(c.Node < 1 || c.Node > MaxNode, "Node is %d: want 1 to %d", c.Node, MaxNode)
	add(c.Incarnation == 0, "Incarnation is 0: it counts the starts of this node, from 1")
	add(len(c.Starts) > maxStarts, "Starts has %d starts: at most %d", len(c.Starts), maxStarts)
	add(len(c.Version) > maxVersion, "Version has %d bytes: at most %d", len(c.Version), maxVersion)
	add(c.Receive == nil, "Receive is nil: frames need a consumer")
	add(c.ControlFrames < 0 || c.AppendBytes < 0 || c.BulkBytes < 0,
		"ControlFrames is %d, AppendBytes %d, BulkBytes %d: a bound is positive, or 0 for its default",
		c.ControlFrames, c.AppendBytes, c.BulkBytes)
	if c.TLS != nil {
		if err := c.checkTLS(); err != nil {
			bad = append(bad, err)
		}
	} else {
		add(!loopback(c.listenAddress()), notLoopback, c.listenAddress())
	}
	return errors.Join(append(bad, c.checkPeers())...)
}

const notLoopback = "%q is not a loopback address, and TLS is nil: nodes on different machines need certificates"

// checkPeers reports what is wrong with the peers.
func (c *Config) checkPeers() error {
	var bad []error
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	for n, p := range c.Peers {
		add(n < 1 || n > MaxNode, "Peers has node %d: want 1 to %d", n, MaxNode)
		add(n == c.Node, "Peers has node %d, which is this node: leave it out", n)
		_, _, err := net.SplitHostPort(p.Address)
		add(err != nil, "the address %q of node %d: %w", p.Address, n, err)
		add(c.TLS == nil && !loopback(p.Address), notLoopback, p.Address)
	}
	return errors.Join(bad...)
}

// loopback reports whether an address cannot be reached from another machine.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}
