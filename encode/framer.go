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

// Framer calls an Encoder and lets out nothing but whole, well-formed frames. It holds no state of a slot and belongs
// to one goroutine because the Encoder does.
type Framer[R, Q any] struct {
	encoder  Encoder[R, Q]
	maxFrame int
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
	return &Framer[R, Q]{encoder: encoder, maxFrame: maxFrame}, nil
}

// Room returns how many bytes one slot may take at most: a frame of the largest size and BatchEnd. The buffers given
// to Report and Query have at least so much free capacity.
func (f *Framer[R, Q]) Room() int { return f.maxFrame + len(BatchEnd) }

// Report appends the frame of a report to dst, and BatchEnd if it is the last of its request. On success the result
// begins with dst, in the same memory; nothing was allocated. On an error it is dst itself, and the bytes behind it are
// undefined. The error is a *TooLargeError, a *BadFrameError, a *PanicError, or wraps what the encoder returned.
//
// It panics if dst has less free capacity than Room, because the caller claims that space before it asks.
func (f *Framer[R, Q]) Report(dst []byte, report *R, last bool) (out []byte, err error) {
	room := f.room(dst)
	defer func() {
		if value := recover(); value != nil {
			out, err = dst, &PanicError{Payload: "report", Value: value, Stack: debug.Stack()}
		}
	}()
	frame, err := f.encoder.AppendReport(room, report)
	if err == nil && f.whole(room, frame) {
		return finish(dst, len(frame), last), nil
	}
	return dst, f.fault(room, frame, err, "report")
}

// Query does for the result of a query what Report does for a report.
func (f *Framer[R, Q]) Query(dst []byte, query *Q, last bool) (out []byte, err error) {
	room := f.room(dst)
	defer func() {
		if value := recover(); value != nil {
			out, err = dst, &PanicError{Payload: "query", Value: value, Stack: debug.Stack()}
		}
	}()
	frame, err := f.encoder.AppendQuery(room, query)
	if err == nil && f.whole(room, frame) {
		return finish(dst, len(frame), last), nil
	}
	return dst, f.fault(room, frame, err, "query")
}

// room returns the free space of dst that the encoder may fill. It begins behind dst and is capped, so the encoder can
// reach neither the bytes before it nor the space of BatchEnd, and one that outgrows it ends up in other memory, where
// check sees it.
func (f *Framer[R, Q]) room(dst []byte) []byte {
	if free := cap(dst) - len(dst); free < f.Room() {
		panic(fmt.Sprintf("encode: %d bytes free behind dst (length %d, capacity %d), and a slot may take %d: claim Room() first",
			free, len(dst), cap(dst), f.Room()))
	}
	return dst[len(dst) : len(dst) : len(dst)+f.maxFrame]
}

// whole reports whether the encoder returned a frame as it should be, in the room it was given. Addresses are compared,
// never followed: equal ones mean that the frame begins where the room does, and then its length keeps it inside.
func (f *Framer[R, Q]) whole(room, frame []byte) bool {
	return len(frame) >= headerLen && len(frame) <= f.maxFrame && unsafe.SliceData(frame) == unsafe.SliceData(room) &&
		binary.LittleEndian.Uint32(frame) == uint32(len(frame)-prefixLen) && frame[prefixLen] >= TagApplication
}

// fault says what is wrong: the encoder returned an error, or a frame that is not whole. It runs where a panic is caught,
// because it calls the Error method of an error that is not ours.
func (f *Framer[R, Q]) fault(room, frame []byte, refused error, payload string) error {
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
