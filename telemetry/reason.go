package telemetry

// DropReason says why a slot will never be delivered. Whoever drops a slot
// counts it in its own block: B.C[reason.Counter()]++.
type DropReason uint8

// Reasons for dropping a slot.
const (
	DropClientGone  DropReason = iota // its connection had ended
	DropSlowClient                    // its connection was closed by a slow-client limit
	DropSendError                     // the kernel refused its connection's bytes
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
		DropEncodeError: "encode_error", DropShutdown: "shutdown", DropFenced: "fenced", DropKicked: "kicked",
	}[r]
}

// CloseReason says why a connection was closed.
type CloseReason uint8

// Reasons for closing a connection.
const (
	CloseClientGone  CloseReason = iota // the client closed or reset it
	CloseHardLimit                      // more bytes waiting than the hard limit
	CloseSoftLimit                      // more than the soft limit for too long
	CloseNoProgress                     // bytes waiting and none accepted for too long
	CloseBudget                         // the worst offender when the shard's budget was exceeded
	CloseSendError                      // the kernel returned an error for it
	CloseEncodeError                    // one of its slots could not be encoded
	CloseShutdown                       // the pipeline ended
	CloseFenced                         // this node was superseded
	CloseKicked                         // an operator asked for it

	NumCloseReasons = int(CloseKicked) + 1
)

// Counter returns the counter of the reason.
func (r CloseReason) Counter() Counter { return firstClosed + Counter(r) }

// Name returns the label of the reason.
func (r CloseReason) Name() string {
	return [NumCloseReasons]string{
		CloseClientGone: "client_gone", CloseHardLimit: "slow_hard_limit", CloseSoftLimit: "slow_soft_limit",
		CloseNoProgress: "slow_no_progress", CloseBudget: "slow_budget", CloseSendError: "send_error",
		CloseEncodeError: "encode_error", CloseShutdown: "shutdown", CloseFenced: "fenced", CloseKicked: "kicked",
	}[r]
}

// Drop returns the reason under which slots still waiting for a connection
// that was closed for r are counted.
func (r CloseReason) Drop() DropReason {
	return [NumCloseReasons]DropReason{
		CloseClientGone: DropClientGone, CloseHardLimit: DropSlowClient, CloseSoftLimit: DropSlowClient,
		CloseNoProgress: DropSlowClient, CloseBudget: DropSlowClient, CloseSendError: DropSendError,
		CloseEncodeError: DropEncodeError, CloseShutdown: DropShutdown, CloseFenced: DropFenced, CloseKicked: DropKicked,
	}[r]
}
