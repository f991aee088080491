package node

import (
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// gauges registers what the components before the pipeline count.
func (n *Node[R, Q]) gauges() {
	add := func(id telemetry.GaugeID, read func() float64) {
		n.pipeline.Collector().Gauge(id, telemetry.NoShard, "", read)
	}
	seq, in := n.sequencer, n.listener
	add(telemetry.SequencerLastEvent, func() float64 { return float64(seq.Sequenced()) })
	add(telemetry.JournalLastEvent, func() float64 { return float64(n.persistedSeq()) })
	if n.store != nil {
		add(telemetry.JournalCommits, func() float64 { return float64(n.store.commits.Load()) })
		n.diskGauges(add)
	}
	add(telemetry.SequencerQueue, func() float64 { return float64(n.queue.Len()) })
	add(telemetry.SequencerQueueCapacity, func() float64 { return float64(n.cfg.QueueBytes) })
	add(telemetry.SequencerEvents, func() float64 { return float64(seq.Counts().Events) })
	add(telemetry.SequencerQueries, func() float64 { return float64(seq.Counts().Queries) })
	add(telemetry.SequencerRefused, func() float64 { return float64(seq.Counts().Refused) })
	add(telemetry.SequencerWaits, func() float64 { return float64(seq.Counts().Waits) })
	add(telemetry.SequencerTopics, func() float64 { return float64(seq.Counts().Topics) })
	add(telemetry.SequencerSubscriptions, func() float64 { return float64(seq.Counts().Subscriptions) })
	add(telemetry.SequencerSubscribes, func() float64 { return float64(seq.Counts().Subscribes) })
	add(telemetry.SequencerClockJumps, func() float64 { return float64(seq.Counts().ClockJumps) })
	add(telemetry.ListenerConnections, func() float64 { return float64(in.Counters().Live) })
	add(telemetry.ListenerHandshakes, func() float64 { return float64(in.Counters().Handshakes) })
	add(telemetry.ListenerRequests, func() float64 { return float64(in.Counters().Requests) })
	add(telemetry.ListenerAcceptPauses, func() float64 { return float64(in.Counters().AcceptPauses) })
	add(telemetry.ListenerAcceptPaused, func() float64 { return float64(in.Counters().AcceptPaused) })
	add(telemetry.ListenerHandshakePauses, func() float64 { return float64(in.Counters().HandshakePauses) })
	for i, name := range seq.Limits() {
		gauge := n.pipeline.Collector().Gauge
		gauge(telemetry.ApplicationUsed, telemetry.NoShard, name, func() float64 { return float64(seq.Use(i).Used) })
		gauge(telemetry.ApplicationLimit, telemetry.NoShard, name, func() float64 { return float64(seq.Use(i).Limit) })
	}
	for r := transport.ReasonHandshakeTimeout; r < transport.NumReasons; r++ {
		n.pipeline.Collector().Gauge(telemetry.ListenerRefused, telemetry.NoShard, r.String(),
			func() float64 { return float64(in.Counters().Ended[r]) })
	}
	add(telemetry.ListenerPaused, func() float64 { return float64(in.Counters().Paused) })
	add(telemetry.ListenerPauses, func() float64 { return float64(in.Counters().Pauses) })
	add(telemetry.ListenerShed, func() float64 { return float64(in.Counters().Shed) })
}

// diskGauges registers what is known about snapshots and the disk. Reading them touches no disk.
func (n *Node[R, Q]) diskGauges(add func(telemetry.GaugeID, func() float64)) {
	snap := n.store.snapshots
	n.store.usage.Gauges(n.pipeline.Collector())
	add(telemetry.SnapshotLastEvent, func() float64 { return float64(snap.read().event) })
	add(telemetry.SnapshotAge, func() float64 { return time.Since(snap.read().since).Seconds() })
	add(telemetry.SnapshotDuration, func() float64 { return snap.read().duration.Seconds() })
	add(telemetry.SnapshotsTaken, func() float64 { return float64(snap.read().taken) })
	add(telemetry.SnapshotFailures, func() float64 { return float64(snap.read().failures) })
	add(telemetry.SnapshotFailing, func() float64 { return float64(snap.read().failing) })
}
