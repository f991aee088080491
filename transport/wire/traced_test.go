package wire

import (
	"bytes"
	"testing"
)

func tracedContext() (c [TraceSize]byte) {
	for i := range 24 {
		c[i] = byte(i + 1)
	}
	c[24] = 1
	return c
}

func TestTracedRequestIsUnwrapped(t *testing.T) {
	context := tracedContext()
	frame := AppendTraced(nil, 7, &context, 0x13, []byte{0xaa, 0xbb})
	r, size, err := NextRequest(frame, DefaultMaxRequest)
	if err != nil || size != len(frame) {
		t.Fatal(size, err)
	}
	if r.Seq != 7 || r.Tag != 0x13 || !bytes.Equal(r.Body, []byte{0xaa, 0xbb}) ||
		!bytes.Equal(r.Trace, context[:]) {
		t.Fatalf("%+v", r)
	}
}

func TestTracedFrameWithoutAnApplicationRequestIsNotUnwrapped(t *testing.T) {
	context := tracedContext()
	for name, frame := range map[string][]byte{
		"no tag behind the context":   AppendRequest(nil, 1, TagTraced, context[:]),
		"context cut short":           AppendRequest(nil, 1, TagTraced, context[:10]),
		"a heartbeat in the envelope": AppendTraced(nil, 1, &context, TagHeartbeat, nil),
		"an envelope in the envelope": AppendTraced(nil, 1, &context, TagTraced,
			bytes.Repeat([]byte{0x13}, 40)),
		"a response in the envelope": AppendTraced(nil, 1, &context, ResponseFirst, nil),
	} {
		r, size, err := NextRequest(frame, DefaultMaxRequest)
		if err != nil || size != len(frame) || r.Tag != TagTraced || r.Trace != nil {
			t.Errorf("%s: %+v, size %d, %v", name, r, size, err)
		}
	}
}
