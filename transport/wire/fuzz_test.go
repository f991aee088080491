package wire

import (
	"bytes"
	"testing"
)

// FuzzBodies checks that appending what was decoded yields the same bytes, and that no decoded
// slice reaches beyond its frame.
func FuzzBodies(f *testing.F) {
	var trace [TraceSize]byte
	f.Add(AppendTraced(nil, 7, &trace, RequestFirst, []byte("body")))
	f.Add(AppendRequest(nil, 1, TagTraced, make([]byte, TraceSize)))
	f.Add(AppendChallengeResponse(nil, new([SignatureSize]byte), new([PublicKeySize]byte)))
	f.Add(AppendAdminAnswer(nil, 9, []byte("{}")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, size, err := NextRequest(b, DefaultMaxRequest); err == nil && size > 0 {
			again := AppendRequest(nil, r.Seq, r.Tag, r.Body)
			if len(r.Trace) > 0 {
				again = AppendTraced(nil, r.Seq, (*[TraceSize]byte)(r.Trace), r.Tag, r.Body)
			}
			if !bytes.Equal(again, b[:size]) || cap(r.Body) != len(r.Body) ||
				size > PrefixSize+DefaultMaxRequest {
				t.Fatalf("request %+v, decoded from % x, is encoded as % x", r, b[:size], again)
			}
			if signature, key, ok := ChallengeResponse(r.Body); ok &&
				!bytes.Equal(append(bytes.Clone(signature), key...), r.Body) {
				t.Fatalf("% x: signature % x, key % x", r.Body, signature, key)
			}
		}
		if tag, body, size, err := NextResponse(b, DefaultMaxRequest); err == nil && size > 0 &&
			tag == TagAdminAnswer {
			seq, answer, ok := AdminAnswer(body)
			if ok != (len(body) >= 8) || ok && !bytes.Equal(AppendAdminAnswer(nil, seq, answer), b[:size]) {
				t.Fatalf("answer %d %q, %v, of % x", seq, answer, ok, b[:size])
			}
		}
	})
}
