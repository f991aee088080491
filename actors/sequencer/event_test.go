package sequencer

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The golden vector of the journal's form: it may never change under version 1, or journals could
// not be read any more.
const goldenEvent = "01" + "02" + "10" + "0100000000010000" + "efcdab8967452301" + "aabbcc"

func golden() Request {
	return Request{Conn: 1<<40 + 1, Seq: 0x0123456789ABCDEF, Role: RoleTrader, Tag: 0x10,
		Body: []byte{0xAA, 0xBB, 0xCC}}
}

func TestEventGoldenVector(t *testing.T) {
	req := golden()
	if got := hex.EncodeToString(AppendEvent(nil, &req)); got != goldenEvent {
		t.Errorf("event is %s, want %s", got, goldenEvent)
	}
	raw, _ := hex.DecodeString(goldenEvent)
	got := Request{Seq: 1, Body: []byte("left over")}
	if err := DecodeEvent(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Conn != req.Conn || got.Seq != req.Seq || got.Role != req.Role || got.Tag != req.Tag ||
		!bytes.Equal(got.Body, req.Body) {
		t.Errorf("decoded %+v, want %+v", got, req)
	}
}

func TestDecodeEventNamesWhatIsWrong(t *testing.T) {
	raw, _ := hex.DecodeString(goldenEvent)
	newer := bytes.Clone(raw)
	newer[0] = 2
	for _, c := range []struct {
		name, want string
		event      []byte
	}{
		{"an empty event", "is empty", nil},
		{"an event of a newer version", "version 2, this program reads version 1", newer},
		{"an event of a newer version that is shorter", "version 9", []byte{9}},
		{"an event cut short", "has 18 bytes; an event has at least 19", raw[:18]},
	} {
		var req Request
		if err := DecodeEvent(c.event, &req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	raw, _ := hex.DecodeString(goldenEvent)
	f.Add(raw)
	f.Add(raw[:EventHeader])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, event []byte) {
		var req Request
		if DecodeEvent(event, &req) != nil {
			return
		}
		if again := AppendEvent(nil, &req); !bytes.Equal(again, event) {
			t.Fatalf("%x was read as %+v, which is written as %x", event, req, again)
		}
	})
}
