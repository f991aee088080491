package cluster

import (
	"context"
	"fmt"
	"io"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
)

// What ends the node of a period, or announces its end, concerns the member.

// Drain is Node.Drain.
func (p *period[R, Q]) Drain(ctx context.Context) error { return p.member.Drain(ctx) }

// Stop is Node.Stop.
func (p *period[R, Q]) Stop(ctx context.Context) error { return p.member.Stop(ctx) }

// Fence is Node.Fence.
func (p *period[R, Q]) Fence(ctx context.Context) error { return p.member.Fence(ctx) }

// Leave is Node.Leave.
func (p *period[R, Q]) Leave() { p.member.Leave() }

// Leaving is Node.Leaving.
func (p *period[R, Q]) Leaving() bool { return p.member.Leaving() }

// SwapPolicy is Node.SwapPolicy.
func (p *period[R, Q]) SwapPolicy(ctx context.Context, text string, force bool) (old,
	now durability.Policy, err error) {
	if p.lead == nil {
		old = p.Policy().Current()
		return old, old, fmt.Errorf("cluster: %w: %s; the leader changes the policy", node.ErrRefused,
			p.member.notLeading(uint8(p.member.raft.Status().Leader)))
	}
	return p.Node.SwapPolicy(ctx, text, force)
}

// View is Node.View, with the numbers of the other members as IDs instead of their places.
func (p *period[R, Q]) View(v *durability.View) bool {
	if !p.Node.View(v) {
		return false
	}
	var numbers [durability.MaxNodes]int // by place
	for _, x := range p.member.raft.Status().Peers {
		numbers[x.Place] = int(uint8(x.Node))
	}
	for i := range v.Len {
		if place := v.Nodes[i].ID; place > 0 {
			v.Nodes[i].ID = numbers[place]
		}
	}
	return true
}

var _, _ node.Running = (*Node[struct{}, struct{}])(nil), (*period[struct{}, struct{}])(nil)

// Leave announces the end of the member: readiness says no from now on.
func (m *Node[R, Q]) Leave() { m.ending.leaving.Store(true) }

// Leaving reports that Leave was called.
func (m *Node[R, Q]) Leaving() bool { return m.ending.leaving.Load() }

// Ended is closed when the member has ended, for whatever reason.
func (m *Node[R, Q]) Ended() <-chan struct{} { return m.ending.ended }

// Err says why the member ended: nil while it runs, and after an orderly end.
func (m *Node[R, Q]) Err() error {
	select {
	case <-m.ending.ended:
		return m.ending.first()
	default:
		return nil
	}
}

// Wait returns when the member has ended, with Err. When ctx ends first, it drains the member.
func (m *Node[R, Q]) Wait(ctx context.Context) error {
	select {
	case <-m.ending.ended:
		return m.Err()
	case <-ctx.Done():
	}
	return m.Drain(context.WithoutCancel(ctx))
}

// DataDir is the data directory.
func (m *Node[R, Q]) DataDir() string { return m.cfg.Node.DataDir }

// Clock is the member's clock.
func (m *Node[R, Q]) Clock() telemetry.Clock { return m.clock }

// Now is the member's clock, monotonic ns.
func (m *Node[R, Q]) Now() int64 { return m.clock.Now() }

// period is the present period.
func (m *Node[R, Q]) period() *period[R, Q] { return m.now.Load() }

// The other methods of node.Running are those of the present period's node.

// Full is node.Node.Full.
func (m *Node[R, Q]) Full() time.Duration { return m.period().Full() }

// Addresses is node.Node.Addresses.
func (m *Node[R, Q]) Addresses() []string { return m.period().Addresses() }

// Rings is node.Node.Rings.
func (m *Node[R, Q]) Rings() []transport.Info { return m.period().Rings() }

// Diagnosis is node.Node.Diagnosis.
func (m *Node[R, Q]) Diagnosis() transport.Diagnosis { return m.period().Diagnosis() }

// Listener is node.Node.Listener.
func (m *Node[R, Q]) Listener() *listen.Server { return m.period().Listener() }

// View is node.Node.View.
func (m *Node[R, Q]) View(v *durability.View) bool { return m.period().View(v) }

// Waiting is node.Node.Waiting.
func (m *Node[R, Q]) Waiting() (actors.Wait, bool) { return m.period().Waiting() }

// Degraded is node.Node.Degraded.
func (m *Node[R, Q]) Degraded() (now bool, total time.Duration) { return m.period().Degraded() }

// Policy is node.Node.Policy.
func (m *Node[R, Q]) Policy() *durability.Switch { return m.period().Policy() }

// SwapPolicy puts a policy in force by an event of the log, on the node that leads. It returns once the
// gate has adopted it; later leaders begin with it.
func (m *Node[R, Q]) SwapPolicy(ctx context.Context, text string, force bool) (old,
	now durability.Policy, err error) {
	return m.period().SwapPolicy(ctx, text, force)
}

// Connections is node.Node.Connections.
func (m *Node[R, Q]) Connections() int { return m.period().Connections() }

// Top is node.Node.Top.
func (m *Node[R, Q]) Top(ctx context.Context, by actors.SortBy, most int) (top []actors.Figures, open int,
	err error) {
	return m.period().Top(ctx, by, most)
}

// TopTopics is node.Node.TopTopics.
func (m *Node[R, Q]) TopTopics(ctx context.Context, by actors.TopicOrder, most int) (top []actors.TopicFigures,
	known int, err error) {
	return m.period().TopTopics(ctx, by, most)
}

// TopicName is node.Node.TopicName.
func (m *Node[R, Q]) TopicName(topic uint64) string { return m.period().TopicName(topic) }

// Client is node.Node.Client.
func (m *Node[R, Q]) Client(id uint64) (node.Client, bool) { return m.period().Client(id) }

// LastClosed is node.Node.LastClosed.
func (m *Node[R, Q]) LastClosed(most int) (some []node.Closed, ended uint64) {
	return m.period().LastClosed(most)
}

// Kick is node.Node.Kick.
func (m *Node[R, Q]) Kick(conn uint64) error { return m.period().Kick(conn) }

// Keys is node.Node.Keys.
func (m *Node[R, Q]) Keys() []node.KeyUse { return m.period().Keys() }

// KickKey is node.Node.KickKey.
func (m *Node[R, Q]) KickKey(name string) (closed int, err error) { return m.period().KickKey(name) }

// SetCommand is node.Node.SetCommand.
func (m *Node[R, Q]) SetCommand(c node.Command) { m.period().SetCommand(c) }

// Collector is node.Node.Collector.
func (m *Node[R, Q]) Collector() *telemetry.Collector { return m.period().Collector() }

// Sampler is node.Node.Sampler.
func (m *Node[R, Q]) Sampler() *telemetry.Sampler { return m.period().Sampler() }

// Traces is node.Node.Traces.
func (m *Node[R, Q]) Traces() []*telemetry.TraceBox { return m.period().Traces() }

// Trace is node.Node.Trace.
func (m *Node[R, Q]) Trace(conn uint64, responses int) error {
	return m.period().Trace(conn, responses)
}

// WriteStats is node.Node.WriteStats.
func (m *Node[R, Q]) WriteStats(w io.Writer) error { return m.period().WriteStats(w) }
