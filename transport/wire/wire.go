package wire

// Tags of the transport, 0x01 to 0x0F. The owner of a tag's number is docs/wire.md.
const (
	TagHeartbeat         uint8 = 0x01 // both directions, no body: "still here"
	TagBatchEnd          uint8 = 0x02 // server, no body: every frame that answers this request was sent
	TagEngineError       uint8 = 0x03 // server, no body: the request was refused; a BatchEnd follows
	TagServerBusy        uint8 = 0x04 // server, no body: a request was shed and will not be answered otherwise
	TagChallenge         uint8 = 0x05 // server, body: a nonce of NonceSize bytes
	TagChallengeResponse uint8 = 0x06 // client, body: Ed25519 signature over the nonce, then the public key
	TagAuthFailed        uint8 = 0x07 // server, no body: the handshake failed, the connection is closed
	TagServerReady       uint8 = 0x08 // server, no body: requests are read from now on
	TagTraced            uint8 = 0x0B // client, body: trace context of TraceSize bytes, then tag and body of the request
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
	PrefixSize         = 4  // the length in front of every frame; it does not count itself
	RequestHeaderSize  = 9  // request_seq and tag: the smallest legal length of a request
	ResponseHeaderSize = 1  // tag: the smallest legal length of a response
	NonceSize          = 32 // random bytes in a Challenge
	SignatureSize      = 64 // Ed25519 signature in a ChallengeResponse
	PublicKeySize      = 32 // Ed25519 public key in a ChallengeResponse
	TraceSize          = 25 // trace id 16, span id 8, trace-flags 1, as in W3C traceparent

	ChallengeFrameSize         = PrefixSize + ResponseHeaderSize + NonceSize                    // 37
	ChallengeResponseFrameSize = PrefixSize + RequestHeaderSize + SignatureSize + PublicKeySize // 109

	MaxHandshake      = 256     // most bytes of a handshake frame, prefix included
	DefaultMaxRequest = 1024    // most bytes after the prefix of a request unless configured otherwise
	MaxResponse       = 1 << 20 // most bytes of a response frame any server can be configured to send
)

// Frames without a variable part, complete with prefix. They are strings so that nobody can change them.
const (
	Heartbeat       = "\x01\x00\x00\x00\x01"
	BatchEnd        = "\x01\x00\x00\x00\x02"
	EngineError     = "\x01\x00\x00\x00\x03"
	ServerBusy      = "\x01\x00\x00\x00\x04"
	AuthFailed      = "\x01\x00\x00\x00\x07"
	ServerReady     = "\x01\x00\x00\x00\x08"
	ClientHeartbeat = "\x09\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01" // request_seq 0
)
