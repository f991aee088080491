package node

import (
	"sluice/actors/internal/run"
	"sluice/telemetry"
)

// beating is an actor whose steps are watched. It is for the sequencer, which has no recorder.
type beating struct {
	run.Actor
	telemetry.Beat
}

func (b *beating) Step(now int64) int {
	b.Begin()
	n := b.Actor.Step(now)
	b.End() // not after a panic: the node ends then
	return n
}

// watch registers the loops of the node that are no actors of the pipeline.
func (n *Node[R, Q]) watch(sequencer *telemetry.Beat) {
	c := n.pipeline.Collector()
	c.Watch(telemetry.Loop{Name: "sequencer", Index: telemetry.NoShard, Rounds: sequencer.Rounds})
	if n.store != nil {
		c.Watch(telemetry.Loop{Name: "journal", Index: telemetry.NoShard, Rounds: n.store.beat.Rounds})
		c.Watch(telemetry.Loop{Name: "snapshot", Index: telemetry.NoShard, Rounds: n.store.writing.Rounds})
	}
	for i, rounds := range n.listener.Rounds() {
		c.Watch(telemetry.Loop{Name: "reader", Index: i, Rounds: rounds})
	}
}
