package marketdata

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"
)

var golden = []struct {
	frame Frame
	bytes string
}{
	{Frame{Tag: TagQuote, Seq: 13, Instrument: 3, Side: Buy, Price: -100, Quantity: 10, Count: 2},
		"22000000500d0000000000000003000000020000009cffffffffffffff0a0000000000000001"},
	{Frame{Tag: TagQuote, Seq: 13, Instrument: 3, Side: Sell},
		"22000000500d0000000000000003000000000000000000000000000000000000000000000002"},
	{Frame{Tag: TagTrade, Seq: 14, Instrument: math.MaxUint32, Side: Sell, Price: 100, Quantity: 4, Count: 1},
		"22000000510e00000000000000ffffffff010000006400000000000000040000000000000002"},
	{Frame{Tag: TagLevel, Seq: 15, Instrument: 3, Side: Sell, Price: 101, Quantity: 25, Count: 2},
		"22000000520f0000000000000003000000020000006500000000000000190000000000000002"},
	{Frame{Tag: TagLevel, Seq: 16, Instrument: 3, Side: Sell, Price: 101},
		"2200000052100000000000000003000000000000006500000000000000000000000000000002"},
}

func TestFramesHaveTheDocumentedBytes(t *testing.T) {
	page, err := os.ReadFile("../../../docs/orderbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range golden {
		frame := g.frame.Append(nil)
		if got := hex.EncodeToString(frame); got != g.bytes || len(frame) != FrameSize {
			t.Errorf("%+v is\n%s, want\n%s", g.frame, got, g.bytes)
		}
		if f, err := Decode(frame[4], frame[5:]); err != nil || f != g.frame {
			t.Errorf("%s decodes to %+v, %v", g.bytes, f, err)
		}
		if !strings.Contains(string(page), "\n  "+g.bytes+"\n") {
			t.Errorf("docs/orderbook.md lacks the vector %s", g.bytes)
		}
	}
}

func TestMalformedFramesAreRejected(t *testing.T) {
	quote, trade, level := golden[0].frame, golden[2].frame, golden[3].frame
	edit := func(f Frame, change func(*Frame)) Frame {
		change(&f)
		return f
	}
	for _, c := range []struct {
		frame Frame
		want  string
	}{
		{edit(level, func(f *Frame) { f.Tag = 0x53 }), "tag 0x53 is not of a topic"},
		{edit(level, func(f *Frame) { f.Tag = 0x4F }), "tag 0x4f is not of a topic"},
		{edit(level, func(f *Frame) { f.Side = 0 }), "is 0, must be 1 or 2"},
		{edit(trade, func(f *Frame) { f.Side = 3 }), "is 3, must be 1 or 2"},
		{edit(trade, func(f *Frame) { f.Count = 0 }), "neither may be 0"},
		{edit(trade, func(f *Frame) { f.Quantity = 0 }), "neither may be 0"},
		{edit(level, func(f *Frame) { f.Quantity = 1 }), "2 orders at price 101 have quantity 1"},
		{edit(level, func(f *Frame) { f.Count = 0 }), "0 orders at price 101 have quantity 25"},
		{edit(quote, func(f *Frame) { f.Count, f.Quantity = 0, 0 }), "empty side has price -100"},
	} {
		frame := c.frame.Append(nil)
		if _, err := Decode(frame[4], frame[5:]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q in it", c.frame, err, c.want)
		}
	}
	body := level.Append(nil)[5:]
	for _, wrong := range [][]byte{nil, body[:32], append(bytes.Clone(body), 0)} {
		if _, err := Decode(TagLevel, wrong); err == nil || !strings.Contains(err.Error(), "must have 33") {
			t.Errorf("body of %d bytes: error is %v", len(wrong), err)
		}
	}
}

func TestTopicsHaveTheDocumentedNumbers(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		instrument uint32
		topic      uint64
		name       string
	}{
		{KindTop, 3, 0x0100000000000003, "top"}, {KindTrades, 0, 0x0200000000000000, "trades"},
		{KindDepth, math.MaxUint32, 0x03000000FFFFFFFF, "depth"},
	} {
		kind, instrument, ok := ParseTopic(c.topic)
		if c.kind.Topic(c.instrument) != c.topic || kind != c.kind || instrument != c.instrument || !ok ||
			c.kind.String() != c.name {
			t.Errorf("%s of %d is %x, which is %v of %d, %v", c.name, c.instrument,
				c.kind.Topic(c.instrument), kind, instrument, ok)
		}
	}
	for _, topic := range []uint64{0, 3, 0x04 << 56, 0xFF << 56, 0x03<<56 | 1<<32, 0x03<<56 | 1<<55} {
		if kind, instrument, ok := ParseTopic(topic); ok {
			t.Errorf("%x is a topic: %v of %d", topic, kind, instrument)
		}
	}
}

// FuzzFrame checks that no body makes the decoder panic, and that a decoded frame encodes to the same
// bytes.
func FuzzFrame(f *testing.F) {
	for _, g := range golden {
		frame := g.frame.Append(nil)
		f.Add(frame[4], frame[5:])
	}
	f.Fuzz(func(t *testing.T, tag uint8, body []byte) {
		if v, err := Decode(tag, body); err == nil && !bytes.Equal(v.Append(nil)[5:], body) {
			t.Fatalf("frame 0x%02x %x encodes to %x", tag, body, v.Append(nil))
		}
	})
}
