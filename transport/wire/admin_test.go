package wire

import (
	"bytes"
	"testing"
)

// The vectors are those of docs/wire.md.
func TestAdminFramesMatchTheSpecification(t *testing.T) {
	command := AppendRequest(nil, 0x0102030405060708, TagAdminCommand, []byte(`{"path":"/"}`))
	if want := "\x15\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\x09" + `{"path":"/"}`; string(command) != want {
		t.Errorf("command % x, want % x", command, want)
	}
	answer := AppendAdminAnswer(nil, 0x0102030405060708, []byte(`{"status":200}`))
	if want := "\x17\x00\x00\x00\x0a\x08\x07\x06\x05\x04\x03\x02\x01" + `{"status":200}`; string(answer) != want {
		t.Errorf("answer % x, want % x", answer, want)
	}
	tag, body, size, err := NextResponse(answer, MaxResponse)
	if err != nil || tag != TagAdminAnswer || size != len(answer) {
		t.Fatalf("tag %#x, size %d, error %v", tag, size, err)
	}
	seq, text, ok := AdminAnswer(body)
	if !ok || seq != 0x0102030405060708 || !bytes.Equal(text, []byte(`{"status":200}`)) {
		t.Errorf("seq %#x, answer %q, ok %t", seq, text, ok)
	}
	if _, _, ok := AdminAnswer(body[:7]); ok {
		t.Error("a body without a whole request_seq was accepted")
	}
}
