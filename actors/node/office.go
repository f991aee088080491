package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/mailbox"
)

// IDBits is the width of the counter in a connection id. What is above it is chosen by the counter's owner:
// for a node with a journal of its own, the count of its starts.
const IDBits = connBits

// Office is what a node of a cluster has instead of a journal of its own. Its owner keeps the log,
// recovers and snapshots the application, and ends the node when another node of the cluster leads. See
// package cluster. All fields are required but Prove, Poisoned, Voters, HandOver and Directs.
type Office[R, Q any] struct {
	// Application and State are the node's until it has ended; then they are the owner's again, and
	// Whole says whether they can be used.
	Application sequencer.Application[R, Q]
	State       *sequencer.State
	Cursors     *durability.Cursors // of the log; the first one is this node's
	// Propose takes the reading end of the ring of events, in the order of their numbers from
	// State.Last()+1 on. It is called once.
	Propose func(*mailbox.BytesReader)
	// Prove asks whether this node still leads, see sequencer.Config; nil: it does.
	Prove    func(ticket uint64)
	Poisoned map[uint64]struct{} // see sequencer.Config
	// Confirmed is the last event that is in the log for good.
	Confirmed func() durability.Seq
	// IDs is the last connection id given out, shared by all nodes of this process. What is above
	// IDBits never changes.
	IDs *atomic.Uint64
	// Voters is the number of nodes that count for a majority, for policies; nil: Config.Nodes.
	Voters func() int
	// HandOver, if not nil, is called by a Drain once every request that was taken has been answered, or
	// AnswerFor has passed, before clients are told the farewell that it returns. It ends soon after ctx.
	HandOver  func(ctx context.Context) (actors.Farewell, bool)
	AnswerFor time.Duration
	// Directs says that the node serves no client and only directs them. The beginning of a node with an
	// office is logged by the owner, with Announce, and its end only if it is an error: the owner goes on.
	Directs bool
}

// OpenOffice opens a node that has an office instead of a data directory of its own. DataDir, Journal and
// the thresholds of snapshots have no effect but on messages.
func OpenOffice[R, Q any](ctx context.Context, cfg Config[R, Q], office Office[R, Q]) (*Node[R, Q], error) {
	p, err := prepare(cfg, &office)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx)
}

// CheckOffice checks a configuration for OpenOffice, in a cluster of cfg.Nodes nodes. It opens nothing but
// the keys file.
func CheckOffice[R, Q any](cfg Config[R, Q]) error {
	cfg = cfg.withDefaults()
	return cfg.complete(cfg.Nodes)
}

// SetFarewell sets what clients are told at the end instead of that the server shuts down.
func (n *Node[R, Q]) SetFarewell(f actors.Farewell) error { return n.pipeline.SetFarewell(f) }

// Whole reports, after the end of a node with an Office, that its application stands between two events
// and is not used any more.
func (n *Node[R, Q]) Whole() bool {
	select {
	case <-n.sequenced:
		return n.runner.Wait() == nil
	default:
		return false // the application has not returned
	}
}

// Sequenced is the last event that was carried out. Its outputs may be waiting for the policy.
func (n *Node[R, Q]) Sequenced() durability.Seq { return n.sequencer.Sequenced() }

// adopt takes over what the office brings, in place of recover.
func (n *Node[R, Q]) adopt() {
	n.state = n.office.State
	n.identities = newIdentities(n.state.Keys(), n.cfg.Listen.Keys)
	n.base = n.office.IDs.Load()
	n.ids = n.office.IDs
}

// configure adds to sequencer and pipeline what a leader needs: responses to queries wait for a proof, the
// policy of the log is in force, and poisoned requests are refused.
func (o *Office[R, Q]) configure(sc *sequencer.Config[R, Q], pc *actors.Config) {
	sc.Poisoned = o.Poisoned
	if o.Prove != nil {
		sc.Prove = o.Prove
		sc.Barriers, pc.Barriers = actors.NewBarriers()
	}
	if p, ok := o.State.Policy(); ok {
		pc.Policy = p
	}
}

// policySwaps are the swaps of a policy by the log. Any goroutine.
type policySwaps struct {
	keep    sync.Mutex          // held while the file of a node without an office is written
	one     sync.Mutex          // held by the one that waits
	adopted chan durability.Seq // gets the event whose policy the gate has adopted
}

// adoptPolicy has the gate adopt the policy of an event. It is called on the sequencer's goroutine.
func (n *Node[R, Q]) adoptPolicy(p durability.Policy, event durability.Seq, adopted func()) {
	go func() {
		if err := n.pipeline.Policy().Swap(context.Background(), p); err != nil {
			return // the gate has ended, and with it everything
		}
		adopted()
		select {
		case n.swaps.adopted <- event:
		default: // the one before was not awaited
		}
	}()
}

// settleEvery is the time between two looks whether a policy is in the log for good.
const settleEvery = time.Millisecond

// swapByLog puts a policy in force by an event, so that the leaders after this one keep it. It returns
// once the gate has adopted it and the event is in the log for good.
func (n *Node[R, Q]) swapByLog(ctx context.Context, p durability.Policy) error {
	n.swaps.one.Lock()
	defer n.swaps.one.Unlock()
	select {
	case <-n.swaps.adopted: // of one that was not awaited
	default:
	}
	if err := n.queue.Policy(p); err != nil {
		return err
	}
	look := time.NewTicker(settleEvery)
	defer look.Stop()
	event := durability.Everything
	for event > n.office.Confirmed() {
		select {
		case event = <-n.swaps.adopted:
		case <-look.C:
		case <-n.ending.ended:
			return durability.ErrSwitchClosed
		case <-ctx.Done():
			return fmt.Errorf("node: policy %q is not in force for good yet: %w", p, context.Cause(ctx))
		}
	}
	return nil
}

// AdoptPolicy puts a policy in force by the log, met or not: its owner knows that it can be met soon. It is
// for a node with an office. See SwapPolicy.
func (n *Node[R, Q]) AdoptPolicy(ctx context.Context, p durability.Policy) error {
	return n.swapByLog(ctx, p)
}

// handOver gives the office to another node of the cluster before clients are told to go there.
func (n *Node[R, Q]) handOver(ctx context.Context) {
	if n.office == nil || n.office.HandOver == nil || n.ending.first() != nil {
		return
	}
	answered, cancel := context.WithTimeout(ctx, n.office.AnswerFor)
	defer cancel()
	if n.pipeline.Passed(answered) != nil {
		// The policy cannot be met now. What waits for it is not answered by this node any more.
		defer n.ending.hurry()
	}
	if f, ok := n.office.HandOver(ctx); ok {
		if err := n.pipeline.SetFarewell(f); err != nil {
			n.log.Error("clients are not told where to go", "error", err)
		}
	}
}

// persistedSeq is the last event on this node's disk.
func (n *Node[R, Q]) persistedSeq() uint64 {
	if n.store != nil {
		return n.store.persisted.Load()
	}
	var v durability.View
	if n.cursors.Snapshot(&v) && v.Len > 0 {
		return uint64(v.Nodes[0].Persisted)
	}
	return 0
}
