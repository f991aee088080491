package telemetry

// DropReason is why a slot will never be delivered. The actor that drops a slot counts it in its own
// block: B.C[reason.Counter()]++.
type DropReason uint8

// Reasons for dropping a slot.
const (
	DropClientGone  DropReason = iota // its connection had ended
	DropSlowClient                    // its connection was closed by a slow-client limit
	DropSendError                     // a send of its connection failed
	DropEncodeError                   // it could not be encoded, or an earlier one of its connection
	DropShutdown                      // the stop deadline passed
	DropFenced                        // this node was superseded
	DropKicked                        // an operator closed its connection

	NumDropReasons = int(DropKicked) + 1
)

// Counter returns the counter of the reason.
func (r DropReason) Counter() Counter { return firstDropped + Counter(r) }

// Name returns the label of the reason.
func (r DropReason) Name() string {
	return [NumDropReasons]string{
		DropClientGone: "client_gone", DropSlowClient: "slow_client", DropSendError: "send_error",
		DropEncodeError: "encode_error", DropShutdown: "shutdown", DropFenced: "fenced",
		DropKicked: "kicked",
	}[r]
}

// CloseReason is why a connection was closed. Numbers and names are those of the transport's reasons,
// which are stable; package actors asserts that they agree.
type CloseReason uint8

// Reasons for closing a connection.
const (
	CloseNone        CloseReason = iota // still open; never counted
	ClosePeerClosed                     // the client closed its side and received every response
	ClosePeerReset                      // the client is gone
	CloseSlowHard                       // more bytes waiting than the hard limit
	CloseSlowSoft                       // more than the soft limit for too long
	CloseStalled                        // bytes waiting and none accepted for too long
	CloseShardBudget                    // it buffered the most when the shard's budget was exceeded
	CloseEncodeError                    // one of its slots could not be encoded
	CloseKicked                         // an operator closed it
	CloseProtocol                       // its requests could not be framed or accepted
	CloseSilent                         // it sent nothing for too long
	CloseSendError                      // the kernel returned an error for it
	CloseShutdown                       // the pipeline ended
	CloseFenced                         // this node was superseded
	CloseOther                          // a reason of the embedding program
	CloseSlowFeed                       // it did not keep up with a topic of which it wants every frame
	CloseRevoked                        // its key is no longer authorized, or may do less

	NumCloseReasons = int(CloseRevoked) + 1
)

// Counter returns the counter of the reason.
func (r CloseReason) Counter() Counter { return firstClosed + Counter(r) }

// Name returns the label of the reason.
func (r CloseReason) Name() string {
	return [NumCloseReasons]string{
		"open", "peer_closed", "peer_reset", "slow_hard", "slow_soft", "stalled", "shard_budget",
		"encode_error",
		"kicked", "protocol_error", "silent", "send_error", "shutdown", "fenced", "other",
		"slow_feed", "revoked",
	}[r]
}

// Drop returns the reason for which the slots of a connection are dropped after it was closed for r.
func (r CloseReason) Drop() DropReason {
	switch r {
	case CloseSlowHard, CloseSlowSoft, CloseStalled, CloseShardBudget, CloseSlowFeed:
		return DropSlowClient
	case CloseSendError:
		return DropSendError
	case CloseEncodeError:
		return DropEncodeError
	case CloseShutdown:
		return DropShutdown
	case CloseFenced:
		return DropFenced
	case CloseKicked, CloseRevoked:
		return DropKicked
	}
	return DropClientGone
}
