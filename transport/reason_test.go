package transport

import "testing"

func TestReasonsKeepTheirNumbersAndNames(t *testing.T) {
	for number, want := range map[Reason]struct {
		reason Reason
		name   string
	}{
		0: {ReasonNone, "open"}, 1: {ReasonPeerClosed, "peer_closed"},
		2: {ReasonPeerReset, "peer_reset"},
		3: {ReasonSlowHard, "slow_hard"}, 4: {ReasonSlowSoft, "slow_soft"},
		5: {ReasonStalled, "stalled"},
		6: {ReasonShardBudget, "shard_budget"}, 7: {ReasonEncodeError, "encode_error"},
		8: {ReasonKicked, "kicked"},
		9: {ReasonProtocolError, "protocol_error"}, 10: {ReasonSilent, "silent"},
		11: {ReasonSendError, "send_error"},
		12: {ReasonShutdown, "shutdown"}, 13: {ReasonFenced, "fenced"}, 14: {ReasonOther, "other"},
		15: {ReasonSlowFeed, "slow_feed"}, 16: {ReasonRevoked, "revoked"},

		24: {ReasonLocalShutdown, "local_shutdown"}, 25: {ReasonFrameTooLong, "frame_too_long"},
		26: {ReasonFrameMalformed, "malformed_frame"},
		27: {ReasonRequestFailed, "request_refused_by_handler"},

		28: {ReasonRecordMalformed, "malformed_record"},
		32: {ReasonHandshakeTimeout, "handshake_timeout"},
		33: {ReasonTooManyHandshakes, "too_many_handshakes"},
		34: {ReasonHandshakeMalformed, "malformed_handshake"},
		35: {ReasonUnknownKey, "unknown_key"},
		36: {ReasonBadSignature, "wrong_signature"},
		37: {ReasonHandshakeLost, "peer_left_during_handshake"},
		38: {ReasonConnectionLimit, "connection_limit_reached"},
		39: {ReasonConnectFailed, "connect_refused_by_handler"},
		40: {ReasonAddressLimit, "too_many_connections_from_address"},
		41: {ReasonSetupFailed, "socket_setup_failed"},
		42: {ReasonNoSignature, "missing_signature"},
		43: {ReasonNotLeader, "not_leader"},
		44: {ReasonKeyExpired, "expired_key"},
		45: {ReasonTLSFailed, "tls_handshake_failed"},
		46: {ReasonTLSMismatch, "tls_mismatch"},
		47: {ReasonKeyLimit, "too_many_connections_of_key"},
		48: {ReasonAddressHandshakes, "too_many_handshakes_from_address"},
		49: {ReasonKeyConnectRate, "too_frequent_connections_of_key"},
		29: {ReasonTooManyHeartbeats, "too_many_heartbeats"},

		17: {Reason(17), "unknown"}, 50: {Reason(NumReasons), "unknown"},
		200: {Reason(200), "unknown"},
	} {
		if number != want.reason || number.String() != want.name {
			t.Errorf("reason %d has the name %q; want %d, %q", uint8(number), number, want.reason, want.name)
		}
	}
}

func TestClosingIsAReasonThatAShardCounts(t *testing.T) {
	for r := range Reason(255) {
		want := r
		switch {
		case r == ReasonFrameTooLong || r == ReasonFrameMalformed || r == ReasonRecordMalformed ||
			r == ReasonTooManyHeartbeats:
			want = ReasonProtocolError
		case r >= NumCloseReasons:
			want = ReasonOther
		}
		if got := r.Closing(); got != want || got >= NumCloseReasons {
			t.Errorf("reason %v closes as %v, want %v", r, got, want)
		}
	}
}
