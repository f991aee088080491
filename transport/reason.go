package transport

// Reason says why a connection was ended. The numbers are stable: they appear in logs, metrics and the
// admin endpoint, so a new reason takes the next free number and none is ever reused.
type Reason uint8

const (
	ReasonNone          Reason = 0  // still open
	ReasonPeerClosed    Reason = 1  // the client closed its side and got every answer it was owed
	ReasonPeerReset     Reason = 2  // ECONNRESET or EPIPE: the client is gone
	ReasonSlowHard      Reason = 3  // unsent bytes (or answers) passed the hard limit
	ReasonSlowSoft      Reason = 4  // unsent bytes stayed over the soft limit for its duration
	ReasonStalled       Reason = 5  // the client took no byte for the no-progress duration
	ReasonShardBudget   Reason = 6  // worst offender when the shard's memory budget was spent
	ReasonEncodeError   Reason = 7  // the application's encoder failed or panicked on an answer
	ReasonKicked        Reason = 8  // an operator asked for it
	ReasonProtocolError Reason = 9  // the reader could not frame or accept a request
	ReasonSilent        Reason = 10 // the client sent nothing, not even a heartbeat, for too long
	ReasonSendError     Reason = 11 // another error of send(2)
	ReasonShutdown      Reason = 12 // drain or stop of this node
	ReasonFenced        Reason = 13 // this node was superseded
	ReasonOther         Reason = 14 // the embedder's own reason

	// ReasonCount is the number of reasons, for tables indexed by Reason.
	ReasonCount = 15
)

// String returns the reason's stable name, as metrics and logs show it.
func (r Reason) String() string {
	names := [ReasonCount]string{
		"open", "peer_closed", "peer_reset", "slow_hard", "slow_soft", "stalled", "shard_budget", "encode_error",
		"kicked", "protocol_error", "silent", "send_error", "shutdown", "fenced", "other",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// Slow reports that the connection was ended for what it held back.
func (r Reason) Slow() bool { return r >= ReasonSlowHard && r <= ReasonShardBudget }
