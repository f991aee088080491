package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
)

// ErrNoConnection is wrapped by Kick's error if no connection of that number is open.
var ErrNoConnection = errors.New("no such connection")

// ErrRefused is wrapped by SwapPolicy's error if the policy could never be met.
var ErrRefused = errors.New("refused")

// ErrUntraced is wrapped by Trace's error if traces have no consumer.
var ErrUntraced = errors.New("traces are not exported")

// Kick ends a connection.
func (n *Node[R, Q]) Kick(conn uint64) error {
	if _, ok := n.Client(conn); !ok {
		return fmt.Errorf("node: kick %d: %w; it may have ended already", conn, ErrNoConnection)
	}
	return n.pipeline.Kick(conn, transport.ReasonKicked)
}

// close closes a connection whose key may no longer use it.
func (n *Node[R, Q]) close(conn uint64) {
	_ = n.pipeline.Kick(conn, transport.ReasonRevoked) // fails only while the node ends
}

// Trace has the next responses to a connection traced, instead of those to the connection that was
// named before; 0 ends that. On an error nothing has changed.
func (n *Node[R, Q]) Trace(conn uint64, responses int) error {
	if _, ok := n.Client(conn); !ok {
		return fmt.Errorf("node: trace %d: %w; it may have ended already", conn, ErrNoConnection)
	}
	sampler := n.pipeline.Sampler()
	if !sampler.Load().Exported {
		return fmt.Errorf("node: trace %d: %w; start the server with OTEL_TRACES_EXPORTER=otlp "+
			"or console", conn, ErrUntraced)
	}
	sampler.Follow(conn, int64(responses))
	return nil
}

// SwapPolicy puts a durability policy, a name or clauses, in force, and returns once the gate
// adopted it: no response leaves under the old one after that. A policy that this node cannot meet
// is refused unless forced (R7). The next start begins with it, unless the configuration has been
// changed by then; an error that wraps ErrNotKept says that it will not, and the policy is in force.
func (n *Node[R, Q]) SwapPolicy(ctx context.Context, text string, force bool) (old,
	now durability.Policy, err error) {
	old = n.pipeline.Policy().Current()
	nodes := n.cfg.Nodes
	if n.office != nil && n.office.Voters != nil {
		nodes = n.office.Voters()
	}
	p, err := durability.Parse(text, nodes)
	if err != nil {
		return old, old, fmt.Errorf("node: %w: %w", ErrRefused, err)
	}
	if !force {
		if err := judge(p, n.cursors); err != nil {
			return old, old, err
		}
	}
	if n.office != nil {
		if err := p.AtLeast(durability.CrashSafe, nodes); err != nil && !force {
			return old, old, fmt.Errorf("node: %w: %w", ErrRefused, err)
		}
		return old, p, n.swapByLog(ctx, p)
	}
	if err := n.pipeline.Policy().Swap(ctx, p); err != nil {
		return old, n.pipeline.Policy().Current(), err
	}
	return old, p, n.keepPolicy(ctx)
}

// judge refuses a policy that this node cannot meet now, or of which that cannot be told.
func judge(p durability.Policy, cursors durability.Source) error {
	var v durability.View
	if !cursors.Snapshot(&v) {
		return fmt.Errorf("node: policy %q %w for now: the cursors move too fast to be judged; "+
			"ask again, or force it", p, ErrRefused)
	}
	if err := p.MetBy(v.Len); err != nil {
		return fmt.Errorf("node: policy %q %w: %w", p, ErrRefused, err)
	}
	return nil
}

// View takes a snapshot of the durability cursors; false if they moved too fast, then ask again.
func (n *Node[R, Q]) View(v *durability.View) bool { return n.cursors.Snapshot(v) }

// Policy is the durability policy in force; change it with SwapPolicy.
func (n *Node[R, Q]) Policy() *durability.Switch { return n.pipeline.Policy() }

// Top lists the first most connections in an order, with the figures of their shards, and says how
// many are open.
func (n *Node[R, Q]) Top(ctx context.Context, by actors.SortBy, most int) (top []actors.Figures,
	open int, err error) {
	return n.pipeline.Top(ctx, by, most)
}

// TopTopics lists the first most topics in an order, with the figures of all shards, and says how many
// topics the shards know.
func (n *Node[R, Q]) TopTopics(ctx context.Context, by actors.TopicOrder, most int) (top []actors.TopicFigures,
	known int, err error) {
	return n.pipeline.TopTopics(ctx, by, most)
}

// TopicName is the application's name of a topic; empty if it gives none.
func (n *Node[R, Q]) TopicName(topic uint64) string {
	if app, ok := n.app.(sequencer.TopicNamer); ok {
		return app.TopicName(topic)
	}
	return ""
}

// Client returns the peer of an open connection.
func (n *Node[R, Q]) Client(id uint64) (Client, bool) {
	c, ok := n.clients.find(id, n.endpoint)
	return n.named(c), ok
}

// LastClosed returns the connections that ended last, at most 1024 and the latest first, and how
// many ended in all.
func (n *Node[R, Q]) LastClosed(most int) (some []Closed, ended uint64) {
	some, ended = n.clients.last(most)
	for i := range some {
		some[i].Client = n.named(some[i].Client)
	}
	return some, ended
}

// Listener accepts the connections; it is here for its counters; SetKeys changes its keys.
func (n *Node[R, Q]) Listener() *listen.Server { return n.listener }

// Connections is the number of open connections.
func (n *Node[R, Q]) Connections() int { return n.pipeline.Connections() }

// Waiting is what the slot ring's head waits for; false if it is empty.
func (n *Node[R, Q]) Waiting() (actors.Wait, bool) { return n.pipeline.Waiting() }

// Degraded reports whether the policy asks for more nodes than are in view, and for how long in
// all.
func (n *Node[R, Q]) Degraded() (now bool, total time.Duration) { return n.pipeline.Degraded() }

// Clock is the node's clock. Measurements and traces are stamped with it.
func (n *Node[R, Q]) Clock() telemetry.Clock { return n.cfg.Pipeline.Clock }

// Now is the node's clock, monotonic ns: measurements and traces are stamped with it.
func (n *Node[R, Q]) Now() int64 { return n.pipeline.Now() }

// Rings describes the engine of each shard.
func (n *Node[R, Q]) Rings() []transport.Info { return n.pipeline.Rings() }

// Diagnosis says which engine the rings got, and why.
func (n *Node[R, Q]) Diagnosis() transport.Diagnosis { return n.pipeline.Diagnosis() }

// Collector holds what is measured; gauges of the embedding program can be added to it.
func (n *Node[R, Q]) Collector() *telemetry.Collector { return n.pipeline.Collector() }

// Sampler holds the rules of what is traced; they can be replaced at run time.
func (n *Node[R, Q]) Sampler() *telemetry.Sampler { return n.pipeline.Sampler() }

// Traces returns the boxes of sampled responses, one for each shard; each has one consumer.
// Consuming them is optional.
func (n *Node[R, Q]) Traces() []*telemetry.TraceBox { return n.pipeline.Traces() }

// WriteStats writes everything that is measured, for people.
func (n *Node[R, Q]) WriteStats(w io.Writer) error {
	n.pipeline.Collector().Collect(0)
	return n.pipeline.Collector().WriteText(w)
}
