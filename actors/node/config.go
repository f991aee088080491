package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/secure"
	"sluice/transport/wire"
)

// Defaults of Config's zero fields.
const (
	DefaultMaxConnections = 1 << 14
	DefaultQueueBytes     = 4 << 20
	DefaultRingBytes      = 8 << 20
	DefaultSnapshotEvents = 1 << 20
	DefaultSnapshotBytes  = 256 << 20
	DefaultFailTimeout    = 5 * time.Second
	DefaultDrainTimeout   = 30 * time.Second
)

// Config describes a node. A zero field takes its default, except where it is required.
type Config[R, Q any] struct {
	// Application makes the state machine that the node runs, empty: Open restores it from the data
	// directory. The node calls it more than once, from any goroutine, and owns what it returns. Each
	// instance is used by one goroutine at a time, several instances at the same time, so they must
	// share nothing that changes, and all must have the same configuration. Required.
	Application func() sequencer.Application[R, Q]
	// Encoder writes the application's reports and answers as frames. The node calls it from three
	// goroutines at the same time: that of the pipeline's encoder, and the sequencer's and that of a
	// copy of the application, where reports are added to the digest of all outputs. So it must not change what it keeps, and equal reports
	// must have equal frames in every run. Required.
	Encoder encode.Encoder[R, Q]

	DataDir          string // holds the journal; created if missing; used by one node at a time; required
	DataDirMustExist bool   // open only a data directory that was opened before

	// Listen has the addresses (Endpoints, required) and everything about connections and requests
	// on their way in. The node sets Keys (from KeysFile, if that is named), NextID, Reserve,
	// Release, Fatal, and of Announce MaxResponse and Heartbeat. Its Spare is what the rest of the
	// process needs: the node adds SpareDescriptors.
	Listen   listen.Config
	TLS      secure.Files // certificate of the endpoints with TLS; the node sets Listen.TLS from it
	KeysFile string       // authorized keys; needed unless every endpoint is open

	// BeforeClients, if set, is called by Open with the recovered node, before the first client is
	// accepted. What a program opens beside its node, such as observers, it opens here: an error ends
	// Open, and no client has seen the server.
	BeforeClients func(Running) error

	Policy string // durability policy, a name or clauses; default local: the journal on this node's disk
	Nodes  int    // cluster size a policy may name, default durability.DefaultNodes; this node is alone in view
	// ForcePolicy opens the node although the policy can never be met: nothing is released until it is
	// swapped. A member of a cluster also opens with an exposed policy then, see durability.Class.
	ForcePolicy bool

	// Pipeline is the response stage: shards, placement, engine, limits, heartbeat, topics. The node
	// sets Policy, Log, OnFail, Barriers and Feedback.
	Pipeline actors.Config
	// EndpointLimits are the slow-client limits of single endpoints, by Endpoint.Name. The others
	// have Pipeline.Limits, of which there is at most one.
	EndpointLimits map[string]transport.Limits
	Journal        Journal
	Log            *slog.Logger // default slog.Default
	// Audit gets who did what, see auditfile: clients that came, were refused or were closed, and keys that
	// expired. Its handler must not block. Default nil: none.
	Audit *slog.Logger

	// Wall is the wall clock, ns since 1970: the time of events is made from it. Default time.Now.
	// It is called on the sequencer's goroutine.
	Wall func() int64

	QueueBytes     int           // size of the queue of requests, a power of two; if it is full, connections with requests are not read; default 4 MiB
	SnapshotEvents uint64        // snapshot the application every N events, on a copy of it; bounds journal and restart; default 1 Mi
	SnapshotBytes  uint64        // or every N bytes of events, whichever comes first; default 256 MiB
	FailTimeout    time.Duration // how long ending may take after a component failed; default 5 s
	DrainTimeout   time.Duration // how long Wait lets its drain take; default 30 s
}

// Journal configures the log on disk.
type Journal struct {
	SegmentBytes int64  // of a file of the log; default journal.DefaultSegmentBytes
	BatchBytes   int    // ends a group commit; default journal.DefaultBatchBytes; see also cluster.Config
	RingBytes    int    // of events on their way to the disk, a power of two; if it is full, the sequencer waits; default 8 MiB
	BeforeSync   func() // called on the journal's goroutine before each write and sync; tests hold the disk back with it
}

func (c Config[R, Q]) withDefaults() Config[R, Q] {
	orDefault(&c.Pipeline.MaxConnections, DefaultMaxConnections)
	orDefault(&c.Pipeline.Shards, actors.DefaultShards())
	orDefault(&c.Pipeline.MaxFrame, encode.DefaultMaxFrame)
	orDefault(&c.Pipeline.Heartbeat, actors.DefaultHeartbeat)
	orDefault(&c.Listen.MaxRequest, wire.DefaultMaxRequest)
	orDefault(&c.Nodes, durability.DefaultNodes)
	orDefault(&c.QueueBytes, DefaultQueueBytes)
	orDefault(&c.Journal.RingBytes, DefaultRingBytes)
	orDefault(&c.Journal.BatchBytes, journal.DefaultBatchBytes)
	orDefault(&c.SnapshotEvents, DefaultSnapshotEvents)
	orDefault(&c.SnapshotBytes, DefaultSnapshotBytes)
	orDefault(&c.FailTimeout, DefaultFailTimeout)
	orDefault(&c.DrainTimeout, DefaultDrainTimeout)
	orDefault(&c.Pipeline.MaxFrame, encode.DefaultMaxFrame)
	if c.Wall == nil {
		c.Wall = func() int64 { return time.Now().UnixNano() }
	}
	if c.Pipeline.Topics.Epoch == nil {
		c.Pipeline.Topics.Epoch = rand.Uint64
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Pipeline.Log = c.Log
	if c.Pipeline.Clock == (telemetry.Clock{}) {
		c.Pipeline.Clock = telemetry.NewClock()
	}
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// complete validates a configuration whose defaults are filled in, and reads what it names.
// nodes is how many nodes hold its events at most.
func (c *Config[R, Q]) complete(nodes int) error {
	switch {
	case c.Application == nil:
		return errors.New("node: Application is nil; give a function that makes the state machine that is to run")
	case c.Encoder == nil:
		return errors.New("node: Encoder is nil; give what writes the application's outputs as frames")
	}
	if c.DataDir == "" {
		return errors.New("node: DataDir is empty; name the directory that is to hold the journal")
	}
	if err := checkDataDir(c.DataDir); err != nil {
		return err
	}
	if c.KeysFile != "" {
		if c.Listen.Keys != nil {
			return errors.New("node: both KeysFile and Listen.Keys are set; set one of them")
		}
		keys, err := listen.ReadKeys(c.KeysFile)
		if err != nil {
			return err
		}
		c.Listen.Keys = keys
	}
	if c.TLS != (secure.Files{}) && c.Listen.TLS == nil {
		var err error
		if c.Listen.TLS, err = c.TLS.Load(); err != nil {
			return err
		}
	}
	if err := c.completePolicy(nodes); err != nil {
		return err
	}
	if err := c.CheckEvent(journal.MaxPayloadBytes); err != nil {
		return err
	}
	event := sequencer.EventHeader + c.Listen.MaxRequest - wire.RequestHeaderSize
	for _, ring := range []struct {
		name  string
		bytes int
	}{{"QueueBytes", c.QueueBytes}, {"Journal.RingBytes", c.Journal.RingBytes}} {
		if least := 2 * (event + 64); ring.bytes < least || ring.bytes > 1<<30 ||
			ring.bytes&(ring.bytes-1) != 0 {
			return fmt.Errorf("node: %s is %d; use a power of two from %d, for two of the "+
				"largest requests (Listen.MaxRequest is %d B), to 1 GiB",
				ring.name, ring.bytes, least, c.Listen.MaxRequest)
		}
	}
	if b := c.Journal.BatchBytes; b < 1 || b > 16<<20 {
		return fmt.Errorf("node: Journal.BatchBytes is %d; use 1 to %d", b, 16<<20)
	}
	for _, timeout := range []struct {
		name      string
		value, or time.Duration
	}{{"FailTimeout", c.FailTimeout, DefaultFailTimeout}, {"DrainTimeout", c.DrainTimeout,
		DefaultDrainTimeout}} {
		if timeout.value < 0 {
			return fmt.Errorf("node: %s is %v; use a positive duration, or 0 for %v", timeout.name,
				timeout.value, timeout.or)
		}
	}
	return nil
}

// CheckEvent refuses a Listen.MaxRequest whose event has more bytes than the journal takes, which is at most
// journal.MaxPayloadBytes.
func (c *Config[R, Q]) CheckEvent(takes int) error {
	request := cmp.Or(c.Listen.MaxRequest, wire.DefaultMaxRequest)
	if most := takes - sequencer.EventHeader + wire.RequestHeaderSize; request > most {
		return fmt.Errorf("node: Listen.MaxRequest is %d B; an event of that size does not fit the journal, "+
			"which takes %d B: use at most %d B", request, takes, most)
	}
	return nil
}

// completePolicy parses the policy and refuses one that can never be met (R7).
func (c *Config[R, Q]) completePolicy(nodes int) error {
	p := durability.Default(0)
	if c.Policy != "" {
		var err error
		if p, err = durability.Parse(c.Policy, c.Nodes); err != nil {
			return err
		}
	}
	c.Pipeline.Policy = p
	if err := p.MetBy(nodes); err != nil && !c.ForcePolicy {
		return fmt.Errorf("node: policy %q: %w; this node has no replicas; use local, or force "+
			"it (ForcePolicy), and nothing is answered until the policy is swapped",
			p, err)
	}
	return nil
}
