package wire

// Tags of the transport, 0x01 to 0x0F. They are assigned in docs/wire.md, with the layout of each
// body. 0x06 and 0x07 are free.
const (
	TagHeartbeat     uint8 = 0x01 // both: the sender is alive
	TagBatchEnd      uint8 = 0x02 // server: the response to a request is complete
	TagEngineError   uint8 = 0x03 // server: a request was rejected; its BatchEnd follows
	TagServerBusy    uint8 = 0x04 // server: a request was shed; it gets no other response
	TagChallenge     uint8 = 0x05 // server: a nonce; the first frame of a connection
	TagServerReady   uint8 = 0x08 // server: the client is admitted; limits
	TagAdminCommand  uint8 = 0x09 // client, role operator: a command in JSON
	TagAdminResponse uint8 = 0x0A // server: the result of a command in JSON
	TagTraced        uint8 = 0x0B // client: a trace context and a request
	TagHello         uint8 = 0x0C // client: key and signature, wishes; ends its part of the handshake
	TagClose         uint8 = 0x0D // server: why it closes the connection; the last frame
	TagSessionState  uint8 = 0x0E // server: reserved for sessions
	TagExtended      uint8 = 0x0F // both: topics; the body begins with a sub-tag
)

// Limits of the tag ranges, all inclusive.
const (
	TransportFirst uint8 = 0x01 // first tag of the transport
	TransportLast  uint8 = 0x0F // last tag of the transport
	RequestFirst   uint8 = 0x10 // first tag of an application request
	RequestLast    uint8 = 0x2F // last tag of an application request
	ResponseFirst  uint8 = 0x30 // first tag of an application response; the range ends at 0xFF
)

// Sizes in bytes.
const (
	PrefixSize         = 4  // length in front of every frame; does not count itself
	RequestHeaderSize  = 9  // request_seq and tag: minimum length of a request
	ResponseHeaderSize = 1  // tag: minimum length of a response
	NonceSize          = 32 // random bytes in a Challenge
	SignatureSize      = 64 // Ed25519 signature in a Hello
	PublicKeySize      = 32 // Ed25519 public key in a Hello
	TraceSize          = 25 // trace id 16, span id 8, trace-flags 1, as in W3C traceparent

	ChallengeFrameSize = PrefixSize + ResponseHeaderSize + NonceSize + 1 // 38

	MaxHandshake      = 256     // maximum size of a Hello, prefix included
	DefaultMaxRequest = 1024    // default limit on the length of a request
	MaxResponse       = 1 << 20 // largest length of a response that a server can be configured for
)

// Frames with fixed contents, prefix included. They are strings, so they cannot be modified.
const (
	Heartbeat       = "\x01\x00\x00\x00\x01"
	ClientHeartbeat = "\x09\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01" // request_seq 0
)
