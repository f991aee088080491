package telemetry

// Info describes a counter, mark or gauge for people and exporters.
type Info struct {
	Name  string // the same in metrics, dumps and logs
	Label string // name of the only label; empty if there is none
	Value string // value of that label
	Unit  string // unit of the value, such as slots or ns
	Help  string // one sentence; the same for all counters with one name
}

// Counter identifies a counter in Block.C. It is an index, so counting is one addition.
type Counter uint8

// All counters of all actors; counterInfo below has the sentence of each.
const (
	GateSlots Counter = iota
	GateBypassed
	GateOvertaken
	GateWaits
	GateOpenedJournal
	GateOpenedReplication
	GateOpenedProof
	GateSwaps
	GateTorn

	EncodeFrames
	EncodeBytes
	EncodeErrors
	EncodePanics
	EncodeOversized

	EgressSlots
	EgressFramesSent
	EgressBytesSent
	EgressSendOK
	EgressSendShort
	EgressSendAgain
	EgressSendError
	EgressPolls
	EgressSubmits
	EgressFlushBytes
	EgressFlushSlots
	EgressFlushLull
	EgressFlushStop
	EgressHeartbeats
	EgressBusy
	EgressInterrupted
	EgressNoMemory
	EgressStale
	EgressShutdownErrors
	EgressCloseErrors
	EgressNoticesDropped

	EncodeTopics
	EgressTopics
	TopicPublished
	TopicDelivered
	TopicSkippedGap
	TopicSkippedLatest
	TopicSkippedClosed
	TopicSkippedFailed
	TopicJoins
	TopicLeaves
	TopicResumes
	TopicGaps
	TopicResyncs
	TopicMixed
	TopicFlushes

	firstDropped // one per DropReason
	firstClosed  = firstDropped + Counter(NumDropReasons)
	afterClosed  = firstClosed + Counter(NumCloseReasons)
)

// Counters after the two enumerated groups.
const (
	RunnerBusy Counter = afterClosed + iota
	RunnerIdle
	RunnerParks
	RunnerBusyTime
	RunnerSpinTime
	RunnerParkedTime

	ControlConnected
	ControlDisconnected
	ControlBusy
	ControlKicked
	ControlRefused

	MailboxFull
	TracesTaken
	TracesDropped
	ClockBackwards

	afterCounters
	// NumCounters is the number of counters in a block.
	NumCounters = int(afterCounters)
)

// Info returns name, label, unit and sentence of the counter.
func (c Counter) Info() Info { return counterInfo()[c] }

func counterInfo() [NumCounters]Info {
	var t [NumCounters]Info
	describeGateAndEncode(&t)
	describeEgress(&t)
	describeTopics(&t)
	describeRest(&t)
	for r := range DropReason(NumDropReasons) {
		t[r.Counter()] = Info{"dropped", "reason", r.Name(), "slots",
			"Slots that will never be delivered, by reason; slots in = delivered + dropped."}
	}
	for r := range CloseReason(NumCloseReasons) {
		t[r.Counter()] = Info{"egress_closed", "reason", r.Name(), "connections",
			"Connections closed, by reason."}
	}
	return t
}

func describeGateAndEncode(t *[NumCounters]Info) {
	const opened = "Times the gate opened after a wait, by what reached the slot last."
	t[GateSlots] = Info{"gate_slots", "", "", "slots", "Slots released by the gate."}
	t[GateBypassed] = Info{"gate_bypassed", "", "", "slots",
		"Slots released because they need no durability."}
	t[GateOvertaken] = Info{"gate_overtaken", "", "", "slots",
		"Bypass slots delivered ahead of waiting slots of other connections."}
	t[GateWaits] = Info{"gate_waits", "", "", "waits",
		"Times the head slot was not yet durable when the gate first looked."}
	t[GateOpenedJournal] = Info{"gate_opened", "blocker", "journal", "opens", opened}
	t[GateOpenedReplication] = Info{"gate_opened", "blocker", "replication", "opens", opened}
	t[GateOpenedProof] = Info{"gate_opened", "blocker", "proof", "opens", opened}
	t[GateSwaps] = Info{"gate_policy_swaps", "", "", "swaps",
		"Durability policies adopted at run time."}
	t[GateTorn] = Info{"gate_torn_snapshots", "", "", "reads",
		"Cursor snapshots abandoned for one step because the cursors kept changing."}

	t[EncodeFrames] = Info{"encode_frames", "", "", "frames", "Slots encoded and passed on to a shard."}
	t[EncodeBytes] = Info{"encode_bytes", "", "", "bytes", "Encoded bytes passed on to the shards."}
	t[EncodeErrors] = Info{"encode_errors", "", "", "slots",
		"Slots whose encoder returned an error or a malformed frame."}
	t[EncodePanics] = Info{"encode_panics", "", "", "slots", "Slots whose encoder panicked."}
	t[EncodeOversized] = Info{"encode_oversized", "", "", "slots",
		"Slots whose frame was larger than the frame limit."}
}

func describeEgress(t *[NumCounters]Info) {
	const (
		sends   = "Sends completed by the kernel, by outcome."
		flushes = "Flushes, by what triggered them."
	)
	t[EgressSlots] = Info{"egress_slots", "", "", "slots", "Slots appended to a connection's buffer."}
	t[EgressFramesSent] = Info{"egress_frames_sent", "", "", "slots",
		"Slots whose last byte the kernel accepted."}
	t[EgressBytesSent] = Info{"egress_bytes_sent", "", "", "bytes", "Bytes accepted by the kernel."}
	t[EgressSendOK] = Info{"egress_sends", "outcome", "ok", "sends", sends}
	t[EgressSendShort] = Info{"egress_sends", "outcome", "short", "sends", sends}
	t[EgressSendAgain] = Info{"egress_sends", "outcome", "again", "sends", sends}
	t[EgressSendError] = Info{"egress_sends", "outcome", "error", "sends", sends}
	t[EgressPolls] = Info{"egress_polls", "", "", "polls",
		"Writability polls armed because a socket was full."}
	t[EgressSubmits] = Info{"egress_submits", "", "", "submits",
		"Submits to the ring; one flush can need several."}
	t[EgressFlushBytes] = Info{"egress_flushes", "reason", "bytes", "flushes", flushes}
	t[EgressFlushSlots] = Info{"egress_flushes", "reason", "slots", "flushes", flushes}
	t[EgressFlushLull] = Info{"egress_flushes", "reason", "lull", "flushes", flushes}
	t[EgressFlushStop] = Info{"egress_flushes", "reason", "stop", "flushes", flushes}
	t[EgressHeartbeats] = Info{"egress_heartbeats", "", "", "frames",
		"Heartbeats appended to quiet connections."}
	t[EgressBusy] = Info{"egress_busy", "", "", "frames", "ServerBusy frames appended."}
	t[EgressInterrupted] = Info{"egress_sends", "outcome", "interrupted", "sends", sends}
	t[EgressNoMemory] = Info{"egress_sends", "outcome", "no_memory", "sends", sends}
	t[EgressStale] = Info{"egress_stale_completions", "", "", "completions",
		"Completions that matched no connection; above 0 only if the ring is faulty."}
	t[EgressShutdownErrors] = Info{"egress_shutdown_errors", "", "", "errors",
		"Sockets that were already disconnected when the shard shut them down."}
	t[EgressCloseErrors] = Info{"egress_close_errors", "", "", "errors",
		"Sockets whose close returned an error."}
	t[EgressNoticesDropped] = Info{"egress_notices_dropped", "", "", "notices",
		"Connection notices dropped because the program did not consume them in time."}
}

func describeTopics(t *[NumCounters]Info) {
	const (
		skipped = "Topic frames that a subscriber is never sent, by reason; published = delivered + skipped."
		changes = "Changes of subscriptions, by kind."
	)
	t[EncodeTopics] = Info{"encode_topics", "", "", "slots", "Topic frames encoded."}
	t[EgressTopics] = Info{"egress_topics", "", "", "frames", "Topic frames taken by a shard."}
	t[TopicPublished] = Info{"topic_published", "", "", "frames",
		"Topic frames times the subscribers that each had when its shard took it."}
	t[TopicDelivered] = Info{"topic_delivered", "", "", "frames",
		"Topic frames whose last byte the kernel accepted, for each subscriber."}
	t[TopicSkippedGap] = Info{"topic_skipped", "reason", "gap", "frames", skipped}
	t[TopicSkippedLatest] = Info{"topic_skipped", "reason", "latest", "frames", skipped}
	t[TopicSkippedClosed] = Info{"topic_skipped", "reason", "closed", "frames", skipped}
	t[TopicSkippedFailed] = Info{"topic_skipped", "reason", "encode_error", "frames", skipped}
	t[TopicJoins] = Info{"topic_subscriptions", "event", "joined", "subscriptions", changes}
	t[TopicLeaves] = Info{"topic_subscriptions", "event", "left", "subscriptions", changes}
	t[TopicResumes] = Info{"topic_subscriptions", "event", "resumed", "subscriptions", changes}
	t[TopicGaps] = Info{"topic_gaps", "", "", "gaps",
		"Subscriptions that lost frames because their client read too slowly."}
	t[TopicResyncs] = Info{"topic_resyncs", "", "", "snapshots", "Snapshots requested after a gap."}
	t[TopicMixed] = Info{"topic_mixed", "", "", "frames",
		"Topic frames copied into a connection's own buffer, to keep their order with other frames."}
	t[TopicFlushes] = Info{"topic_flushes", "", "", "flushes",
		"Flushes made because a tape was about to overwrite frames that were not offered yet."}
}

func describeRest(t *[NumCounters]Info) {
	const (
		rounds = "Steps of the actor, by whether there was work."
		spent  = "Time of the actor's goroutine, by what it did."
		events = "Control events handled, by kind."
	)
	t[RunnerBusy] = Info{"runner_steps", "state", "busy", "steps", rounds}
	t[RunnerIdle] = Info{"runner_steps", "state", "idle", "steps", rounds}
	t[RunnerParks] = Info{"runner_parks", "", "", "parks", "Times the actor's goroutine went to sleep."}
	t[RunnerBusyTime] = Info{"runner_time", "state", "busy", "ns", spent}
	t[RunnerSpinTime] = Info{"runner_time", "state", "spin", "ns", spent}
	t[RunnerParkedTime] = Info{"runner_time", "state", "parked", "ns", spent}
	t[ControlConnected] = Info{"control_events", "event", "connected", "events", events}
	t[ControlDisconnected] = Info{"control_events", "event", "disconnected", "events", events}
	t[ControlBusy] = Info{"control_events", "event", "busy", "events", events}
	t[ControlKicked] = Info{"control_events", "event", "kick", "events", events}
	t[ControlRefused] = Info{"control_events", "event", "refused", "events", events}
	t[MailboxFull] = Info{"mailbox_full", "", "", "events",
		"Times the actor had items to pass on and the next mailbox was full."}
	t[TracesTaken] = Info{"traces_taken", "", "", "traces", "Sampled slots put into the trace box."}
	t[TracesDropped] = Info{"traces_dropped", "", "", "traces",
		"Sampled slots dropped because the trace box was full."}
	t[ClockBackwards] = Info{"clock_backwards", "", "", "events",
		"Intervals counted as 0 because stamps of two cores were out of order."}
}
