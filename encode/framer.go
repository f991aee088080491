package encode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

const (
	// DefaultMaxFrame is the usual limit of one payload frame, in bytes.
	DefaultMaxFrame = 512
	// MaxFrameLimit is the largest limit that can be configured: 1 MiB.
	MaxFrameLimit = 1 << 20

	prefixLen = 4             // the length prefix
	headerLen = prefixLen + 1 // and the tag
)

// Framer calls an Encoder and lets out nothing but whole, well-formed frames. It belongs to one goroutine because the
// Encoder does.
type Framer[R, Q any] struct {
	encoder  Encoder[R, Q]
	maxFrame int
	room     int // result of Room
	calling  call
}

// NewFramer makes a framer for payload frames of at most maxFrame bytes, length prefix and tag included: 5 to
// MaxFrameLimit.
func NewFramer[R, Q any](encoder Encoder[R, Q], maxFrame int) (*Framer[R, Q], error) {
	if encoder == nil {
		return nil, errors.New("encode: no encoder: the application must supply one")
	}
	if maxFrame < headerLen || maxFrame > MaxFrameLimit {
		return nil, fmt.Errorf("encode: maximum frame size of %d bytes: want %d to %d", maxFrame, headerLen, MaxFrameLimit)
	}
	return &Framer[R, Q]{encoder: encoder, maxFrame: maxFrame, room: maxFrame + len(BatchEnd)}, nil
}

// Room returns how many bytes one slot may take at most: a frame of the largest size and BatchEnd. The buffers given
// to Report and Query have at least so much free capacity.
func (f *Framer[R, Q]) Room() int { return f.room }

// Report appends the frame of a report to dst, and BatchEnd if it is the last of its request. On success the result
// begins with dst, in the same memory; nothing was allocated. On an error it is dst itself, and the bytes behind it are
// undefined. The error is a *TooLargeError, a *BadFrameError, or wraps what the encoder returned.
//
// The encoder gets an empty buffer that begins behind dst and is capped, so that it can reach neither the bytes before it
// nor the space of BatchEnd; one that outgrows it ends up in other memory, where that is seen.
//
// A panic of the encoder passes through. The caller recovers it in a function that it deferred for many answers, because a
// guard of its own would cost each as much as the rest of Report, and gives the value to Caught.
//
// It panics if dst has less free capacity than Room, because the caller claims that space before it asks.
func (f *Framer[R, Q]) Report(dst []byte, report *R, last bool) ([]byte, error) {
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
	return finish(dst, len(frame), last), nil
}

// Query does for the result of a query what Report does for a report.
func (f *Framer[R, Q]) Query(dst []byte, query *Q, last bool) ([]byte, error) {
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
	return finish(dst, len(frame), last), nil
}

// Caught makes a *PanicError of what the encoder panicked with: value is what recover returned, in a function deferred by
// the goroutine that called Report or Query. If the encoder was not running it is not to blame, and Caught panics with value
// again; nil stays nil.
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

// call says which of the encoder's methods runs, or whose result is being looked at.
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
	panic(fmt.Sprintf("encode: %d bytes free behind dst (length %d, capacity %d), and a slot may take %d: claim Room() first",
		cap(dst)-len(dst), len(dst), cap(dst), f.room))
}

// wellFormed reports whether the encoder returned a frame as it should be, in the room it was given. Addresses are compared,
// never followed: equal ones mean that the frame begins where the room does, and then its length keeps it inside.
func (f *Framer[R, Q]) wellFormed(room, frame []byte) bool {
	return len(frame) >= headerLen && len(frame) <= f.maxFrame && unsafe.SliceData(frame) == unsafe.SliceData(room) &&
		binary.LittleEndian.Uint32(frame) == uint32(len(frame)-prefixLen) && frame[prefixLen] >= TagApplication
}

// fault says what is wrong: the encoder returned an error, or a frame that is not whole. It runs while the encoder counts as
// running, because it calls the Error method of an error that is not ours.
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
	case len(frame) < headerLen:
		reason = fmt.Sprintf("a frame has at least %d bytes", headerLen)
	case unsafe.SliceData(frame) != unsafe.SliceData(room):
		reason = "it is not in the buffer the encoder was given"
	case binary.LittleEndian.Uint32(frame) != uint32(len(frame)-prefixLen):
		reason = fmt.Sprintf("its length prefix says %d and %d bytes follow it",
			binary.LittleEndian.Uint32(frame), len(frame)-prefixLen)
	default:
		reason = fmt.Sprintf("tag %#02x is not the application's: want %#02x or above", frame[prefixLen], TagApplication)
	}
	return &BadFrameError{Payload: payload, Size: len(frame), Reason: reason}
}

// finish extends dst over the frame that was checked, and ends the answer if it is the last.
func finish(dst []byte, frame int, last bool) []byte {
	end := len(dst) + frame
	if !last {
		return dst[:end]
	}
	dst = dst[:end+len(BatchEnd)]
	copy(dst[end:], BatchEnd)
	return dst
}
