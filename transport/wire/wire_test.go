package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
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

func TestFramesMatchTheSpecification(t *testing.T) {
	nonce := [NonceSize]byte(pattern(0, NonceSize))
	signature := [SignatureSize]byte(pattern(0, SignatureSize))
	key := [PublicKeySize]byte(pattern(0x80, PublicKeySize))
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"server heartbeat", []byte(Heartbeat), "01000000 01"},
		{"batch end", []byte(BatchEnd), "01000000 02"},
		{"engine error", []byte(EngineError), "01000000 03"},
		{"server busy", []byte(ServerBusy), "01000000 04"},
		{"challenge", AppendChallenge(nil, &nonce), "21000000 05 " +
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
		{"challenge response", AppendChallengeResponse(nil, &signature, &key),
			"69000000 0000000000000000 06 " +
				"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
				"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f " +
				"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"},
		{"auth failed", []byte(AuthFailed), "01000000 07"},
		{"server ready", []byte(ServerReady), "01000000 08"},
		{"client heartbeat", []byte(ClientHeartbeat), "09000000 0000000000000000 01"},
		{"request", AppendRequest(nil, 0x0102030405060708, RequestFirst, []byte("abc")),
			"0c000000 0807060504030201 10 616263"},
		{"response", AppendResponse(nil, ResponseFirst, []byte("abc")), "04000000 30 616263"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(v.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(v.got, want) {
			t.Errorf("%s: % x, want % x", v.name, v.got, want)
		}
	}
	if n := len(AppendChallenge(nil, &nonce)); n != 37 || ChallengeFrameSize != 37 {
		t.Errorf("challenge has %d bytes, want 37", n)
	}
	if n := len(AppendChallengeResponse(nil, &signature, &key)); n != 109 ||
		ChallengeResponseFrameSize != 109 {
		t.Errorf("challenge response has %d bytes, want 109", n)
	}
}

func TestChallengeResponseRoundTrip(t *testing.T) {
	signature := [SignatureSize]byte(pattern(1, SignatureSize))
	key := [PublicKeySize]byte(pattern(2, PublicKeySize))
	r, size, err := NextRequest(AppendChallengeResponse(nil, &signature, &key), MaxHandshake-PrefixSize)
	if err != nil || size != ChallengeResponseFrameSize || r.Tag != TagChallengeResponse || r.Seq != 0 {
		t.Fatalf("got %+v, size %d, error %v", r, size, err)
	}
	s, k, ok := ChallengeResponse(r.Body)
	if !ok || !bytes.Equal(s, signature[:]) || !bytes.Equal(k, key[:]) {
		t.Fatal("signature or key differs after a round trip")
	}
	for _, n := range []int{0, 95, 97} {
		if _, _, ok := ChallengeResponse(make([]byte, n)); ok {
			t.Errorf("a body of %d bytes was accepted as a challenge response", n)
		}
	}
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
	var nonce [NonceSize]byte
	if n := testing.AllocsPerRun(100, func() {
		b := AppendRequest(buf, 7, RequestFirst, body)
		if _, size, err := NextRequest(b, DefaultMaxRequest); size != 53 || err != nil {
			t.Fatal(size, err)
		}
		b = AppendChallenge(buf, &nonce)
		if _, _, size, err := NextResponse(b, MaxResponse); size != ChallengeFrameSize || err != nil {
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
	f.Add([]byte(ServerReady+BatchEnd), 1)
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
