package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/mailbox"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// Node is a running application with clients, a journal and the response pipeline, in one process.
// R is the type of the application's reports and Q that of its answers to queries.
//
//	Open -> Wait, or Drain | Stop | Fence
//
// Any method may be called from any goroutine at any time, including after the node has ended.
//
// Its groups of fields are, in this order: what it was given, and who connects; the events and their
// keeper; what executes and answers them; and operators and the end.
type Node[R, Q any] struct {
	cfg        Config[R, Q]
	log        *slog.Logger
	lines      lineLimits // limits of log lines about single connections
	audit      audit
	listener   *listen.Server
	addresses  []string
	ids        *atomic.Uint64 // last connection id given out; written by readers
	base       uint64         // ids when the node began: what is above IDBits stays the same
	clients    *clients
	office     *Office[R, Q]    // in place of a store; nil on a single node
	store      *store           // nil with an office
	state      *sequencer.State // recovered; the sequencer's from then on
	cursors    *durability.Cursors
	queue      *sequencer.Queue
	app        sequencer.Application[R, Q]
	jumps      chan clockJump
	identities *identities
	sequencer  *sequencer.Sequencer[R, Q]
	runner     *run.Runner // of the sequencer
	snapshots  *sequencer.Snapshots
	pipeline   *actors.Pipeline[R, Q]
	operators  operators
	swaps      policySwaps
	sequenced  chan struct{} // closed when the sequencer's goroutine has ended
	ending     *ending
}

// Open recovers the application from the data directory, then listens and serves. It returns once
// clients are accepted. ctx bounds the opening only; a long recovery ends when it is cancelled.
// After an error nothing is left running or open.
func Open[R, Q any](ctx context.Context, cfg Config[R, Q]) (*Node[R, Q], error) {
	p, err := Prepare(cfg)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx)
}

// Prepared is a node whose configuration is valid and whose addresses are bound. It has not touched
// the data directory, and no client can connect.
type Prepared[R, Q any] struct{ node *Node[R, Q] }

// Prepare checks a configuration and binds the addresses, so that a program knows early what would
// end the opening of its node. Open or Close the result. After an error nothing is left open.
func Prepare[R, Q any](cfg Config[R, Q]) (*Prepared[R, Q], error) { return prepare(cfg, nil) }

// prepare is Prepare; office is nil for a node with a data directory of its own.
func prepare[R, Q any](cfg Config[R, Q], office *Office[R, Q]) (*Prepared[R, Q], error) {
	cfg = cfg.withDefaults()
	nodes := 1
	if office != nil {
		nodes = cfg.Nodes
	}
	if err := cfg.complete(nodes); err != nil {
		return nil, err
	}
	n := &Node[R, Q]{cfg: cfg, log: cfg.Log, office: office, sequenced: make(chan struct{}),
		ending: newEnding(), jumps: make(chan clockJump, 1),
		clients: newClients(2*cfg.Pipeline.MaxConnections + 64), operators: newOperators(),
		swaps: policySwaps{adopted: make(chan durability.Seq, 1)}, audit: audit{to: cfg.Audit},
	}
	if office != nil {
		n.app, n.cursors = office.Application, office.Cursors
	} else {
		n.app, n.cursors, n.ids = cfg.Application(), durability.NewCursors(0), new(atomic.Uint64)
	}
	app := n.app
	if app == nil {
		return nil, errors.New("node: Application returned nil; return an empty state machine")
	}
	if _, err := sequencer.NewTable(app.Requests()); err != nil {
		return nil, err
	}
	if err := n.limits(); err != nil {
		return nil, err
	}
	if err := n.cfg.Pipeline.Check(); err != nil {
		return nil, err
	}
	if err := n.newListener(); err != nil {
		return nil, err
	}
	if err := n.listener.Bind(); err != nil {
		return nil, err
	}
	return &Prepared[R, Q]{n}, nil
}

// Close releases the addresses of a node that is not to be opened.
func (p *Prepared[R, Q]) Close() error { return p.node.listener.Close() }

// Open is Open for a prepared node. It is called once; Close is not called afterwards.
func (p *Prepared[R, Q]) Open(ctx context.Context) (*Node[R, Q], error) {
	n := p.node
	if err := n.build(ctx); err != nil {
		n.unbuild()
		n.ending.finish(err)
		return nil, err
	}
	n.run()
	if err := n.begin(ctx); err != nil {
		return nil, err
	}
	n.listener.Serve()
	n.ending.ready.Store(true)
	if n.ending.first() != nil { // a component failed meanwhile
		n.ending.ready.Store(false)
	}
	close(n.ending.opened)
	if n.office == nil {
		n.Announce()
	}
	n.warn()
	return n, nil
}

// Announce logs that the node serves. The owner of a node with an office calls it; others have it from Open.
func (n *Node[R, Q]) Announce() {
	n.log.Info("serving", "addresses", n.addresses, "engine", n.pipeline.Diagnosis().Engine,
		"policy", n.Policy().Current().String(),
		"last_event", uint64(n.sequencer.Sequenced()), "incarnation", n.base>>IDBits)
}

// SpareDescriptors is how many file descriptors a node opens at the same time, at most, beside its
// clients and what it keeps open: for its journal, and for the keys file when it is read again. Its
// listener keeps as many beyond Config.Listen.Spare.
const SpareDescriptors = journal.SpareDescriptors + 2

// newListener checks the configuration of the listener and makes it. It opens nothing.
func (n *Node[R, Q]) newListener() error {
	c := n.cfg.Listen
	c.NextID = func() uint64 { return n.ids.Add(1) }
	h := (*handler[R, Q])(n)
	c.Reserve, c.Release = h.reserve, h.unreserve
	c.Announce.MaxResponse = min(max(n.cfg.Pipeline.MaxFrame-wire.PrefixSize, 1), wire.MaxResponse)
	c.Announce.Heartbeat = n.cfg.Pipeline.Heartbeat
	c.Fatal = n.fail
	c.Refused = n.refused(c.Refused)
	c.Exhausted = n.exhausted(c.Exhausted)
	c.Spare = cmp.Or(c.Spare, listen.DefaultSpare) + SpareDescriptors
	var err error
	n.listener, err = listen.New(c, h)
	return err
}

// build makes everything. Only the pipeline runs already, and the goroutine for snapshots waits.
func (n *Node[R, Q]) build(ctx context.Context) error {
	pc := n.cfg.Pipeline
	pc.OnFail = n.fail
	pc.OnNotice = n.notice(pc.OnNotice)
	var err error
	sc := sequencer.Config[R, Q]{Application: n.app, Encoder: n.cfg.Encoder, MaxFrame: n.cfg.Pipeline.MaxFrame,
		Wall: n.cfg.Wall, OnClockJump: n.jumped,
		SnapshotEvents: n.cfg.SnapshotEvents, SnapshotBytes: n.cfg.SnapshotBytes}
	sc.Clients = func(number uint32) *listen.Identity { return n.identities.client(number) }
	n.topics(&sc, &pc)
	if n.office != nil {
		n.office.configure(&sc, &pc)
		sc.OnPolicy = n.adoptPolicy
	}
	if n.office == nil {
		if pc.Policy, err = n.lastPolicy(); err != nil {
			return err
		}
	}
	if n.pipeline, err = actors.Open(pc, n.cfg.Encoder, n.cursors); err != nil {
		return err
	}
	if n.office != nil {
		n.adopt()
	} else if err := errors.Join(n.recover(ctx), n.settlePolicy(pc.Policy)); err != nil {
		return err
	}
	if err := n.listener.Listen(); err != nil {
		return err
	}
	n.addresses = n.listener.Addresses()
	queue, requests := sequencer.NewQueue(n.cfg.QueueBytes)
	ring, events := mailbox.NewBytes(n.cfg.Journal.RingBytes)
	n.queue = queue
	queue.OnRoom(n.listener.Resume)
	if n.store != nil {
		n.store.newCommitter(events, n.cfg.Journal.BatchBytes, n.persisted)
		n.snapshots = sequencer.NewSnapshots(n.copied, n.store.snapshots.failed)
	} else {
		n.office.Propose(events)
	}
	group := run.NewGroup("sequencer", run.NewAdaptive())
	sc.State, sc.Requests, sc.Journal, sc.Slots = n.state, requests, ring, n.pipeline.Slots()
	sc.Signal, sc.Now, sc.Snapshots = group.Signal(), n.pipeline.Now, n.snapshots
	if n.sequencer, err = sequencer.New(sc); err != nil {
		return err
	}
	beating := &beating{Actor: n.sequencer}
	group.Actors = append(group.Actors, beating)
	n.runner = run.NewRunner(n.pipeline.Now, n.fail, group)
	n.gauges()
	n.watch(&beating.Beat)
	return nil
}

// unbuild releases what a failed build left.
func (n *Node[R, Q]) unbuild() {
	if n.pipeline != nil {
		ctx, cancel := context.WithTimeout(context.Background(), n.cfg.FailTimeout)
		defer cancel()
		_ = n.pipeline.Stop(ctx) // the error that ended the build is the one to report
	}
	_ = n.listener.Close()
	if n.snapshots != nil {
		n.snapshots.Close()
		<-n.snapshots.Done() // at once: it was asked for none
	}
	if n.store != nil && n.store.journal != nil {
		if err := n.store.journal.Close(); err != nil {
			n.log.Error("closing the journal failed", "error", err)
		}
	}
}

// run starts every goroutine but the readers.
func (n *Node[R, Q]) run() {
	if n.store != nil {
		go func() {
			defer close(n.store.committed)
			if err := n.commit(); err != nil {
				n.fail(fmt.Errorf("node: nothing more is acknowledged: %w", err))
			}
		}()
		go n.store.usage.Watch(n.cfg.DataDir, n.ending.ended)
	}
	n.runner.Start()
	go func() {
		defer close(n.sequenced)
		_ = n.runner.Wait() // fail has been called with the error
	}()
	go n.collect()
}

// begin waits until the sequencer has journaled and applied the events of the start: from then on no
// connection of an earlier run is left. Then it calls BeforeClients. After an error the node has ended.
func (n *Node[R, Q]) begin(ctx context.Context) error {
	select {
	case <-n.sequencer.Opened():
		err := n.beforeClients()
		if err == nil {
			return nil
		}
		n.ending.keep(err)
	case <-n.sequenced: // it failed
	case <-n.ending.hurried.Done(): // another component failed
	case <-ctx.Done():
		n.ending.keep(fmt.Errorf("node: opening %s: %w", n.cfg.DataDir, context.Cause(ctx)))
	}
	close(n.ending.opened)
	end, cancel := context.WithTimeout(context.Background(), n.cfg.FailTimeout)
	defer cancel()
	return n.Stop(end)
}

func (n *Node[R, Q]) beforeClients() error {
	if n.cfg.BeforeClients == nil {
		return nil
	}
	return n.cfg.BeforeClients(n)
}

// commit is the journal's goroutine. A panic in it must end the node and not the process, so that
// what is on disk is still answered.
func (n *Node[R, Q]) commit() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("node: the journal's goroutine panicked: %v\n%s", v, debug.Stack())
		}
		n.store.beat.End()
	}()
	n.store.beat.Begin()
	return n.store.committer.Run()
}

// persisted moves the persisted cursor, which opens the gate. It is called on the journal's
// goroutine.
func (n *Node[R, Q]) persisted(seq durability.Seq) {
	if sequenced := n.sequencer.Sequenced(); seq > sequenced {
		panic(fmt.Sprintf("node: the journal persisted event %d, the sequencer is at %d: they do "+
			"not count alike", seq, sequenced))
	}
	n.store.persisted.Store(uint64(seq))
	if wanted := n.store.wanted.Load(); wanted != 0 && uint64(seq) >= wanted {
		token(n.store.reached)
	}
	n.cursors.SetPersisted(seq)
}

// warn logs what an operator may not have meant.
func (n *Node[R, Q]) warn() {
	for _, open := range n.listener.Exposure() {
		n.log.Warn("open endpoint", "endpoint", open)
	}
	var v durability.View
	if policy := n.Policy().Current(); n.cursors.Snapshot(&v) && policy.Evaluate(&v).NoWait {
		n.log.Warn("the policy waits for nothing; a response may leave before its event is on disk",
			"policy", policy.String())
	}
}

// Wait returns when the node has ended, with Err. When ctx ends first, it drains the node, for
// DrainTimeout at most.
func (n *Node[R, Q]) Wait(ctx context.Context) error {
	select {
	case <-n.ending.ended:
		return n.Err()
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.DrainTimeout)
	defer cancel()
	return n.Drain(drain)
}

// Addresses returns the bound addresses, in the order of the endpoints.
func (n *Node[R, Q]) Addresses() []string { return n.addresses }

// DataDir is the data directory.
func (n *Node[R, Q]) DataDir() string { return n.cfg.DataDir }

// collectEvery keeps the actors' blocks from overflowing while nothing else reads them.
const collectEvery = 10 * time.Second

// clockJump is a wall clock that disagrees with the time of events.
type clockJump struct{ wall, time int64 } // ns since 1970

// jumped is called on the sequencer's goroutine, so it leaves the log line to another one.
func (n *Node[R, Q]) jumped(wall, time int64) {
	select {
	case n.jumps <- clockJump{wall, time}:
	default: // the line before has not been written yet
	}
}

// collect adds up what the actors measured, and takes notice of expired keys, until the end.
func (n *Node[R, Q]) collect() {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	keys := time.NewTimer(n.expireKeys())
	defer keys.Stop()
	for {
		select {
		case <-n.ending.ended:
			return
		case <-tick.C:
			n.pipeline.Collector().Collect(time.Second)
		case <-keys.C:
			keys.Reset(n.expireKeys())
		case j := <-n.jumps:
			n.log.Warn("wall clock jumped; the time of events advances with the monotonic clock until "+
				"both agree again", "wall_clock", time.Unix(0, j.wall), "event_time", time.Unix(0, j.time))
		}
	}
}
