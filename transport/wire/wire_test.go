package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// pattern returns n bytes that count up from first, as in the vectors of docs/wire.md.
func pattern(first, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(first + i)
	}
	return b
}

func TestLengthIsCheckedOnceItsFourBytesAreThere(t *testing.T) {
	for _, v := range []struct {
		name     string
		prefix   []byte
		refused  bool
		tooLong  bool
		response bool
	}{
		{"request at the limit", []byte{0x00, 0x04, 0, 0}, false, false, false},
		{"request one above the limit", []byte{0x01, 0x04, 0, 0}, true, true, false},
		{"request without its tag", []byte{8, 0, 0, 0}, true, false, false},
		{"request without a body", []byte{9, 0, 0, 0}, false, false, false},
		{"request of length 0", []byte{0, 0, 0, 0}, true, false, false},
		{"request of 4 GiB", []byte{0xff, 0xff, 0xff, 0xff}, true, true, false},
		{"three bytes of a prefix out of range", []byte{0xff, 0xff, 0xff}, false, false, false},
		{"response of length 0", []byte{0, 0, 0, 0}, true, false, true},
		{"response without a body", []byte{1, 0, 0, 0}, false, false, true},
		{"response one above the limit", []byte{0x01, 0x04, 0, 0}, true, true, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			var size int
			var err error
			if v.response {
				_, _, size, err = NextResponse(v.prefix, DefaultMaxRequest)
			} else {
				_, size, err = NextRequest(v.prefix, DefaultMaxRequest)
			}
			var frame *FrameError
			if size != 0 || errors.As(err, &frame) != v.refused || v.refused && frame.TooLong() != v.tooLong {
				t.Fatalf("size %d, error %v", size, err)
			}
		})
	}
}

func TestFramesAreFoundWhereverTheStreamIsSplit(t *testing.T) {
	var stream []byte
	for i := range 4 {
		stream = AppendRequest(stream, uint64(i), 0x10+uint8(i), pattern(i, i*7))
	}
	for cut := range stream {
		var seen uint64
		pending := stream[:cut:cut]
		rest := stream[cut:]
		for {
			r, size, err := NextRequest(pending, DefaultMaxRequest)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				if rest == nil {
					break
				}
				pending, rest = append(pending, rest...), nil
				continue
			}
			if r.Seq != seen || r.Tag != 0x10+uint8(seen) ||
				!bytes.Equal(r.Body, pattern(int(seen), int(seen)*7)) {
				t.Fatalf("split at %d: request %d was decoded as %+v", cut, seen, r)
			}
			pending = pending[size:]
			seen++
		}
		if seen != 4 || len(pending) != 0 {
			t.Fatalf("split at %d: %d requests and %d bytes left", cut, seen, len(pending))
		}
	}
}

func TestAppendingToABodyDoesNotOverwriteTheNextFrame(t *testing.T) {
	stream := AppendRequest(AppendRequest(nil, 1, 0x10, []byte("a")), 2, 0x10, []byte("b"))
	r, size, _ := NextRequest(stream, DefaultMaxRequest)
	_ = append(r.Body, "overwritten"...)
	if r, _, _ := NextRequest(stream[size:], DefaultMaxRequest); r.Seq != 2 || string(r.Body) != "b" {
		t.Fatalf("the second request became %+v", r)
	}
}

func TestFramingDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	body := pattern(0, 40)
	var challenge Challenge
	if n := testing.AllocsPerRun(100, func() {
		b := AppendRequest(buf, 7, RequestFirst, body)
		if _, size, err := NextRequest(b, DefaultMaxRequest); size != 53 || err != nil {
			t.Fatal(size, err)
		}
		b = AppendChallenge(buf, &challenge)
		if _, _, size, err := NextResponse(b, MaxResponse); size != len(b) || err != nil {
			t.Fatal(size, err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzFraming checks for any bytes that a frame that is found is what the appending function
// writes, and that a frame that is not found is incomplete or has a length out of range.
func FuzzFraming(f *testing.F) {
	f.Add([]byte(ClientHeartbeat), 1024)
	f.Add(append(AppendChallenge(nil, new(Challenge)), Heartbeat...), 1)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0}, math.MaxInt32)
	f.Add(AppendRequest(nil, 1, 0x10, pattern(0, 100)), 109)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		r, size, err := NextRequest(b, limit)
		checkFound(t, b, size, limit, RequestHeaderSize, err)
		if size > 0 && len(r.Trace) == 0 && !bytes.Equal(AppendRequest(nil, r.Seq, r.Tag, r.Body), b[:size]) {
			t.Fatalf("request %+v is not % x", r, b[:size])
		}
		tag, body, size, err := NextResponse(b, limit)
		checkFound(t, b, size, limit, ResponseHeaderSize, err)
		if size > 0 && !bytes.Equal(AppendResponse(nil, tag, body), b[:size]) {
			t.Fatalf("response %#x % x is not % x", tag, body, b[:size])
		}
	})
}

func checkFound(t *testing.T, b []byte, size, limit, smallest int, err error) {
	t.Helper()
	length := int64(-1)
	if len(b) >= 4 {
		length = int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 | int64(b[3])<<24
	}
	refused := length >= 0 && (length < int64(smallest) || length > int64(limit))
	complete := length >= 0 && !refused && int64(len(b)) >= 4+length
	if (err != nil) != refused || (size > 0) != complete || complete && int64(size) != 4+length {
		t.Fatalf("% x with limit %d: size %d, error %v", b, limit, size, err)
	}
}
