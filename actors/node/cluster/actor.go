package cluster

import (
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/durability/raftlog"
	"sluice/telemetry"
)

// logActor is the log's node as an actor of a runner.
type logActor struct {
	*raftlog.Node
	stop *atomic.Bool
	beat *telemetry.Beat
}

// Step implements Actor.
func (a *logActor) Step(now int64) int {
	a.beat.Begin()
	work := a.Node.Step(now)
	a.beat.End()
	return work
}

// Name implements Actor.
func (a *logActor) Name() string { return "log" }

// Done implements Actor.
func (a *logActor) Done() bool { return a.stop.Load() || a.Node.Done() }

// Park implements Actor; there is nothing to do.
func (a *logActor) Park() {}

// Unpark implements Actor; there is nothing to do.
func (a *logActor) Unpark() {}

// Recorder implements Actor: steps are not counted.
func (a *logActor) Recorder() *telemetry.Recorder { return nil }

// tickingIdle sleeps no longer than a tick of the log.
type tickingIdle struct {
	run.Idle
	tick time.Duration
}

// Sleep implements Idle.
func (i *tickingIdle) Sleep(most time.Duration) { i.Idle.Sleep(min(most, i.tick)) }
