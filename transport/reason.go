package transport

// Reason is why a connection ended, or why a client was never served. Listener and shard use the
// same reasons. The numbers are stable: they appear in logs, metrics and the admin endpoint. A new
// reason takes the next free number of its range, and none is ever reused.
//
//	 1..16  a shard closes a connection; the listener reports some of them for a connection that a handler owns
//	24..29  only the listener reports them, for a connection that a handler owns
//	32..49  the listener rejects a client before a handler owns the connection
type Reason uint8

const (
	ReasonNone          Reason = 0  // still open
	ReasonPeerClosed    Reason = 1  // the client closed its side and received every response it was owed
	ReasonPeerReset     Reason = 2  // ECONNRESET or EPIPE: the client is gone
	ReasonSlowHard      Reason = 3  // unsent bytes (or responses) exceeded the hard limit
	ReasonSlowSoft      Reason = 4  // unsent bytes exceeded the soft limit for its duration
	ReasonStalled       Reason = 5  // the client read nothing for the no-progress duration
	ReasonShardBudget   Reason = 6  // it buffered the most when the shard's memory budget was exhausted
	ReasonEncodeError   Reason = 7  // the application's encoder failed or panicked on a response
	ReasonKicked        Reason = 8  // an operator closed it
	ReasonProtocolError Reason = 9  // the reader could not frame or accept a request
	ReasonSilent        Reason = 10 // the client sent nothing, including heartbeats, for too long
	ReasonSendError     Reason = 11 // another error of send(2)
	ReasonShutdown      Reason = 12 // drain or stop of this node
	ReasonFenced        Reason = 13 // this node was superseded
	ReasonOther         Reason = 14 // a reason of the embedding program
	ReasonSlowFeed      Reason = 15 // it did not keep up with a topic of which it wants every frame
	ReasonRevoked       Reason = 16 // its key is no longer authorized, or may do less

	// NumCloseReasons is the number of reasons with which a shard closes a connection, ReasonNone
	// included; for tables indexed by such a Reason.
	NumCloseReasons = 17
)

// Reasons of the listener for a connection that a handler owns; Closing returns the more general
// reason of each.
const (
	ReasonLocalShutdown   Reason = 24 // this process shut the socket down; the shard has the reason
	ReasonFrameTooLong    Reason = 25 // a request's length is above the limit
	ReasonFrameMalformed  Reason = 26 // a length too short for its header, or a heartbeat with a body
	ReasonRequestFailed   Reason = 27 // the handler returned an error for a request
	ReasonRecordMalformed Reason = 28 // a TLS record that cannot be decrypted, or too many without data

	ReasonTooManyHeartbeats Reason = 29 // far more than a client that is alive needs
)

// Reasons of the listener for a client that was never served.
const (
	ReasonHandshakeTimeout   Reason = 32 // the handshake was not done in time
	ReasonTooManyHandshakes  Reason = 33 // ended early because all places for handshakes were taken
	ReasonHandshakeMalformed Reason = 34 // the first frame is not a well-formed Hello
	ReasonUnknownKey         Reason = 35 // the public key is not in the authorized keys
	ReasonBadSignature       Reason = 36 // the signature does not match nonce and key
	ReasonHandshakeLost      Reason = 37 // the peer left, or the socket failed, during the handshake
	ReasonConnectionLimit    Reason = 38 // no permit was left for another connection
	ReasonConnectFailed      Reason = 39 // the handler returned an error for the connection
	ReasonAddressLimit       Reason = 40 // too many connections from this address in too short a time
	ReasonSetupFailed        Reason = 41 // the kernel refused an option or a place in epoll(7)
	ReasonNoSignature        Reason = 42 // Hello is not signed, and the endpoint needs a key
	ReasonNotLeader          Reason = 43 // this node does not lead; the client was told where to go
	ReasonKeyExpired         Reason = 44 // the key was authorized until a time that has passed
	ReasonTLSFailed          Reason = 45 // the TLS handshake failed
	ReasonTLSMismatch        Reason = 46 // the client spoke TLS and the endpoint does not, or the reverse
	ReasonKeyLimit           Reason = 47 // the key has as many connections as it may have
	ReasonAddressHandshakes  Reason = 48 // too many handshakes of this address are under way
	ReasonKeyConnectRate     Reason = 49 // too many connections of this key in too short a time

	// NumReasons bounds the numbers of all reasons, for tables indexed by Reason.
	NumReasons = 50
)

// reasonNames are the names of all reasons. It is never written.
var reasonNames = [NumReasons]string{
	ReasonNone: "open", ReasonPeerClosed: "peer_closed", ReasonPeerReset: "peer_reset", ReasonSlowHard: "slow_hard",
	ReasonSlowSoft: "slow_soft", ReasonStalled: "stalled", ReasonShardBudget: "shard_budget",
	ReasonEncodeError: "encode_error", ReasonKicked: "kicked", ReasonProtocolError: "protocol_error",
	ReasonSilent: "silent", ReasonSendError: "send_error", ReasonShutdown: "shutdown", ReasonFenced: "fenced",
	ReasonOther: "other", ReasonSlowFeed: "slow_feed", ReasonRevoked: "revoked",

	ReasonLocalShutdown: "local_shutdown", ReasonFrameTooLong: "frame_too_long",
	ReasonFrameMalformed: "malformed_frame", ReasonRequestFailed: "request_refused_by_handler",
	ReasonRecordMalformed: "malformed_record",

	ReasonHandshakeTimeout: "handshake_timeout", ReasonTooManyHandshakes: "too_many_handshakes",
	ReasonHandshakeMalformed: "malformed_handshake", ReasonUnknownKey: "unknown_key",
	ReasonBadSignature: "wrong_signature", ReasonHandshakeLost: "peer_left_during_handshake",
	ReasonConnectionLimit: "connection_limit_reached", ReasonConnectFailed: "connect_refused_by_handler",
	ReasonAddressLimit: "too_many_connections_from_address", ReasonSetupFailed: "socket_setup_failed",
	ReasonNoSignature: "missing_signature", ReasonNotLeader: "not_leader",
	ReasonKeyExpired: "expired_key",
	ReasonTLSFailed:  "tls_handshake_failed", ReasonTLSMismatch: "tls_mismatch",
	ReasonKeyLimit:          "too_many_connections_of_key",
	ReasonKeyConnectRate:    "too_frequent_connections_of_key",
	ReasonAddressHandshakes: "too_many_handshakes_from_address", ReasonTooManyHeartbeats: "too_many_heartbeats",
}

// String returns the reason's stable name, as metrics and logs show it.
func (r Reason) String() string {
	if int(r) < NumReasons && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return "unknown"
}

// Slow reports whether the connection was ended because of the bytes or responses that it held
// back.
func (r Reason) Slow() bool {
	return r >= ReasonSlowHard && r <= ReasonShardBudget || r == ReasonSlowFeed
}

// Closing returns the reason with which a shard closes a connection for r. It is below
// NumCloseReasons: ReasonProtocolError for the errors of framing and floods of heartbeats, and ReasonOther
// for any reason that shards do not have.
func (r Reason) Closing() Reason {
	switch {
	case r < NumCloseReasons:
		return r
	case r == ReasonFrameTooLong || r == ReasonFrameMalformed || r == ReasonRecordMalformed ||
		r == ReasonTooManyHeartbeats:
		return ReasonProtocolError
	}
	return ReasonOther
}
