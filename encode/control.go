package encode

// Tags of the transport's own frames (wire.md, version 1). Tags from 0x10 to 0x2F belong to
// application requests and those from TagApplication to application responses.
const (
	TagHeartbeat         = 0x01
	TagBatchEnd          = 0x02
	TagEngineError       = 0x03
	TagServerBusy        = 0x04
	TagChallenge         = 0x05
	TagChallengeResponse = 0x06
	TagAuthFailed        = 0x07
	TagServerReady       = 0x08

	// TagApplication is the first tag an Encoder may use.
	TagApplication = 0x30
)

// Complete frames from server to client that have no body. They are strings because strings are
// immutable; append(buffer, Heartbeat...) copies one.
const (
	// Heartbeat shows a client that the connection is alive while there is nothing to send.
	Heartbeat = "\x01\x00\x00\x00\x01"
	// BatchEnd follows the last frame of a response.
	BatchEnd = "\x01\x00\x00\x00\x02"
	// EngineError reports that a request could not be carried out. A BatchEnd follows it.
	EngineError = "\x01\x00\x00\x00\x03"
	// ServerBusy reports that a request was shed. No BatchEnd follows it.
	ServerBusy = "\x01\x00\x00\x00\x04"
	// AuthFailed is the last frame of a handshake that failed.
	AuthFailed = "\x01\x00\x00\x00\x07"
	// ServerReady ends the handshake.
	ServerReady = "\x01\x00\x00\x00\x08"
)
