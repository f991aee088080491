package otel

import (
	"strings"

	"sluice/telemetry"
)

// Kind is the kind of a metric, as OpenTelemetry defines it.
type Kind string

// Kinds of metrics.
const (
	Histogram     Kind = "histogram"
	Counter       Kind = "counter"
	UpDownCounter Kind = "updowncounter"
	Gauge         Kind = "gauge"
)

// Instrument describes one metric.
type Instrument struct {
	Name   string   // OpenTelemetry name
	Kind   Kind     // see the constants
	Unit   string   // UCUM, or an annotation such as {response}
	Labels []string // attribute keys, in the order of docs/telemetry.md
	Help   string   // one sentence
}

// by is the set of labels of an instrument, besides its own label.
type by uint8

const (
	byNone    by = iota
	byShard      // shard
	byActor      // stage (kind of the actor) and shard
	byMailbox    // mailbox (the actor that reads it) and shard
	byGauge      // label of the gauge
)

func (b by) labels() []string {
	return [][]string{byNone: nil, byShard: {"shard"}, byActor: {"stage", "shard"},
		byMailbox: {"mailbox", "shard"}, byGauge: nil}[b]
}

// row is an instrument and the source of its values.
type row struct {
	Instrument
	from   string // name in package telemetry, and " value" for one value of its label; empty: computed by the view
	by     by
	actors string // kind of actor whose zeros are exported; empty: all
	float  bool   // exported as float: a counter of nanoseconds as seconds, a gauge as it is
}

const (
	kindGate   = "gate"
	kindEncode = "encode"
	kindEgress = "egress"
)

// rows returns the table of all instruments. Where Help is empty here, it is that of package telemetry.
func rows() []row {
	var t []row
	t = append(t, computedRows()...)
	t = append(t, counterRows()...)
	t = append(t, markRows()...)
	t = append(t, gaugeRows()...)
	describe(t)
	return t
}

// Names of the instruments that a view computes.
const (
	nameWhole      = "sluice.response.duration"
	nameStages     = "sluice.response.stage.duration"
	nameBatch      = "sluice.egress.batch.size"
	nameSLO        = "sluice.response.slo"
	nameViolations = "sluice.response.slo.violations"
	nameSampled    = "sluice.trace.sampled"
	nameDropped    = "sluice.trace.dropped"
	nameErrors     = "sluice.telemetry.errors"
	nameStale      = "sluice.telemetry.stale"
	nameSilent     = "sluice.actor.silent"
)

func computedRows() []row {
	return []row{
		{Instrument: Instrument{nameWhole, Histogram, "s", nil,
			"Time from receiving a request to the kernel accepting the last byte of its response."}},
		{Instrument: Instrument{nameStages, Histogram, "s", []string{"stage"},
			"Time that responses spent in each stage of the pipeline."}},
		{Instrument: Instrument{nameBatch, Histogram, "{response}", nil,
			"Responses handed to the kernel in one flush."}},
		{Instrument: Instrument{nameViolations, Counter, "{response}", nil,
			"Responses that took at least as long as sluice.response.slo."}},
		{Instrument: Instrument{nameSLO, Gauge, "s", nil,
			"Latency objective: the configured one, rounded up to a histogram bound."}},
		{Instrument: Instrument{nameSampled, Counter, "{trace}", []string{"reason"},
			"Traces handed to the exporter, by reason of sampling."}},
		{Instrument: Instrument{nameDropped, Counter, "{trace}", []string{"reason"},
			"Sampled responses without a trace: trace box full, over the rate, or export failed."}},
		{Instrument: Instrument{nameErrors, Counter, "{error}", []string{"source"},
			"Errors of telemetry itself: failed exports of metrics or traces, and errors " +
				"reported by the SDK."}},
		{Instrument: Instrument{nameStale, Counter, "{collection}", nil,
			"Collections that the actor did not answer in time; its numbers arrived later."},
			by: byActor},
		{Instrument: Instrument{nameSilent, Gauge, "s", nil,
			"Time since the actor last answered a collection; seconds mean that it neither polls " +
				"nor parks."}, by: byActor},
	}
}

func counterRows() []row {
	c := func(from, name, unit string, by by, actors string) row {
		return row{Instrument: Instrument{Name: name, Kind: Counter, Unit: unit}, from: from,
			by: by, actors: actors}
	}
	t := []row{
		c("gate_slots", "sluice.gate.released", "{response}", byNone, kindGate),
		c("gate_bypassed", "sluice.gate.bypassed", "{response}", byNone, kindGate),
		c("gate_overtaken", "sluice.gate.overtaken", "{response}", byNone, kindGate),
		c("gate_waits", "sluice.gate.waits", "{wait}", byNone, kindGate),
		c("gate_opened", "sluice.response.gate", "{open}", byNone, kindGate),
		c("gate_policy_swaps", "sluice.ack_policy.swaps", "{swap}", byNone, kindGate),
		c("gate_torn_snapshots", "sluice.gate.torn_snapshots", "{read}", byNone, kindGate),
		c("encode_frames", "sluice.encode.frames", "{frame}", byNone, kindEncode),
		c("encode_bytes", "sluice.encode.size", "By", byNone, kindEncode),
		c("encode_errors", "sluice.encode.errors", "{response}", byNone, kindEncode),
		c("encode_panics", "sluice.encode.panics", "{response}", byNone, kindEncode),
		c("encode_oversized", "sluice.encode.oversized", "{response}", byNone, kindEncode),
		c("egress_slots", "sluice.egress.responses", "{response}", byShard, kindEgress),
		c("egress_frames_sent", "sluice.response.sent", "{response}", byShard, kindEgress),
		c("egress_bytes_sent", "sluice.response.sent.size", "By", byShard, kindEgress),
		c("dropped", "sluice.response.dropped", "{response}", byNone, ""),
		c("egress_sends", "sluice.egress.sends", "{send}", byShard, kindEgress),
		c("egress_polls", "sluice.egress.polls", "{poll}", byShard, kindEgress),
		c("egress_submits", "sluice.egress.submits", "{submit}", byShard, kindEgress),
		c("egress_flushes", "sluice.egress.flushes", "{flush}", byNone, kindEgress),
		c("egress_heartbeats", "sluice.egress.heartbeats", "{frame}", byNone, kindEgress),
		c("egress_busy", "sluice.egress.busy_replies", "{frame}", byNone, kindEgress),
		c("encode_topics", "sluice.topic.encoded", "{frame}", byNone, kindEncode),
		c("egress_topics", "sluice.topic.frames", "{frame}", byShard, kindEgress),
		c("topic_published", "sluice.topic.published", "{frame}", byShard, kindEgress),
		c("topic_delivered", "sluice.topic.delivered", "{frame}", byShard, kindEgress),
		c("topic_skipped", "sluice.topic.skipped", "{frame}", byNone, kindEgress),
		c("topic_subscriptions", "sluice.topic.subscription.changes", "{subscription}", byNone, kindEgress),
		c("topic_gaps", "sluice.topic.gaps", "{gap}", byNone, kindEgress),
		c("topic_resyncs", "sluice.topic.resyncs", "{snapshot}", byNone, kindEgress),
		c("topic_mixed", "sluice.topic.mixed", "{frame}", byNone, kindEgress),
		c("topic_flushes", "sluice.topic.flushes", "{flush}", byNone, kindEgress),
		c("egress_stale_completions", "sluice.egress.stale_completions", "{completion}", byNone,
			kindEgress),
		c("egress_shutdown_errors", "sluice.egress.shutdown.errors", "{error}", byNone, kindEgress),
		c("egress_close_errors", "sluice.egress.close.errors", "{error}", byNone, kindEgress),
		c("egress_notices_dropped", "sluice.egress.notices.dropped", "{notice}", byNone, kindEgress),
		c("egress_closed", "sluice.client.disconnects", "{connection}", byNone, kindEgress),
		c("control_events", "sluice.control.events", "{event}", byNone, "control"),
		c("runner_steps busy", "sluice.stage.busy", "{iteration}", byActor, ""),
		c("runner_steps idle", "sluice.stage.idle", "{iteration}", byActor, ""),
		c("runner_parks", "sluice.stage.parks", "{park}", byActor, ""),
		c("runner_time", "sluice.actor.time", "s", byActor, ""),
		c("mailbox_full", "sluice.mailbox.full", "{event}", byActor, ""),
		c("clock_backwards", "sluice.clock.backwards", "{event}", byNone, ""),
	}
	for i := range t {
		switch t[i].from {
		case "runner_steps busy":
			t[i].Help = "Steps of the actor that found work."
		case "runner_steps idle":
			t[i].Help = "Steps of the actor that found no work."
		case "runner_time":
			t[i].float = true
		}
	}
	return t
}

// unexported reports whether a counter is shown in dumps only. The trace boxes count these events
// themselves, and one fact has one metric.
func unexported(name string) bool { return name == "traces_taken" || name == "traces_dropped" }

func markRows() []row {
	m := func(from, name, unit string, by by, actors string) row {
		return row{Instrument: Instrument{Name: name, Kind: Gauge, Unit: unit}, from: from, by: by,
			actors: actors}
	}
	return []row{
		m("mailbox_depth max", "sluice.mailbox.depth.max", "{item}", byMailbox, ""),
		m("egress_inflight max", "sluice.egress.inflight.max", "{send}", byShard, kindEgress),
		m("client_send_buffer max", "sluice.client.send_buffer.max", "By", byShard, kindEgress),
		m("batch max", "sluice.stage.batch.max", "{item}", byActor, ""),
	}
}

func gaugeRow(id telemetry.GaugeID, name string, kind Kind, unit, help string, labels ...string) row {
	return row{Instrument: Instrument{name, kind, unit, labels, help}, from: id.Info().Name,
		by: byGauge, float: true}
}

func gaugeRows() []row {
	g := gaugeRow
	return append([]row{
		g(telemetry.PipelineHealthy, "sluice.pipeline.healthy", Gauge, "",
			"1 while every actor runs and the node is not fenced."),
		g(telemetry.GatePending, "sluice.gate.pending", Gauge, "{response}",
			"Responses published and not yet encoded."),
		g(telemetry.GateOldestAge, "sluice.gate.oldest.age", Gauge, "s",
			"How long the first waiting response has waited for durability; 0 while none waits."),
		g(telemetry.PolicyDegraded, "sluice.ack_policy.degraded", Gauge, "",
			"1 while the policy asks for more nodes than are in view."),
		g(telemetry.PolicyDegradedSeconds, "sluice.ack_policy.degraded_seconds", Counter, "s",
			"Total time that the policy was degraded."),
		g(telemetry.ActiveConnections, "sluice.active_connections", UpDownCounter, "{connection}",
			"Connections that hold a permit."),
		g(telemetry.EgressConnections, "sluice.egress.connections", Gauge, "{connection}",
			"Connections of the shard.", "shard"),
		g(telemetry.EgressBlockedConnections, "sluice.egress.blocked_connections", Gauge,
			"{connection}", "Connections whose sockets accept no more bytes.", "shard"),
		g(telemetry.EgressBuffered, "sluice.egress.buffered", Gauge, "By",
			"Send buffers and response queues in use.", "shard"),
		g(telemetry.EgressHeld, "sluice.egress.held", Gauge, "By",
			"Memory held by the shard for send buffers.", "shard"),
		g(telemetry.KnownTopics, "sluice.topics", Gauge, "{topic}",
			"Topics that have subscribers on the shard, or had some a short while ago.", "shard"),
		g(telemetry.TopicFeeds, "sluice.topic.feeds", Gauge, "{feed}",
			"Sets of subscriptions on the shard: connections with the same set are sent from one tape.", "shard"),
		g(telemetry.TopicSubscribed, "sluice.topic.subscriptions", Gauge, "{subscription}",
			"Subscriptions of the shard's connections, except those that wait for a snapshot.", "shard"),
		g(telemetry.TopicTapes, "sluice.topic.tapes", Gauge, "By",
			"Tapes and histories of topics, part of the send buffers in use.", "shard"),
		g(telemetry.MailboxDepth, "sluice.mailbox.depth", Gauge, "{item}",
			"Items in the actor's mailbox: slots, events for control, bytes for egress.", "mailbox",
			"shard"),
		g(telemetry.MailboxCapacity, "sluice.mailbox.capacity", Gauge, "{item}",
			"Capacity of the actor's mailbox: slots, events for control, bytes for egress.",
			"mailbox", "shard"),
		g(telemetry.JournalCommits, "sluice.journal.commits", Counter, "{commit}",
			"Group commits of the journal, one fdatasync each."),
		g(telemetry.JournalLastEvent, "sluice.journal.sequence", Gauge, "",
			"Last event on this node's disk."),
		g(telemetry.JournalSize, "sluice.journal.size", Gauge, "By",
			"Size of the journal's segments and snapshots."),
		g(telemetry.DiskFree, "sluice.disk.free", Gauge, "By",
			"Free space of the data directory's file system."),
		g(telemetry.SnapshotLastEvent, "sluice.snapshot.sequence", Gauge, "",
			"Last event of the newest snapshot; a restart replays the events after it."),
		g(telemetry.SnapshotAge, "sluice.snapshot.age", Gauge, "s",
			"Time since the last snapshot in this run; since the start before the first one."),
		g(telemetry.SnapshotDuration, "sluice.snapshot.duration", Gauge, "s",
			"How long the last snapshot took to be written and installed."),
		g(telemetry.SnapshotsTaken, "sluice.snapshots", Counter, "{snapshot}", "Snapshots installed."),
		g(telemetry.SnapshotFailures, "sluice.snapshot.failures", Counter, "{snapshot}",
			"Snapshots that failed."),
		g(telemetry.SnapshotFailing, "sluice.snapshot.failing", Gauge, "{snapshot}",
			"Snapshots that failed since one succeeded."),
		g(telemetry.ReplicaLag, "sluice.replica.lag", Gauge, "{event}",
			"Events sequenced and not yet acknowledged by the replica.", "slot"),
		g(telemetry.ReplicaAckedEvent, "sluice.replica.acked_sequence", Gauge, "",
			"Last event acknowledged by the replica.", "slot"),
	}, append(nodeGaugeRows(), clusterGaugeRows()...)...)
}

func nodeGaugeRows() []row {
	g := gaugeRow
	return []row{
		g(telemetry.SequencerLastEvent, "sluice.sequencer.sequence", Gauge, "",
			"Last event sequenced."),
		g(telemetry.SequencerQueue, "sluice.sequencer.queue", Gauge, "By",
			"Requests waiting for the sequencer."),
		g(telemetry.SequencerQueueCapacity, "sluice.sequencer.queue.capacity", Gauge, "By",
			"Capacity for requests waiting for the sequencer."),
		g(telemetry.SequencerEvents, "sluice.sequencer.events", Counter, "{event}",
			"Requests that became events."),
		g(telemetry.SequencerQueries, "sluice.sequencer.queries", Counter, "{query}",
			"Queries answered."),
		g(telemetry.SequencerRefused, "sluice.sequencer.refused", Counter, "{request}",
			"Requests rejected before they were sequenced."),
		g(telemetry.SequencerWaits, "sluice.sequencer.waits", Counter, "{wait}",
			"Times the sequencer waited for the journal or the pipeline."),
		g(telemetry.SequencerClockJumps, "sluice.sequencer.clock_jumps", Counter, "{jump}",
			"Times the wall clock began to disagree with the time of events by more than a second."),
		g(telemetry.ApplicationUsed, "sluice.application.used", Gauge, "",
			"What the application uses of a limit of its state.", "limit"),
		g(telemetry.ApplicationLimit, "sluice.application.limit", Gauge, "",
			"Limit of the application's state.", "limit"),
		g(telemetry.SequencerTopics, "sluice.sequencer.topics", Gauge, "{topic}",
			"Topics that have subscribers."),
		g(telemetry.SequencerSubscriptions, "sluice.sequencer.subscriptions", Gauge, "{subscription}",
			"Subscriptions of all clients."),
		g(telemetry.SequencerSubscribes, "sluice.sequencer.subscribes", Counter, "{request}",
			"Requests to begin or end a subscription that were carried out."),
		g(telemetry.ListenerConnections, "sluice.listener.connections", Gauge, "{connection}",
			"Connections that are being read."),
		g(telemetry.ListenerHandshakes, "sluice.listener.handshakes", Gauge, "{connection}",
			"Handshakes in progress."),
		g(telemetry.ListenerRequests, "sluice.listener.requests", Counter, "{request}",
			"Requests read."),
		g(telemetry.ListenerRefused, "sluice.listener.refused", Counter, "{connection}",
			"Clients rejected before or during the handshake, by reason.", "reason"),
		g(telemetry.ListenerAcceptPauses, "sluice.listener.accept_pauses", Counter, "{pause}",
			"Times accepting paused because descriptors or memory had run out; clients wait meanwhile."),
		g(telemetry.ListenerAcceptPaused, "sluice.listener.accept_paused", Gauge, "{endpoint}",
			"Endpoints that accept nothing because descriptors or memory have run out."),
		g(telemetry.ListenerHandshakePauses, "sluice.listener.handshake_pauses", Counter, "{pause}",
			"Times accepting paused because all places for handshakes were taken."),
		g(telemetry.ListenerPaused, "sluice.listener.paused", Gauge, "{connection}",
			"Connections that are not read until the request queue has room."),
		g(telemetry.ListenerPauses, "sluice.listener.pauses", Counter, "{pause}",
			"Times a connection was paused because the request queue was full."),
		g(telemetry.ListenerShed, "sluice.listener.shed", Counter, "{request}",
			"Requests rejected because their connection exceeded its rate."),
		g(telemetry.LogDropped, "sluice.log.dropped", Counter, "{line}",
			"Log lines, and other text, lost because the output was not read in time, by kind.", "kind"),
		g(telemetry.AdminUnauthorized, "sluice.admin.unauthorized", Counter, "{request}",
			"Requests to the admin address with TLS that were rejected for want of a token or certificate."),
		g(telemetry.AuditLost, "sluice.audit.lost", Counter, "{line}",
			"Lines of the audit file that are lost, because they found no room or their write failed, by kind.", "kind"),
	}
}

// mailboxGauges are gauges that are exported as the mailbox gauges of an actor, so that depth, capacity
// and highest depth of every mailbox have the same labels.
func mailboxGauges() map[telemetry.GaugeID]struct {
	gauge   telemetry.GaugeID
	mailbox string
} {
	return map[telemetry.GaugeID]struct {
		gauge   telemetry.GaugeID
		mailbox string
	}{
		telemetry.EgressInbox:         {telemetry.MailboxDepth, kindEgress},
		telemetry.EgressInboxCapacity: {telemetry.MailboxCapacity, kindEgress},
	}
}

// describe completes the rows of counters and marks with sentence and label from package telemetry.
func describe(t []row) {
	info := make(map[string]telemetry.Info)
	for c := range telemetry.Counter(telemetry.NumCounters) {
		i := c.Info()
		info[i.Name], info[i.Name+" "+i.Value] = i, telemetry.Info{Help: i.Help}
	}
	for m := range telemetry.Mark(telemetry.NumMarks) {
		i := m.Info()
		info[i.Name+" max"] = telemetry.Info{Help: strings.TrimSuffix(i.Help,
			".") + " since the last export to this reader."}
	}
	for n := range t {
		r := &t[n]
		r.Labels = append(r.by.labels(), r.Labels...)
		i, ok := info[r.from]
		if !ok {
			continue
		}
		if r.Help == "" {
			r.Help = i.Help
		}
		if i.Label != "" {
			r.Labels = append(r.Labels, i.Label)
		}
	}
}

// Instruments lists every metric of this package, in the order of docs/telemetry.md. Custom gauges are
// exported as well, under a name derived from their own (docs/telemetry.md).
func Instruments() []Instrument {
	t := rows()
	list := make([]Instrument, len(t))
	for i := range t {
		list[i] = t[i].Instrument
	}
	return list
}

// derived returns the row of a custom gauge.
func derived(g telemetry.Gauge) row {
	name := "sluice." + strings.Replace(g.Name, "_", ".", 1)
	unit := g.Unit
	switch {
	case unit == "bytes":
		unit = "By"
	case unit == "" || unit == "s" || unit == "By" || strings.HasPrefix(unit, "{"):
	default:
		unit = "{" + strings.TrimSuffix(unit, "s") + "}"
	}
	return row{Instrument: Instrument{Name: name, Kind: Gauge, Unit: unit, Help: g.Help},
		from: g.Name, by: byGauge, float: true}
}
