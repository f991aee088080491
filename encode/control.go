package encode

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Tags of the frames that the pipeline itself appends to a stream (wire.md). Tags from
// TagApplication on belong to the application's responses.
const (
	TagHeartbeat   = 0x01
	TagBatchEnd    = 0x02
	TagEngineError = 0x03
	TagServerBusy  = 0x04
	TagClose       = 0x0D
	TagExtended    = 0x0F // topics; begins with a sub-tag

	// TagApplication is the first tag an Encoder may use.
	TagApplication = 0x30
)

// Sub-tags of TagExtended.
const (
	subTopicData     = 0x81
	subSnapshotBegin = 0x82
	subSnapshotEnd   = 0x83
	subGap           = 0x84
)

// TopicBytes is how many bytes longer a topic frame is than the application's frame in it.
const TopicBytes = 1 + 1 + 8 + 8

// BatchEndBytes is the size of a BatchEnd frame: length prefix, tag and request number.
const BatchEndBytes = headerLen + 8

// MaxControl is the size in bytes of the largest control message, and of what Framing.Control may
// append for one.
const MaxControl = 256

// MaxAddress is the size in bytes of the longest address in a Close.
const MaxAddress = MaxControl - headerLen - 7

// Control is a message of the pipeline's own to a client. Which fields are used depends on Kind.
type Control struct {
	Kind    ControlKind
	Request uint64      // BatchEnd, EngineError, ServerBusy: the client's number of the request
	Refusal Refusal     // EngineError
	Reason  CloseReason // Close

	// Answered, in a Close, says that every request of the connection that was carried out was answered
	// before it, and that the others never will be carried out.
	Answered bool

	Topic    uint64 // SnapshotBegin, SnapshotEnd, Gap
	TopicSeq uint64 // of the last frame that the snapshot contains, or that is lost in the gap
	Epoch    uint64 // SnapshotBegin: of the topic

	RetryAfter time.Duration // Close: wait before the client connects to this server again; Never
	Address    string        // Close: the server to which the client goes, at most MaxAddress bytes; empty: none
}

// ControlKind is what a Control says.
type ControlKind uint8

const (
	ControlHeartbeat     ControlKind = iota // the connection is alive while there is nothing to send
	ControlBatchEnd                         // the response to a request is complete
	ControlEngineError                      // a request was rejected; a BatchEnd follows
	ControlServerBusy                       // a request was shed; it gets no other response
	ControlClose                            // the server closes the connection; the last message
	ControlSnapshotBegin                    // what follows describes a topic
	ControlSnapshotEnd                      // the description is complete; topic frames follow
	ControlGap                              // topic frames are lost; a snapshot follows
)

// String returns the name of wire.md.
func (k ControlKind) String() string {
	switch k {
	case ControlHeartbeat:
		return "Heartbeat"
	case ControlBatchEnd:
		return "BatchEnd"
	case ControlEngineError:
		return "EngineError"
	case ControlServerBusy:
		return "ServerBusy"
	case ControlClose:
		return "Close"
	case ControlSnapshotBegin:
		return "SnapshotBegin"
	case ControlSnapshotEnd:
		return "SnapshotEnd"
	case ControlGap:
		return "Gap"
	}
	return fmt.Sprintf("control %d", uint8(k))
}

// Refusal is why a request was rejected, as EngineError carries it.
type Refusal uint8

const (
	RefusedTag       Refusal = 1 // the tag is unknown
	RefusedSize      Refusal = 2 // the body has the wrong size
	RefusedRole      Refusal = 3 // the role of the connection may not send it
	RefusedMalformed Refusal = 4 // the application rejects its content
	RefusedPlace     Refusal = 5 // an operator's command that is not served, or has no place now
	RefusedTopic     Refusal = 6 // there is no such topic, or the client may not subscribe to it
	RefusedLimit     Refusal = 7 // a limit of topics or subscriptions is reached
	RefusedQuota     Refusal = 8 // the client uses as much as its key may
)

// CloseReason is why a server closes a connection, as Close carries it (wire.md).
type CloseReason uint8

const (
	CloseShutdown  CloseReason = 1  // the server drains or stops
	CloseKicked    CloseReason = 2  // an operator closed it
	CloseSlow      CloseReason = 3  // the client did not read fast enough
	CloseProtocol  CloseReason = 4  // a frame was malformed or too long
	CloseSilent    CloseReason = 5  // the client sent nothing for too long
	CloseInternal  CloseReason = 9  // the server failed on a request or a response of this connection
	CloseElsewhere CloseReason = 11 // another server has taken over, or is about to
	CloseRevoked   CloseReason = 13 // the key of the client is no longer accepted, or may do less
)

// Never is the retry-after of a client that should not come back by itself.
const Never time.Duration = -1

// RetryAfter is how long a client usually waits before it connects to the same server again.
func (r CloseReason) RetryAfter() time.Duration {
	switch r {
	case CloseElsewhere:
		return 100 * time.Millisecond
	case CloseShutdown, CloseSlow, CloseInternal:
		return time.Second
	case CloseKicked, CloseProtocol, CloseRevoked:
		return Never
	}
	return 0
}

// Framing is how a response becomes bytes on its connection. The zero value is that of wire.md: the
// encoder's frames have a length prefix and a tag, which are checked, the last frame of a response
// is followed by BatchEnd, and control messages are frames too.
//
// With Raw the encoder's bytes are sent as they are: none, or any up to the largest frame. So a
// pipeline can serve an existing protocol, such as FIX or WebSocket.
type Framing struct {
	Raw bool

	// Control, with Raw, appends what is sent for a control message, at most MaxControl bytes, and
	// returns dst unchanged if nothing is. It is called from several goroutines at the same time.
	// Nil sends nothing for any of them: no heartbeats, no ends of responses, no farewell. If it
	// panics, the whole pipeline ends, or in Pipeline.Busy its caller's goroutine panics.
	Control func(dst []byte, c Control) []byte
}

// AppendControl appends the bytes of a control message to dst. Any goroutine.
func (f *Framing) AppendControl(dst []byte, c Control) []byte {
	if !f.Raw {
		return appendControl(dst, c)
	}
	if f.Control == nil {
		return dst
	}
	out := f.Control(dst, c)
	if n := len(out) - len(dst); n < 0 || n > MaxControl {
		panic(fmt.Sprintf("encode: Framing.Control appended %d bytes for %v; 0 to %d are allowed",
			n, c.Kind, MaxControl))
	}
	return append(dst, out[len(dst):]...) // in place, even if Control returned other memory
}

// appendControl appends a control frame of wire.md.
func appendControl(dst []byte, c Control) []byte {
	le := binary.LittleEndian
	switch c.Kind {
	case ControlHeartbeat:
		return append(dst, 1, 0, 0, 0, TagHeartbeat)
	case ControlBatchEnd:
		return le.AppendUint64(append(dst, 9, 0, 0, 0, TagBatchEnd), c.Request)
	case ControlEngineError:
		dst = le.AppendUint64(append(dst, 10, 0, 0, 0, TagEngineError), c.Request)
		return append(dst, uint8(c.Refusal))
	case ControlServerBusy:
		return le.AppendUint64(append(dst, 9, 0, 0, 0, TagServerBusy), c.Request)
	case ControlClose:
		return appendClose(dst, &c)
	case ControlSnapshotBegin:
		dst = le.AppendUint64(append(dst, 26, 0, 0, 0, TagExtended, subSnapshotBegin), c.Topic)
		return le.AppendUint64(le.AppendUint64(dst, c.Epoch), c.TopicSeq)
	case ControlSnapshotEnd:
		dst = le.AppendUint64(append(dst, 18, 0, 0, 0, TagExtended, subSnapshotEnd), c.Topic)
		return le.AppendUint64(dst, c.TopicSeq)
	case ControlGap:
		dst = le.AppendUint64(append(dst, 18, 0, 0, 0, TagExtended, subGap), c.Topic)
		return le.AppendUint64(dst, c.TopicSeq)
	}
	panic(fmt.Sprintf("encode: %v is unknown; use one of the Control constants", c.Kind))
}

// closeAnswered is the flag of a Close for Control.Answered.
const closeAnswered = 1 << 0

// appendClose appends a Close. One without an address ends before the address.
func appendClose(dst []byte, c *Control) []byte {
	le, length := binary.LittleEndian, 7
	if c.Address != "" {
		length += 1 + len(c.Address)
	}
	after := uint32(math.MaxUint32)
	if c.RetryAfter >= 0 {
		after = uint32(min(c.RetryAfter/time.Millisecond, math.MaxUint32-1))
	}
	dst = le.AppendUint32(dst, uint32(length))
	flags := uint8(0)
	if c.Answered {
		flags |= closeAnswered
	}
	dst = le.AppendUint32(append(dst, TagClose, uint8(c.Reason), flags), after)
	if c.Address == "" {
		return dst
	}
	if len(c.Address) > MaxAddress {
		panic(fmt.Sprintf("encode: a Close with an address of %d bytes; at most %d are allowed",
			len(c.Address), MaxAddress))
	}
	return append(append(dst, uint8(len(c.Address))), c.Address...)
}
