package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/node"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport/listen"
	"sluice/transport/peer"
	"sluice/transport/secure"
)

// DefaultDrainSpread is the time over which a leader that has handed its leadership over closes its
// clients: at once, since another node serves them already. A longer one of less than a tick of the
// pipeline would cost a whole tick.
const DefaultDrainSpread = time.Nanosecond

// Config describes a member of a cluster. Node is required.
type Config[R, Q any] struct {
	// Node is what a single node is configured with. DataDir is that of a member, see Init. The default
	// of Policy is persisted on a majority, that of Pipeline.Egress.DrainSpread is DefaultDrainSpread.
	// Nodes and Listen.Direct are set here. BeforeClients is called for the node of each period, see Node;
	// an error of the first one ends Open. Journal.BatchBytes is that of raftlog.Options, and the event of
	// Listen.MaxRequest has at most raftlog.MaxEventBytes.
	Node node.Config[R, Q]

	PeerListen string        // host:port where the other nodes are accepted; default: this member's own address for them
	TLS        *tls.Config   // of peer.TLS; nil only if all members are on loopback
	Version    string        // of the program, for the other nodes' status
	Election   time.Duration // default raftlog.DefaultElection
	DiskStall  time.Duration // default raftlog.DefaultDiskStall
}

// Node is a member of a cluster that runs. It serves clients while it leads, and directs them to the
// leader otherwise.
//
//	period:  following ----> leading ----> following ....
//	         a node that     a node with   (its state goes on, or is rebuilt)
//	         directs         an office
//
// Each period has a node of its own, on sockets that stay open. A Node is a node.Running: what it says
// of clients and measurements is said by the node of the present period, whose counters begin at zero.
//
// Any method may be called from any goroutine. Its groups of fields are, in this order: what it was given;
// journal, log and links; and the executor with the present period, and the end.
type Node[R, Q any] struct {
	cfg     Config[R, Q]
	members *Membership
	id      uint64 // of this node in the log
	table   membership
	changes changes
	log     *slog.Logger
	clock   telemetry.Clock

	journal *journal.Journal
	found   *journal.Recovery
	store   *raftlog.JournalStore
	writes  *watchedStore // the same, for the log
	beats   beats
	figures figures
	raft    *raftlog.Node
	runner  *run.Runner
	signal  *mailbox.Signal // of the runner's group
	stop    atomic.Bool     // ends the runner
	links   *peer.Links
	bulk    *bulk
	release func() // of the clients' sockets
	ids     atomic.Uint64
	reloads reloads

	machine  *machine[R, Q]      // the executor's
	poisoned map[uint64]struct{} // requests on which the application panicked; the executor's
	taken    atomic.Uint64       // last event of the log that the machine has taken, or executed as the leader
	now      atomic.Pointer[period[R, Q]]
	leading  atomic.Pointer[raftlog.Leadership] // while it has a period
	heir     atomic.Uint64                      // node that Transfer named for the handover under way; 0 for the fittest
	ending   *ending
	wg       sync.WaitGroup // store, executor, snapshots
}

// Open starts a member of the cluster to which the data directory belongs. It returns once the member
// takes part; a leader need not be known yet. ctx bounds the opening. After an error nothing is left
// open.
func Open[R, Q any](ctx context.Context, cfg Config[R, Q]) (*Node[R, Q], error) {
	p, err := Prepare(cfg)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx)
}

// Prepared is a member whose configuration is valid and whose addresses for clients are bound. Of the
// data directory, only the membership file was read.
type Prepared[R, Q any] struct{ node *Node[R, Q] }

// Prepare checks a configuration and binds the addresses for clients, so that a program knows early what
// would end the opening. Open or Close the result. After an error nothing is left open.
func Prepare[R, Q any](cfg Config[R, Q]) (*Prepared[R, Q], error) {
	members, err := ReadMembership(cfg.Node.DataDir)
	if err != nil {
		return nil, err
	}
	t, err := readTable(cfg.Node.DataDir, members)
	if err != nil {
		return nil, err
	}
	if err := takesPart(members, t); err != nil {
		return nil, err
	}
	m := &Node[R, Q]{cfg: cfg, members: members, id: members.id(), log: cfg.Node.Log, ending: newEnding(),
		poisoned: make(map[uint64]struct{})}
	m.table.init(t)
	if m.log == nil {
		m.log = slog.Default()
	}
	m.complete()
	if err := node.CheckOffice(m.cfg.Node); err != nil {
		return nil, err
	}
	if err := errors.Join(m.cfg.Node.CheckEvent(raftlog.MaxEventBytes), m.checkClass()); err != nil {
		return nil, err
	}
	if b := m.cfg.Node.Journal.BatchBytes; b > raftlog.MaxBatchBytes {
		return nil, fmt.Errorf("cluster: Journal.BatchBytes is %d; use at most %d, or 0 for %d", b,
			raftlog.MaxBatchBytes, raftlog.DefaultBatchBytes)
	}
	links := m.linksConfig()
	if err := links.Check(); err != nil {
		return nil, err
	}
	return &Prepared[R, Q]{m}, m.holdSockets()
}

// Close releases the addresses of a member that is not to be opened.
func (p *Prepared[R, Q]) Close() error {
	p.node.release()
	return nil
}

// Open is Open for a prepared member. It is called once; Close is not called afterwards.
func (p *Prepared[R, Q]) Open(ctx context.Context) (_ *Node[R, Q], err error) {
	m := p.node
	defer func() {
		if err != nil {
			m.abandon()
		}
	}()
	if err := m.openLog(); err != nil {
		return nil, err
	}
	if err := m.openLinks(); err != nil {
		return nil, err
	}
	m.start()
	if err := m.follow(ctx); err != nil {
		return nil, err
	}
	m.wg.Go(m.execute)
	m.wg.Go(m.snapshots)
	m.wg.Go(m.watchPolicy)
	m.wg.Go(m.watchMembers)
	m.wg.Go(m.learners)
	m.ending.ready.Store(true)
	return m, nil
}

// complete fills in defaults, and what a member sets itself.
func (m *Node[R, Q]) complete() {
	c := &m.cfg
	if c.PeerListen == "" {
		self, _ := m.table.load().byID(m.id)
		c.PeerListen = self.Peer
	}
	c.Node.Log = m.log
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.Node.FailTimeout, node.DefaultFailTimeout)
	or(&c.Node.DrainTimeout, node.DefaultDrainTimeout)
	or(&c.Node.Pipeline.Egress.DrainSpread, DefaultDrainSpread)
	if c.Node.SnapshotEvents == 0 {
		c.Node.SnapshotEvents = node.DefaultSnapshotEvents
	}
	if c.Node.SnapshotBytes == 0 {
		c.Node.SnapshotBytes = node.DefaultSnapshotBytes
	}
	if c.Node.Pipeline.Clock == (telemetry.Clock{}) {
		c.Node.Pipeline.Clock = telemetry.NewClock()
	}
	m.clock = c.Node.Pipeline.Clock
}

// Bits of a connection id: node, generation, incarnation, counter.
const (
	incarnationBits = 14
	generationBits  = 4
	nodeShift       = node.IDBits + incarnationBits + generationBits
)

// openLog opens journal, log and state machine.
func (m *Node[R, Q]) openLog() (err error) {
	dir := m.cfg.Node.DataDir
	m.journal, m.found, err = journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"),
		SegmentBytes: m.cfg.Node.Journal.SegmentBytes, Logger: m.log, BeforeSync: m.cfg.Node.Journal.BeforeSync})
	if errors.Is(err, journal.ErrBackup) {
		err = fmt.Errorf("cluster: %s is a backup, and a member never goes back to one: make a new "+
			"cluster from it with "+
			"sluice cluster restore", dir)
	}
	if err != nil {
		return raftlog.Damaged(err)
	}
	if m.found.Incarnation >= 1<<incarnationBits {
		return fmt.Errorf("cluster: %s was opened %d times; connection ids have room for %d starts: "+
			"replace this node with sluice cluster replace", dir,
			m.found.Incarnation, 1<<incarnationBits-1)
	}
	m.ids.Store(uint64(m.members.Node)<<nodeShift |
		uint64(m.members.Generation)<<(node.IDBits+incarnationBits) | m.found.Incarnation<<node.IDBits)
	m.store = raftlog.NewJournalStore(m.journal, m.found, func() { m.figures.commits.Add(1) })
	m.writes = &watchedStore{JournalStore: m.store}
	idle := &tickingIdle{run.NewAdaptive(), raftlog.DefaultTick}
	m.raft, err = raftlog.Open(raftlog.Options{
		ID: m.id, First: m.members.first(), OnMembers: m.table.changed, Store: m.writes, Send: m.send, Wake: idle.Wake,
		SendSnapshot: func(to uint64, newest raftlog.Meta, frame []byte) { m.bulk.Send(to, newest, frame) },
		Election:     m.cfg.Election, DiskStall: m.cfg.DiskStall, BatchBytes: m.cfg.Node.Journal.BatchBytes, Log: m.log,
	})
	if err != nil {
		return err
	}
	group := run.NewGroup("log", idle, &logActor{m.raft, &m.stop, &m.beats.log})
	m.signal, m.runner = group.Signal(), run.NewRunner(m.clock.Now, m.fail, group)
	m.machine, err = newMachine(m.fresh, m.cfg.Node.Encoder, past{m.store, m.raft})
	if err != nil {
		return err
	}
	m.machine.pace = func() error { m.beats.executor.Begin(); return nil }
	return nil
}

// past is the history of a member.
type past struct {
	*raftlog.JournalStore
	*raftlog.Node
}

// holdSockets binds the addresses for clients, and reads the keys and the certificate.
func (m *Node[R, Q]) holdSockets() (err error) {
	held := m.cfg.Node.Listen
	if file := m.cfg.Node.KeysFile; file != "" {
		if held.Keys, err = listen.ReadKeys(file); err != nil {
			return err
		}
		m.reloads.keys = held.Keys
	}
	if files := m.cfg.Node.TLS; files != (secure.Files{}) {
		if held.TLS, err = files.Load(); err != nil {
			return err
		}
		m.reloads.tls = held.TLS
	}
	m.cfg.Node.Listen.Endpoints, m.release, err = listen.Hold(held)
	return err
}

// linksConfig is the configuration of the links, as far as it is known before the journal is open.
func (m *Node[R, Q]) linksConfig() peer.Config {
	return peer.Config{Cluster: m.members.Cluster, Node: m.members.Node, Generation: m.members.Generation,
		Incarnation: 1, Version: m.cfg.Version, Listen: m.cfg.PeerListen, Peers: m.table.load().peers(m.id),
		TLS: m.cfg.TLS, Receive: m.receive, OnState: m.link, Table: m.table.text, OnTable: m.learn,
		Removed: m.removed, OnRemoved: m.refusedForGood, Log: m.log}
}

// openLinks binds the address for the other nodes, and makes what sends snapshots to them.
func (m *Node[R, Q]) openLinks() (err error) {
	c := m.linksConfig()
	others, err := readKnown(m.cfg.Node.DataDir)
	if err != nil {
		return err
	}
	c.Incarnation, c.Directory, c.Known = m.found.Incarnation, m.found.Directory, others.check
	if c.Starts, err = begin(m.cfg.Node.DataDir, m.found.Incarnation); err != nil {
		return err
	}
	if m.links, err = peer.New(c); err != nil {
		return err
	}
	m.bulk, err = newBulk(bulkOptions{dir: filepath.Join(m.cfg.Node.DataDir, "incoming"),
		send:   func(to uint8, frame []byte) bool { return m.links.Send(to, peer.Bulk, frame) },
		newest: m.store.Newest, log: m.log,
		report: func(to uint64, sent bool) {
			count(sent, &m.figures.sent, &m.figures.unsent)
			m.raft.ReportSnapshot(m.idOf(uint8(to)), sent)
		},
		receive: func(from peer.Sender, frame []byte, content raftlog.Received) error {
			err := m.raft.ReceiveSnapshot(raftlog.NodeID(from.Node, from.Generation), from.Incarnation, frame, content)
			count(err == nil, &m.figures.received, &m.figures.unreceived)
			return err
		}})
	return err
}

// link takes notice of a link to another node.
func (m *Node[R, Q]) link(to uint8, lane peer.Lane, up bool) {
	if lane == peer.Bulk {
		m.bulk.Link(to, up)
	}
}

// start starts what the log needs.
func (m *Node[R, Q]) start() {
	m.wg.Go(func() {
		if err := m.store.Run(); err != nil {
			m.awaitLog() // a leader hands over first
			m.fail(fmt.Errorf("cluster: nothing more is acknowledged by this node: %w", err))
		}
	})
	m.figures.usage, m.figures.snap.since = node.NewUsage(m.cfg.Node.DataDir), time.Now()
	go m.figures.usage.Watch(m.cfg.Node.DataDir, m.ending.closing) // not waited for: the disk may hang
	m.links.Start()
	m.runner.Start()
}

// logEnd is how long a log whose store has failed may take to end by itself.
const logEnd = 500 * time.Millisecond

// awaitLog waits until the log has ended.
func (m *Node[R, Q]) awaitLog() {
	ended := make(chan struct{})
	go func() {
		_ = m.runner.Wait() // fail has the error
		close(ended)
	}()
	late := time.NewTimer(logEnd)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}

// fresh makes an empty application with the configuration of the data directory.
func (m *Node[R, Q]) fresh() (app application[R, Q], err error) {
	if app = m.cfg.Node.Application(); app == nil {
		return nil, errors.New("cluster: Application returned nil; return an empty state machine")
	}
	return app, raftlog.Damaged(node.Genesis(m.cfg.Node.DataDir, m.found.Directory, m.found.Last, app))
}

// send sends a frame of the log to another node.
func (m *Node[R, Q]) send(to uint64, lane raftlog.Lane, frame []byte) {
	if to == m.idOf(uint8(to)) { // else it is on its way out, and another directory has its number
		m.links.Send(uint8(to), peer.Lane(lane), frame) // a frame that is dropped is sent again
	}
}

// receive takes a frame of another node.
func (m *Node[R, Q]) receive(from peer.Sender, lane peer.Lane, frame []byte) {
	if lane == peer.Bulk {
		m.bulk.Receive(from, frame)
		return
	}
	if err := m.raft.Receive(raftlog.NodeID(from.Node, from.Generation), from.Incarnation, frame); err != nil {
		m.log.Warn("frame of another node was dropped", "node", from.Node, "lane", lane, "error", err)
	}
}

// abandon releases what a failed Open left.
func (m *Node[R, Q]) abandon() {
	m.ending.begin()
	m.close(context.Background())
}

// Membership is which node of which cluster this is.
func (m *Node[R, Q]) Membership() *Membership { return m.members }

// Log is the state of the log, as of the last tick or change of leadership.
func (m *Node[R, Q]) Log() raftlog.Status { return m.raft.Status() }

// Links describes the connections to the other nodes.
func (m *Node[R, Q]) Links() []peer.Status { return m.links.Status() }
