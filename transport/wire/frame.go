package wire

import (
	"encoding/binary"
	"fmt"
)

// Request is one decoded request frame.
type Request struct {
	Seq  uint64 // request_seq: a number of the client's choice, not interpreted here
	Tag  uint8
	Body []byte // points into the buffer the request was read from

	// Trace is the trace context of a request that came in a Traced frame: TraceSize bytes that
	// point into the same buffer; nil for other requests.
	Trace []byte
}

// FrameError reports a frame whose length is out of range. The stream has no frame boundaries after
// it, so the connection has to end.
type FrameError struct {
	Length   uint32 // from the prefix, in bytes
	Min, Max int    // allowed range, inclusive
}

// TooLong reports whether the length is above the limit, rather than too short for the header.
func (e *FrameError) TooLong() bool { return int64(e.Length) > int64(e.Max) }

// Error names the length and the range.
func (e *FrameError) Error() string {
	return fmt.Sprintf("wire: frame length %d is outside %d..%d", e.Length, e.Min, e.Max)
}

// NextRequest decodes the first request of b. size is the number of bytes it occupies, prefix
// included; a size of 0 without an error means that b does not hold the whole request yet.
// maxLength limits the length after the prefix, in bytes. The error is a *FrameError.
func NextRequest(b []byte, maxLength int) (r Request, size int, err error) {
	size, err = frameSize(b, RequestHeaderSize, maxLength)
	if size == 0 {
		return Request{}, 0, err
	}
	r = Request{Seq: binary.LittleEndian.Uint64(b[PrefixSize:]), Tag: b[12], Body: b[13:size:size]}
	r.unwrap()
	return r, size, nil
}

// unwrap replaces a Traced frame by the request inside it. A Traced frame that is too short, or
// that contains anything but an application request, is left as it is. No application knows its
// tag, so its response is EngineError.
func (r *Request) unwrap() {
	if r.Tag != TagTraced || len(r.Body) <= TraceSize {
		return
	}
	if inner := r.Body[TraceSize]; inner >= RequestFirst && inner <= RequestLast {
		r.Trace, r.Tag, r.Body = r.Body[:TraceSize:TraceSize], inner, r.Body[TraceSize+1:]
	}
}

// NextResponse decodes the first response frame of b; see NextRequest.
func NextResponse(b []byte, maxLength int) (tag uint8, body []byte, size int, err error) {
	size, err = frameSize(b, ResponseHeaderSize, maxLength)
	if size == 0 {
		return 0, nil, 0, err
	}
	return b[PrefixSize], b[PrefixSize+ResponseHeaderSize : size : size], size, nil
}

// frameSize is the size of the frame at the start of b, prefix included; 0 while b does not hold
// all of it.
func frameSize(b []byte, min, max int) (int, error) {
	if len(b) < PrefixSize {
		return 0, nil
	}
	length := binary.LittleEndian.Uint32(b)
	if int64(length) < int64(min) || int64(length) > int64(max) {
		return 0, &FrameError{Length: length, Min: min, Max: max}
	}
	if len(b)-PrefixSize < int(length) {
		return 0, nil
	}
	return PrefixSize + int(length), nil
}

// AppendRequest appends a request frame to dst. It does not check the receiver's limit on the
// length.
func AppendRequest(dst []byte, seq uint64, tag uint8, body []byte) []byte {
	return append(appendRequestHeader(dst, seq, tag, len(body)), body...)
}

// AppendTraced appends a request together with its trace context.
func AppendTraced(dst []byte, seq uint64, trace *[TraceSize]byte, tag uint8, body []byte) []byte {
	dst = appendRequestHeader(dst, seq, TagTraced, TraceSize+1+len(body))
	dst = append(dst, trace[:]...)
	dst = append(dst, tag)
	return append(dst, body...)
}

func appendRequestHeader(dst []byte, seq uint64, tag uint8, bodySize int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(RequestHeaderSize+bodySize))
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return append(dst, tag)
}

// AppendResponse appends a response frame to dst.
func AppendResponse(dst []byte, tag uint8, body []byte) []byte {
	return append(appendResponseHeader(dst, tag, len(body)), body...)
}

func appendResponseHeader(dst []byte, tag uint8, bodySize int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(ResponseHeaderSize+bodySize))
	return append(dst, tag)
}
