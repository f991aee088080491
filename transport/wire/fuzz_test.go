package wire

import (
	"bytes"
	"testing"
)

// FuzzBodies checks that appending what was decoded yields the same fields, for the known fields
// the same bytes, and that no decoded slice reaches beyond its frame.
func FuzzBodies(f *testing.F) {
	for _, v := range vectors() {
		f.Add(v.got)
	}
	f.Add(AppendRequest(nil, 1, TagTraced, make([]byte, TraceSize)))
	f.Add(AppendResponse(nil, TagEngineError, make([]byte, 9)))
	f.Add(AppendRequest(nil, 0, TagHello, []byte{1, 0, 0, 0, 0, 0, 9, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, size, err := NextRequest(b, DefaultMaxRequest); err == nil && size > 0 {
			checkRequest(t, &r, b[:size:size])
		}
		if tag, body, size, err := NextResponse(b, DefaultMaxRequest); err == nil && size > 0 {
			checkResponse(t, tag, body, b[:size:size])
		}
	})
}

func checkRequest(t *testing.T, r *Request, frame []byte) {
	again := AppendRequest(nil, r.Seq, r.Tag, r.Body)
	if len(r.Trace) > 0 {
		again = AppendTraced(nil, r.Seq, (*[TraceSize]byte)(r.Trace), r.Tag, r.Body)
	}
	if !bytes.Equal(again, frame) || cap(r.Body) != len(r.Body) || len(frame) > PrefixSize+DefaultMaxRequest {
		t.Fatalf("request %+v, decoded from % x, is encoded as % x", r, frame, again)
	}
	if r.Tag == TagExtended {
		checkSubscription(t, r)
		return
	}
	h, ok := DecodeHello(r.Body)
	if r.Tag != TagHello || !ok {
		return
	}
	if r.Body[1] &^= 0xfe; !bytes.Equal(AppendHello(nil, &h)[PrefixSize+RequestHeaderSize:], r.Body) {
		t.Fatalf("% x was decoded as %+v", r.Body, h)
	}
	for _, part := range [][]byte{h.Signature, h.Key, h.Extensions} {
		if cap(part) != len(part) {
			t.Fatalf("a slice of %+v reaches beyond its field", h)
		}
	}
}

// checkResponse decodes the body as its tag says. The appended frame has the known fields only, so
// it may be shorter, and has no unknown flags.
func checkResponse(t *testing.T, tag uint8, body, frame []byte) {
	var again []byte
	ok, flags := false, -1 // index of the flags in the body
	switch tag {
	case TagChallenge:
		var c Challenge
		c, ok = DecodeChallenge(body)
		again, flags = AppendChallenge(nil, &c), NonceSize
	case TagServerReady:
		var s ServerReady
		s, ok = DecodeServerReady(body)
		again, flags = AppendServerReady(nil, &s), 1
	case TagClose:
		var c Close
		c, ok = DecodeClose(body)
		again, flags = AppendClose(nil, c), 1
		if len(c.Address) > MaxAddress { // decoded, and never sent
			again = append(again, uint8(len(c.Address)))
			again = append(again, c.Address...)
		}
	case TagAdminResponse:
		var request uint64
		var result []byte
		request, result, ok = DecodeAdminResponse(body)
		again = AppendAdminResponse(nil, request, result)
		if cap(result) != len(result) {
			t.Fatal("a result reaches beyond its frame")
		}
	case TagExtended:
		again, ok = appendExtended(t, body)
	case TagBatchEnd, TagServerBusy:
		var request uint64
		request, ok = DecodeBatchEnd(body)
		again = AppendRequest(nil, request, 0, nil)[PrefixSize:12]
		again = AppendResponse(nil, tag, again)
	case TagEngineError:
		var request uint64
		var reason Refusal
		request, reason, ok = DecodeEngineError(body)
		again = AppendRequest(nil, request, uint8(reason), nil)[PrefixSize:]
		again = AppendResponse(nil, tag, again)
	}
	if !ok {
		return
	}
	if flags >= 0 {
		body[flags] &= 1
	}
	if known := again[PrefixSize+ResponseHeaderSize:]; !bytes.HasPrefix(body, known) {
		t.Fatalf("% x is encoded as % x", frame, again)
	}
}

func checkSubscription(t *testing.T, r *Request) {
	var again []byte
	if s, ok := DecodeSubscribe(r.Body); ok {
		again = AppendSubscribe(nil, r.Seq, s)
	}
	if topic, ok := DecodeUnsubscribe(r.Body); ok {
		if again != nil {
			t.Fatalf("% x was decoded as two requests", r.Body)
		}
		again = AppendUnsubscribe(nil, r.Seq, topic)
	}
	if again != nil && !bytes.HasPrefix(r.Body, again[PrefixSize+RequestHeaderSize:]) {
		t.Fatalf("% x is encoded as % x", r.Body, again)
	}
}

// appendExtended decodes a body with TagExtended and appends its frame again.
func appendExtended(t *testing.T, body []byte) (again []byte, ok bool) {
	if d, ok := DecodeTopicData(body); ok {
		if cap(d.Body) != len(d.Body) || d.Tag < ResponseFirst {
			t.Fatalf("%+v reaches beyond its frame, or is not of the application", d)
		}
		again = AppendTopicData(again, d)
	}
	if s, ok := DecodeSnapshotBegin(body); ok {
		again = AppendSnapshotBegin(again, s)
	}
	if topic, seq, ok := DecodeSnapshotEnd(body); ok {
		again = AppendSnapshotEnd(again, topic, seq)
	}
	if topic, seq, ok := DecodeGap(body); ok {
		again = AppendGap(again, topic, seq)
	}
	return again, again != nil
}
