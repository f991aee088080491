package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Refusal is why a request was not carried out: the reason in an EngineError.
type Refusal uint8

// Reasons of an EngineError. A client treats an unknown one as RefusalMalformed.
const (
	RefusalUnknownTag   Refusal = 1 // no request has that tag
	RefusalSize         Refusal = 2 // the body has the wrong size for its tag
	RefusalRole         Refusal = 3 // the client's role does not permit the request
	RefusalMalformed    Refusal = 4 // the application's own check rejected the body
	RefusalNotAvailable Refusal = 5 // an operator's command that is not served, or has no place now
	RefusalTopic        Refusal = 6 // there is no such topic, or the client may not follow it
	RefusalLimit        Refusal = 7 // a limit on topics or subscriptions is reached
	RefusalQuota        Refusal = 8 // the client uses as much as its key may
)

// String is the reason in words.
func (r Refusal) String() string {
	switch r {
	case RefusalUnknownTag:
		return "unknown tag"
	case RefusalSize:
		return "wrong size"
	case RefusalRole:
		return "role not permitted"
	case RefusalMalformed:
		return "malformed"
	case RefusalNotAvailable:
		return "not available"
	case RefusalTopic:
		return "no such topic, or not permitted"
	case RefusalLimit:
		return "limit of topics or subscriptions"
	case RefusalQuota:
		return "quota of the key"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// DecodeBatchEnd decodes the body of a BatchEnd: the request_seq whose response is complete.
func DecodeBatchEnd(body []byte) (request uint64, ok bool) { return decodeNumber(body) }

// DecodeServerBusy decodes the body of a ServerBusy: the request_seq that was shed.
func DecodeServerBusy(body []byte) (request uint64, ok bool) { return decodeNumber(body) }

// DecodeEngineError decodes the body of an EngineError.
func DecodeEngineError(body []byte) (request uint64, reason Refusal, ok bool) {
	if len(body) < 9 {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint64(body), Refusal(body[8]), true
}

func decodeNumber(body []byte) (uint64, bool) {
	if len(body) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(body), true
}

// CloseReason is why the server ends a connection. The numbers are stable.
type CloseReason uint8

// Reasons of a Close. docs/wire.md says what a client does for each.
const (
	CloseShutdown         CloseReason = 1  // the server drains or stops
	CloseKicked           CloseReason = 2  // an operator closed the connection
	CloseSlow             CloseReason = 3  // the client reads too slowly
	CloseProtocolError    CloseReason = 4  // a frame is malformed or too long
	CloseSilent           CloseReason = 5  // the client sent nothing for too long
	CloseLimit            CloseReason = 6  // connections, or connections of the address
	CloseUnauthorized     CloseReason = 7  // the key is unknown, or the signature wrong or missing
	CloseHandshakeTimeout CloseReason = 8  // the handshake was not done in time
	CloseInternal         CloseReason = 9  // the server failed to serve this connection
	CloseNotLeader        CloseReason = 10 // the server does not lead its cluster; it read no request
	CloseElsewhere        CloseReason = 11 // another server has taken over, or is about to
	CloseBehind           CloseReason = 12 // reserved (cluster)
	CloseRevoked          CloseReason = 13 // the key is no longer accepted, or may do less
	CloseSlowFeed         CloseReason = 15 // reserved (topics)
)

// String is the reason's stable name; "reason 14" for one without a name.
func (r CloseReason) String() string {
	names := [...]string{
		CloseShutdown: "shutdown", CloseKicked: "kicked", CloseSlow: "slow",
		CloseProtocolError: "protocol_error", CloseSilent: "silent", CloseLimit: "limit",
		CloseUnauthorized: "unauthorized", CloseHandshakeTimeout: "handshake_timeout",
		CloseInternal: "internal", CloseNotLeader: "not_leader", CloseElsewhere: "elsewhere",
		CloseBehind: "behind", CloseRevoked: "revoked", CloseSlowFeed: "slow_feed",
	}
	if int(r) < len(names) && names[r] != "" {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Never as the RetryAfter of a Close means that the client must not come back by itself.
const Never time.Duration = -1

// Close is the last frame of a connection that the server ends for a reason of its own.
type Close struct {
	Reason     CloseReason
	RetryAfter time.Duration // wait before the next attempt at this server; 0: at once; Never; whole ms

	// Address is the server to which the client goes instead: "host:port", or a unix-domain socket;
	// at most MaxAddress bytes. Empty: none.
	Address string

	// Answered says that every request of this connection that was carried out was answered before this
	// frame; the others were not carried out and never will be. False says nothing.
	Answered bool
}

// MaxAddress is the size in bytes of the longest address in a Close.
const MaxAddress = 244

// closeAnswered is the flag of a Close for Answered.
const closeAnswered = 1 << 0

// AppendClose appends a Close. A negative RetryAfter is Never. An address that is too long is left
// out.
func AppendClose(dst []byte, c Close) []byte {
	retry := min(millis(c.RetryAfter), math.MaxUint32-1)
	if c.RetryAfter < 0 {
		retry = math.MaxUint32
	}
	size, flags := 6, uint8(0)
	if c.Answered {
		flags |= closeAnswered
	}
	if len(c.Address) > MaxAddress {
		c.Address = ""
	}
	if c.Address != "" {
		size += 1 + len(c.Address)
	}
	dst = appendResponseHeader(dst, TagClose, size)
	dst = append(dst, uint8(c.Reason), flags)
	dst = binary.LittleEndian.AppendUint32(dst, retry)
	if c.Address == "" {
		return dst
	}
	return append(append(dst, uint8(len(c.Address))), c.Address...)
}

// DecodeClose decodes the body of a Close; ok is false if it is too short. The address is what the
// server sent, whatever its bytes.
func DecodeClose(body []byte) (c Close, ok bool) {
	if len(body) < 6 || len(body) > 6 && len(body) < 7+int(body[6]) {
		return Close{}, false
	}
	retry := binary.LittleEndian.Uint32(body[2:])
	c = Close{Reason: CloseReason(body[0]), Answered: body[1]&closeAnswered != 0, RetryAfter: fromMillis(retry)}
	if retry == math.MaxUint32 {
		c.RetryAfter = Never
	}
	if len(body) > 6 {
		c.Address = string(body[7 : 7+int(body[6])])
	}
	return c, true
}
