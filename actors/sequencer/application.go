package sequencer

import (
	"io"

	"sluice/transport/listen"
)

// Roles of an authenticated client, as Request.Role and the journal carry them. Zero is
// deliberately no role: a request whose role was never filled in may do nothing.
const (
	RoleReadonly = uint8(listen.Readonly)
	RoleTrader   = uint8(listen.Trader)
	RoleOperator = uint8(listen.Operator)
)

// Request is one client request, decoded as far as the frame header goes. What Tag
// and Body mean is the application's business.
type Request struct {
	// Conn is the connection the request arrived on, never 0 for a client. It is
	// part of the journaled event, so a replay sees the number the first run saw.
	// Applications remember it to report later events to it; therefore a number is never
	// given to a second connection, including after a restart, or another client would
	// receive those reports. Reports to a connection that is gone are dropped.
	Conn uint64
	// Seq is the client's own request_seq, copied from the frame and not interpreted.
	Seq uint64
	// Role is the role the connection authenticated as (RoleReadonly, ...).
	Role uint8
	// Tag is the message type, 0x10..0x2F.
	Tag uint8
	// Trace is the trace context that came with the request (telemetry.Parent, packed), or
	// nil. It is not journaled, and the application ignores it.
	Trace []byte
	// Body is what follows the tag. It belongs to the caller and is valid only
	// during the call; an application that wants to keep bytes copies them.
	Body []byte
}

// Emitter gives an application the slots for its outputs, so that an output is written
// once, where the pipeline reads it. A connection receives its slots in the order in
// which they were requested. The sequencer writes BatchEnd after the last of a
// request; an application never does.
type Emitter[R, Q any] interface {
	// Report returns the next report slot for connection conn, zeroed. The pointer is
	// valid until the next call of either method. A report leaves the node only
	// after the event that caused it is durable.
	Report(conn uint64) *R
	// Query returns the next answer slot, under the same rules as Report.
	Query(conn uint64) *Q
}

// Application is the deterministic state machine behind the sequencer. R is the type
// of its reports (what journaled events cause) and Q of its answers to queries; both
// are plain values without pointers, since their slots are reused.
//
// All methods except IsQuery and Check are called from one goroutine, the
// sequencer's. IsQuery and Check look only at their arguments and at configuration
// that never changes, and may be called from any goroutine.
//
// Determinism is the contract: two instances that were restored from equal
// snapshots (or started empty with the same configuration) and were given the same
// Apply calls must produce the same outputs and the same snapshot, byte for byte. An
// application therefore reads no clock, no random source and no map in iteration
// order, and does no I/O outside Snapshot and Restore.
type Application[R, Q any] interface {
	// IsQuery reports whether a request with this tag only reads. Queries are not
	// journaled; they see the state between two events.
	IsQuery(tag uint8) bool

	// Check is the cheap static validation before a request is sequenced: unknown
	// tag, wrong length, role not permitted. An error is answered with
	// EngineError and BatchEnd and the request goes no further. The error's text is
	// neither sent nor logged. Check must not depend on the state, because it runs
	// before the request's place in the order is known; what depends on the state is
	// an output of Apply.
	Check(req *Request) error

	// Apply executes the journaled event number seq and emits what it caused, at
	// least one report to req.Conn. Every request given to Apply passed Check, when
	// it was sequenced or, in a replay, in the run that journaled it. During a replay the
	// emitter discards.
	Apply(seq uint64, req *Request, out Emitter[R, Q])

	// Query answers one query from the current state and changes nothing.
	Query(req *Request, out Emitter[R, Q])

	// Snapshot writes the whole state to w. The state does not change meanwhile.
	Snapshot(w io.Writer) error

	// Restore replaces the state by one that Snapshot wrote, and reads not a byte
	// more than Snapshot wrote. On an error the previous state is untouched and the
	// error says what is wrong with the data.
	Restore(r io.Reader) error
}
