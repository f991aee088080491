package node

import (
	"sluice/telemetry"
	"sluice/transport/listen"
)

// gauges registers what the components before the pipeline count.
func (n *Node[R, Q]) gauges() {
	add := func(name, unit, help string, read func() float64) {
		n.pipeline.Collector().Gauge(telemetry.Gauge{Name: name, Unit: unit, Help: help, Shard: telemetry.NoShard, Read: read})
	}
	seq, in := n.sequencer, n.listener
	add("sequencer_last_event", "", "Last event sequenced.", func() float64 { return float64(seq.Sequenced()) })
	add("journal_last_event", "", "Last event on disk.", func() float64 { return float64(n.store.persisted.Load()) })
	add("journal_commits", "commits", "Group commits, one fdatasync each, in this run.", func() float64 { return float64(n.store.commits.Load()) })
	add("sequencer_queue", "By", "Requests on their way to the sequencer.", func() float64 { return float64(n.queue.Len()) })
	add("sequencer_queue_capacity", "By", "Room for requests on their way to the sequencer.", func() float64 { return float64(n.cfg.QueueBytes) })
	add("sequencer_events", "events", "Events sequenced in this run.", func() float64 { return float64(seq.Counts().Events) })
	add("sequencer_queries", "queries", "Queries answered in this run.", func() float64 { return float64(seq.Counts().Queries) })
	add("sequencer_refused", "requests", "Requests refused before they were sequenced.", func() float64 { return float64(seq.Counts().Refused) })
	add("sequencer_waits", "waits", "Times the sequencer waited for the journal or the pipeline.", func() float64 { return float64(seq.Counts().Waits) })
	add("listener_connections", "connections", "Connections a reader reads.", func() float64 { return float64(in.Counters().Live) })
	add("listener_handshakes", "connections", "Handshakes going on.", func() float64 { return float64(in.Counters().Handshakes) })
	add("listener_requests", "requests", "Requests read.", func() float64 { return float64(in.Counters().Requests) })
	add("listener_accept_pauses", "pauses", "Times accepting rested because descriptors or memory had run out.", func() float64 { return float64(in.Counters().AcceptPauses) })
	add("listener_crowd_pauses", "pauses", "Times accepting rested because all places for handshakes were taken.", func() float64 { return float64(in.Counters().CrowdPauses) })
	for c := listen.HandshakeTimeout; c <= listen.SetupFailed; c++ {
		n.pipeline.Collector().Gauge(telemetry.Gauge{
			Name: "listener_refused", Unit: "connections", Help: "Clients that never got in, by reason.", Shard: telemetry.NoShard,
			Label: "reason", Value: label(c), Read: func() float64 { return float64(in.Counters().Ended[c]) },
		})
	}
	add("listener_shed", "requests", "Requests above a connection's rate.", func() float64 { return float64(in.Counters().Shed) })
}
