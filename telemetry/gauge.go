package telemetry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// GaugeID identifies a gauge of the catalogue below. Gauges are registered and looked up by id, so
// code that reads a gauge which no longer exists does not compile.
type GaugeID uint8

// All gauges of a node; gaugeInfo has name, label, unit and sentence of each.
const (
	PipelineHealthy GaugeID = iota
	ActiveConnections
	PolicyDegraded
	PolicyDegradedSeconds
	GatePending
	GateOldestAge
	MailboxDepth
	MailboxCapacity

	EgressInbox
	EgressInboxCapacity
	EgressConnections
	EgressBlockedConnections
	EgressBuffered
	EgressHeld
	KnownTopics
	TopicFeeds
	TopicSubscribed
	TopicTapes

	JournalCommits
	JournalLastEvent
	JournalSize
	DiskFree
	SnapshotLastEvent
	SnapshotAge
	SnapshotDuration
	SnapshotsTaken
	SnapshotFailures
	SnapshotFailing
	ReplicaLag
	ReplicaAckedEvent

	SequencerLastEvent
	SequencerQueue
	SequencerQueueCapacity
	SequencerEvents
	SequencerQueries
	SequencerRefused
	SequencerWaits
	SequencerClockJumps
	ApplicationUsed
	ApplicationLimit
	SequencerTopics
	SequencerSubscriptions
	SequencerSubscribes

	ListenerConnections
	ListenerHandshakes
	ListenerRequests
	ListenerRefused
	ListenerShed
	ListenerAcceptPauses
	ListenerAcceptPaused
	ListenerHandshakePauses
	ListenerPaused
	ListenerPauses

	LogDropped
	AuditLost
	AdminUnauthorized

	ClusterTerm
	ClusterLeader
	ClusterLeads
	ClusterLeaderChanges
	ClusterLeaderless
	ClusterCommitted
	ClusterApplied
	ClusterLag
	ClusterPolicyClass
	ClusterDiskSlowest
	ClusterRebuilds
	ClusterReplaced
	ClusterSnapshots
	ClusterSnapshotsUnderWay
	ClusterLogSize
	ClusterLinkWaiting
	ClusterLinkDropped
	ClusterLinksDown
	ClusterPeerMatch
	ClusterPeerInMemory
	ClusterPeerLag
	ClusterPeerSilent

	// CustomGauge is the id of every gauge that the embedding program adds with
	// Collector.CustomGauge. Their names distinguish them.
	CustomGauge
	// NumGauges is the number of gauges in the catalogue.
	NumGauges = int(CustomGauge)
)

// Info returns name, label, unit and sentence of the gauge. Value is empty, because it is chosen at
// registration. The Info of CustomGauge is empty.
func (id GaugeID) Info() Info {
	if id >= CustomGauge {
		return Info{}
	}
	return gaugeInfo()[id]
}

func gaugeInfo() [NumGauges]Info {
	var t [NumGauges]Info
	describePipelineGauges(&t)
	describeNodeGauges(&t)
	describeClusterGauges(&t)
	return t
}

func describePipelineGauges(t *[NumGauges]Info) {
	describe := func(id GaugeID, name, label, unit, help string) { t[id] = Info{name, label, "", unit, help} }
	describe(PipelineHealthy, "pipeline_healthy", "", "",
		"1 while the pipeline runs; 0 once it was stopped, fenced, or failed.")
	describe(ActiveConnections, "active_connections", "", "connections",
		"Connections that hold a permit.")
	describe(PolicyDegraded, "ack_policy_degraded", "", "",
		"1 while the policy asks for more nodes than are in view.")
	describe(PolicyDegradedSeconds, "ack_policy_degraded_seconds", "", "s",
		"Total time that the policy was degraded.")
	describe(GatePending, "gate_pending", "", "slots", "Slots published and not yet encoded.")
	describe(GateOldestAge, "gate_oldest_age", "", "s",
		"How long the head slot has waited for durability.")
	describe(MailboxDepth, "mailbox_depth", "mailbox", "slots",
		"Slots or events waiting in the mailbox.")
	describe(MailboxCapacity, "mailbox_capacity", "mailbox", "slots",
		"Capacity of the mailbox in slots or events.")

	describe(EgressInbox, "egress_inbox", "", "bytes", "Encoded responses waiting for the shard.")
	describe(EgressInboxCapacity, "egress_inbox_capacity", "", "bytes",
		"Capacity for encoded responses waiting for the shard.")
	describe(EgressConnections, "egress_connections", "", "connections", "Connections of the shard.")
	describe(EgressBlockedConnections, "egress_blocked_connections", "", "connections",
		"Connections whose sockets accept no more bytes.")
	describe(EgressBuffered, "egress_buffered", "", "bytes", "Send buffers and response queues in use.")
	describe(EgressHeld, "egress_held", "", "bytes", "Memory held by the shard's slab.")
	describe(KnownTopics, "topics_known", "", "topics",
		"Topics that have subscribers on the shard, or had some a short while ago.")
	describe(TopicFeeds, "topic_feeds", "", "feeds",
		"Sets of subscriptions on the shard: connections with the same set are sent from one tape.")
	describe(TopicSubscribed, "topic_subscribed", "", "subscriptions",
		"Subscriptions of the shard's connections, except those that wait for a snapshot.")
	describe(TopicTapes, "topic_tapes", "", "bytes",
		"Tapes and histories of topics, part of the send buffers in use.")
}

func describeDiskGauges(t *[NumGauges]Info) {
	describe := func(id GaugeID, name, unit, help string) { t[id] = Info{name, "", "", unit, help} }
	describe(JournalSize, "journal_size", "bytes",
		"Size of the journal's segments and snapshots; looked at every 10 s.")
	describe(DiskFree, "disk_free", "bytes",
		"Free space of the data directory's file system; looked at every 10 s.")
	describe(SnapshotLastEvent, "snapshot_last_event", "",
		"Last event of the newest snapshot; a restart replays the events after it.")
	describe(SnapshotAge, "snapshot_age", "s",
		"Time since the last snapshot in this run; since the start before the first one.")
	describe(SnapshotDuration, "snapshot_duration", "s",
		"How long the last snapshot took to be written and installed; 0 before the first one.")
	describe(SnapshotsTaken, "snapshots_taken", "snapshots", "Snapshots installed in this run.")
	describe(SnapshotFailures, "snapshot_failures", "snapshots", "Snapshots that failed in this run.")
	describe(SnapshotFailing, "snapshot_failing", "snapshots",
		"Snapshots that failed since one succeeded.")
}

func describeNodeGauges(t *[NumGauges]Info) {
	describe := func(id GaugeID, name, label, unit, help string) { t[id] = Info{name, label, "", unit, help} }
	describe(JournalCommits, "journal_commits", "", "commits",
		"Group commits, one fdatasync each, in this run.")
	describe(JournalLastEvent, "journal_last_event", "", "", "Last event on disk.")
	describeDiskGauges(t)
	describe(ReplicaLag, "replica_lag", "slot", "events",
		"Events sequenced and not yet acknowledged by the replica.")
	describe(ReplicaAckedEvent, "replica_acked_sequence", "slot", "",
		"Last event acknowledged by the replica.")

	describe(SequencerLastEvent, "sequencer_last_event", "", "", "Last event sequenced.")
	describe(SequencerQueue, "sequencer_queue", "", "bytes", "Requests waiting for the sequencer.")
	describe(SequencerQueueCapacity, "sequencer_queue_capacity", "", "bytes",
		"Capacity for requests waiting for the sequencer.")
	describe(SequencerEvents, "sequencer_events", "", "events",
		"Requests that became events in this run.")
	describe(SequencerQueries, "sequencer_queries", "", "queries", "Queries answered in this run.")
	describe(SequencerRefused, "sequencer_refused", "", "requests",
		"Requests rejected before they were sequenced.")
	describe(SequencerWaits, "sequencer_waits", "", "waits",
		"Times the sequencer waited for the journal or the pipeline.")
	describe(SequencerClockJumps, "sequencer_clock_jumps", "", "jumps",
		"Times the wall clock began to disagree with the time of events by more than a second.")
	describe(ApplicationUsed, "application_used", "limit", "", "What the application uses of a limit of its state.")
	describe(ApplicationLimit, "application_limit", "limit", "", "Limit of the application's state.")
	describe(SequencerTopics, "sequencer_topics", "", "topics", "Topics that have subscribers.")
	describe(SequencerSubscriptions, "sequencer_subscriptions", "", "subscriptions",
		"Subscriptions of all clients.")
	describe(SequencerSubscribes, "sequencer_subscribes", "", "requests",
		"Requests to begin or end a subscription that were carried out in this run.")

	describe(ListenerConnections, "listener_connections", "", "connections",
		"Connections that are being read.")
	describe(ListenerHandshakes, "listener_handshakes", "", "connections", "Handshakes in progress.")
	describe(ListenerRequests, "listener_requests", "", "requests", "Requests read.")
	describe(ListenerRefused, "listener_refused", "reason", "connections",
		"Clients rejected before or during the handshake, by reason.")
	describe(ListenerShed, "listener_shed", "", "requests",
		"Requests rejected because their connection exceeded its rate.")
	describe(ListenerAcceptPauses, "listener_accept_pauses", "", "pauses",
		"Times accepting paused because descriptors or memory had run out.")
	describe(ListenerAcceptPaused, "listener_accept_paused", "", "endpoints",
		"Endpoints that accept nothing because descriptors or memory have run out.")
	describe(ListenerHandshakePauses, "listener_handshake_pauses", "", "pauses",
		"Times accepting paused because all places for handshakes were taken.")
	describe(ListenerPaused, "listener_paused", "", "connections",
		"Connections that are not read until the request queue has room.")
	describe(ListenerPauses, "listener_pauses", "", "pauses",
		"Times a connection was paused because the request queue was full.")
	describe(LogDropped, "log_dropped", "kind", "lines",
		"Log lines, and other text, lost because the output was not read in time, by kind.")
	describe(AdminUnauthorized, "admin_unauthorized", "", "requests",
		"Requests to the admin address with TLS that were rejected for want of a token or certificate.")
	describe(AuditLost, "audit_lost", "kind", "lines",
		"Lines of the audit file that are lost, because they found no room or their write failed, by kind.")
}

// Gauge is a registered gauge: a value that is read when it is exported and has no history.
type Gauge struct {
	ID GaugeID // CustomGauge for one of the embedding program
	Info
	Shard int // NoShard for none

	read func() float64
}

// NoShard is the shard number of actors and gauges that belong to no shard.
const NoShard = -1

// Gauge registers a gauge of the catalogue for a shard (NoShard for none) and a value of the gauge's
// label ("" if it has no label). Any goroutine may call read, so it must only load atomics.
func (c *Collector) Gauge(id GaugeID, shard int, value string, read func() float64) {
	info := id.Info()
	if id >= CustomGauge || (info.Label == "") != (value == "") {
		panic(fmt.Sprintf("telemetry: gauge %d %q with label %q has the value %q; "+
			"use an id of the catalogue, and a value exactly if it has a label", id, info.Name, info.Label, value))
	}
	info.Value = value
	c.addGauge(Gauge{ID: id, Info: info, Shard: shard, read: read})
}

// CustomGauge registers a gauge of the embedding program. Names of the catalogue are rejected. Any
// goroutine may call read, so it must only load atomics.
func (c *Collector) CustomGauge(info Info, shard int, read func() float64) error {
	if info.Name == "" {
		return fmt.Errorf("telemetry: custom gauge without a name: %+v", info)
	}
	for _, own := range gaugeInfo() {
		if own.Name == info.Name {
			return fmt.Errorf("telemetry: custom gauge %q has the name of a gauge of the node; "+
				"choose another name", info.Name)
		}
	}
	c.addGauge(Gauge{ID: CustomGauge, Info: info, Shard: shard, read: read})
	return nil
}

func (c *Collector) addGauge(g Gauge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gauges = append(c.gauges, g)
	slices.SortStableFunc(c.gauges, func(a, b Gauge) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Shard-b.Shard,
			strings.Compare(a.Value, b.Value))
	})
}

// Gauges reads all gauges, ordered by name, shard and label.
func (c *Collector) Gauges(f func(g Gauge, value float64)) {
	c.mu.Lock()
	gauges := slices.Clone(c.gauges)
	c.mu.Unlock()
	for _, g := range gauges {
		f(g, g.read())
	}
}
