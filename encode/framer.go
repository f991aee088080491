package encode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

const (
	// DefaultMaxFrame is the default limit of one payload frame, in bytes.
	DefaultMaxFrame = 512
	// MaxFrameLimit is the largest limit that can be configured: 1 MiB.
	MaxFrameLimit = 1 << 20

	prefixLen = 4             // length prefix
	headerLen = prefixLen + 1 // length prefix and tag
)

// Framer calls an Encoder and returns only whole, well-formed frames. It belongs to one goroutine
// because the Encoder does.
type Framer[R, Q any] struct {
	encoder  Encoder[R, Q]
	framing  Framing
	maxFrame int
	room     int // result of Room
	calling  call
}

// NewFramer returns a framer for payload frames of at most maxFrame bytes, length prefix and tag
// included: 5 to MaxFrameLimit.
func NewFramer[R, Q any](encoder Encoder[R, Q], framing Framing, maxFrame int) (*Framer[R, Q],
	error) {
	if encoder == nil {
		return nil, errors.New("encode: no encoder: the application must supply one")
	}
	if maxFrame < headerLen || maxFrame > MaxFrameLimit {
		return nil, fmt.Errorf("encode: maximum frame size of %d bytes: want %d to %d", maxFrame,
			headerLen, MaxFrameLimit)
	}
	if framing.Control != nil && !framing.Raw {
		return nil, errors.New("encode: Framing.Control without Raw: control messages are frames " +
			"of wire.md then; set Raw, or leave Control nil")
	}
	refusal, end := headerLen+9, BatchEndBytes
	if framing.Raw {
		refusal, end = MaxControl, MaxControl
	}
	return &Framer[R, Q]{encoder: encoder, framing: framing, maxFrame: maxFrame,
		room: max(max(maxFrame, refusal)+end, TopicBytes+maxFrame)}, nil
}

// Framing returns how the pipeline's own messages become bytes.
func (f *Framer[R, Q]) Framing() *Framing { return &f.framing }

// Room returns the largest number of bytes that one slot can take: a frame of the largest size, or
// EngineError, and what ends a response, or a topic frame of the largest size. For the frames of wire.md
// that is maxFrame + TopicBytes, and at least 27; a raw framing has up to MaxControl for what ends a
// response. The buffers passed to Report, Query, Topic, Refuse and End must have at least that much free
// capacity.
func (f *Framer[R, Q]) Room() int { return f.room }

// Report appends the frame of a report to dst, and BatchEnd of the request if it is the last one of
// its response. On success the result begins with dst, in the same memory; nothing was allocated. On an error it is
// dst itself, and the bytes behind it are undefined. The error is a *TooLargeError, a
// *BadFrameError, or wraps the encoder's error.
//
// The encoder gets an empty buffer that begins behind dst and whose capacity is limited, so that it
// can reach neither the bytes before it nor the space of BatchEnd. If it appends more, the result
// is in other memory, which Report detects.
//
// Report does not recover a panic of the encoder. The caller recovers it in a function that it
// deferred once for many slots, because a deferred function for each would cost as much as the rest
// of Report, and passes the value to Caught.
//
// It panics if dst has less free capacity than Room: the caller must claim that space first.
func (f *Framer[R, Q]) Report(dst []byte, report *R, last bool, request uint64) ([]byte, error) {
	if cap(dst)-len(dst) < f.room {
		f.panicNoRoom(dst)
	}
	room := dst[len(dst) : len(dst) : len(dst)+f.maxFrame]
	f.calling = callReport
	frame, err := f.encoder.AppendReport(room, report)
	if err != nil || !f.wellFormed(room, frame) {
		err = f.fault(room, frame, err)
		f.calling = callNone
		return dst, err
	}
	f.calling = callNone
	dst = dst[:len(dst)+len(frame)]
	if last {
		return f.End(dst, request), nil
	}
	return dst, nil
}

// Query does for the result of a query what Report does for a report.
func (f *Framer[R, Q]) Query(dst []byte, query *Q, last bool, request uint64) ([]byte, error) {
	if cap(dst)-len(dst) < f.room {
		f.panicNoRoom(dst)
	}
	room := dst[len(dst) : len(dst) : len(dst)+f.maxFrame]
	f.calling = callQuery
	frame, err := f.encoder.AppendQuery(room, query)
	if err != nil || !f.wellFormed(room, frame) {
		err = f.fault(room, frame, err)
		f.calling = callNone
		return dst, err
	}
	f.calling = callNone
	dst = dst[:len(dst)+len(frame)]
	if last {
		return f.End(dst, request), nil
	}
	return dst, nil
}

// Topic appends the frame of a topic to dst: that of a report, with the topic and its number in
// front of it (TopicData). With a raw framing it is the frame of the report alone. Otherwise it does
// what Report does for the last report of no response.
func (f *Framer[R, Q]) Topic(dst []byte, topic, seq uint64, report *R) ([]byte, error) {
	if f.framing.Raw {
		return f.Report(dst, report, false, 0)
	}
	if cap(dst)-len(dst) < f.room {
		f.panicNoRoom(dst)
	}
	// The encoder's length prefix is where the upper half of seq will be.
	header := dst[len(dst) : len(dst)+TopicBytes+prefixLen]
	room := dst[len(dst)+TopicBytes : len(dst)+TopicBytes : len(dst)+TopicBytes+f.maxFrame]
	f.calling = callReport
	frame, err := f.encoder.AppendReport(room, report)
	if err != nil || !f.wellFormed(room, frame) {
		err = f.fault(room, frame, err)
		f.calling = callNone
		return dst, err
	}
	f.calling = callNone
	le := binary.LittleEndian
	le.PutUint32(header, uint32(TopicBytes+len(frame)-prefixLen))
	header[prefixLen], header[prefixLen+1] = TagExtended, subTopicData
	le.PutUint64(header[headerLen+1:], topic)
	le.PutUint64(header[headerLen+9:], seq)
	return dst[:len(dst)+TopicBytes+len(frame)], nil
}

// Caught returns a *PanicError for a panic of the encoder. value is the result of recover in a
// function deferred by the goroutine that called Report or Query. If the encoder was not running,
// the panic is not the encoder's, and Caught panics with value again. If value is nil, Caught
// returns nil.
func (f *Framer[R, Q]) Caught(value any) error {
	if value == nil {
		return nil
	}
	if f.calling == callNone {
		panic(value)
	}
	payload := f.calling.String()
	f.calling = callNone
	return &PanicError{Payload: payload, Value: value, Stack: debug.Stack()}
}

// call identifies the method of the encoder that is running or whose result is being checked.
type call uint8

const (
	callNone call = iota
	callReport
	callQuery
)

func (c call) String() string {
	return [...]string{callNone: "", callReport: "report", callQuery: "query"}[c]
}

// panicNoRoom panics because dst has less than Room free.
func (f *Framer[R, Q]) panicNoRoom(dst []byte) {
	panic(fmt.Sprintf("encode: %d bytes free behind dst (length %d, capacity %d), and a slot may "+
		"take %d: claim Room() first",
		cap(dst)-len(dst), len(dst), cap(dst), f.room))
}

// wellFormed reports whether the encoder returned a well-formed frame in the room it was given.
// Addresses are compared, never dereferenced: if they are equal, the frame begins where the room
// does, and its length keeps it inside.
func (f *Framer[R, Q]) wellFormed(room, frame []byte) bool {
	return len(frame) >= headerLen && len(frame) <= f.maxFrame &&
		unsafe.SliceData(frame) == unsafe.SliceData(room) &&
		binary.LittleEndian.Uint32(frame) == uint32(len(frame)-prefixLen) && frame[prefixLen] >= TagApplication ||
		f.framing.Raw && len(frame) <= f.maxFrame &&
			(len(frame) == 0 || unsafe.SliceData(frame) == unsafe.SliceData(room))
}

// fault returns the error: the encoder returned one, or a frame that is not well-formed. The
// encoder still counts as running, because fault calls the Error method of the encoder's error,
// which may panic.
func (f *Framer[R, Q]) fault(room, frame []byte, refused error) error {
	payload := f.calling.String()
	if refused != nil {
		return fmt.Errorf("encode: encoder refused a %s: %w", payload, refused)
	}
	if len(frame) > f.maxFrame {
		return &TooLargeError{Payload: payload, Size: len(frame), Limit: f.maxFrame}
	}
	reason := ""
	switch {
	case len(frame) < headerLen && !f.framing.Raw:
		reason = fmt.Sprintf("a frame has at least %d bytes", headerLen)
	case unsafe.SliceData(frame) != unsafe.SliceData(room):
		reason = "it is not in the buffer the encoder was given"
	case binary.LittleEndian.Uint32(frame) != uint32(len(frame)-prefixLen):
		reason = fmt.Sprintf("its length prefix says %d but %d bytes follow it",
			binary.LittleEndian.Uint32(frame), len(frame)-prefixLen)
	default:
		reason = fmt.Sprintf("tag %#02x is not the application's: want %#02x or above",
			frame[prefixLen], TagApplication)
	}
	return &BadFrameError{Payload: payload, Size: len(frame), Reason: reason}
}

// End appends what ends the response to a request: BatchEnd.
func (f *Framer[R, Q]) End(dst []byte, request uint64) []byte {
	if f.framing.Raw {
		return f.framing.AppendControl(dst, Control{Kind: ControlBatchEnd, Request: request})
	}
	end := len(dst)
	dst = dst[:end+BatchEndBytes]
	binary.LittleEndian.PutUint64(dst[end:], 9|TagBatchEnd<<32) // the three bytes behind it are overwritten
	binary.LittleEndian.PutUint64(dst[end+headerLen:], request)
	return dst
}

// Refuse appends the response to a request that was not carried out, without its end: EngineError.
func (f *Framer[R, Q]) Refuse(dst []byte, request uint64, why Refusal) []byte {
	return f.framing.AppendControl(dst, Control{Kind: ControlEngineError, Request: request,
		Refusal: why})
}
