package node

import (
	"bytes"
	"testing"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/encode"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// The leaves do not import one another, so the protocol's constants exist twice. Here is where they
// are compared.
func TestPackagesAgreeOnProtocol(t *testing.T) {
	testControlFrames(t)
	testTopicFrames(t)
	for _, n := range []struct {
		name string
		a, b int
	}{
		{"tag of Heartbeat", encode.TagHeartbeat, int(wire.TagHeartbeat)},
		{"tag of BatchEnd", encode.TagBatchEnd, int(wire.TagBatchEnd)},
		{"tag of EngineError", encode.TagEngineError, int(wire.TagEngineError)},
		{"tag of ServerBusy", encode.TagServerBusy, int(wire.TagServerBusy)},
		{"tag of Close", encode.TagClose, int(wire.TagClose)},
		{"tag of topics", encode.TagExtended, int(wire.TagExtended)},
		{"bytes in front of a topic's frame", encode.TopicBytes, wire.TopicDataSize},
		{"mode recover", int(actors.ModeRecover), int(wire.TopicRecover)},
		{"mode every", int(actors.ModeEvery), int(wire.TopicEvery)},
		{"mode latest", int(actors.ModeLatest), int(wire.TopicLatest)},
		{"refusal: tag", int(encode.RefusedTag), int(wire.RefusalUnknownTag)},
		{"refusal: size", int(encode.RefusedSize), int(wire.RefusalSize)},
		{"refusal: role", int(encode.RefusedRole), int(wire.RefusalRole)},
		{"refusal: malformed", int(encode.RefusedMalformed), int(wire.RefusalMalformed)},
		{"refusal: place", int(encode.RefusedPlace), int(wire.RefusalNotAvailable)},
		{"refusal: topic", int(encode.RefusedTopic), int(wire.RefusalTopic)},
		{"refusal: limit", int(encode.RefusedLimit), int(wire.RefusalLimit)},
		{"close: shutdown", int(encode.CloseShutdown), int(wire.CloseShutdown)},
		{"close: kicked", int(encode.CloseKicked), int(wire.CloseKicked)},
		{"close: slow", int(encode.CloseSlow), int(wire.CloseSlow)},
		{"close: protocol error", int(encode.CloseProtocol), int(wire.CloseProtocolError)},
		{"close: silent", int(encode.CloseSilent), int(wire.CloseSilent)},
		{"close: internal", int(encode.CloseInternal), int(wire.CloseInternal)},
		{"first tag of a response", encode.TagApplication, int(wire.ResponseFirst)},
		{"largest response", encode.MaxFrameLimit, wire.MaxResponse},
		{"role readonly", int(sequencer.RoleReadonly), int(listen.Readonly)},
		{"role trader", int(sequencer.RoleTrader), int(listen.Trader)},
		{"role operator", int(sequencer.RoleOperator), int(listen.Operator)},
	} {
		if n.a != n.b {
			t.Errorf("%s: %d and %d", n.name, n.a, n.b)
		}
	}
	for _, r := range new(orderbook.Book).Requests() {
		if r.Tag < wire.RequestFirst || r.Tag > wire.RequestLast {
			t.Errorf("the order book's request tag 0x%02x is outside the range of requests", r.Tag)
		}
	}
	for _, tag := range []uint8{orderbook.TagAccepted, orderbook.TagRejected, orderbook.TagFill,
		orderbook.TagCancelled,
		orderbook.TagReplaced, orderbook.TagCancelOnDisconnect, orderbook.TagLimitsRaised, orderbook.TagTopOfBook,
		orderbook.TagFills, orderbook.TagLimitUse} {
		if tag < wire.ResponseFirst {
			t.Errorf("the order book's response tag 0x%02x is outside the range of responses", tag)
		}
	}
	if orderbook.MaxFrame > encode.DefaultMaxFrame {
		t.Errorf("the order book's largest frame has %d bytes, the default limit is %d",
			orderbook.MaxFrame, encode.DefaultMaxFrame)
	}
}

// testControlFrames decodes what encode appends with wire.
func testControlFrames(t *testing.T) {
	framing := encode.Framing{}
	body := func(c encode.Control, tag uint8) []byte {
		frame := framing.AppendControl(nil, c)
		got, body, size, err := wire.NextResponse(frame, wire.MaxResponse)
		if err != nil || size != len(frame) || got != tag {
			t.Errorf("%v is % x: tag %#02x, size %d, error %v", c.Kind, frame, got, size, err)
		}
		return body
	}
	const number = 0x0102030405060708
	if b := body(encode.Control{Kind: encode.ControlHeartbeat}, wire.TagHeartbeat); len(b) != 0 {
		t.Errorf("Heartbeat has a body: % x", b)
	}
	n, ok := wire.DecodeBatchEnd(body(encode.Control{Kind: encode.ControlBatchEnd, Request: number},
		wire.TagBatchEnd))
	if n != number || !ok {
		t.Errorf("BatchEnd of request %#x, %v", n, ok)
	}
	n, ok = wire.DecodeServerBusy(body(encode.Control{Kind: encode.ControlServerBusy,
		Request: number}, wire.TagServerBusy))
	if n != number || !ok {
		t.Errorf("ServerBusy of request %#x, %v", n, ok)
	}
	n, why, ok := wire.DecodeEngineError(body(encode.Control{Kind: encode.ControlEngineError,
		Request: number, Refusal: encode.RefusedRole}, wire.TagEngineError))
	if n != number || why != wire.RefusalRole || !ok {
		t.Errorf("EngineError of request %#x for %v, %v", n, why, ok)
	}
	for r := range encode.CloseElsewhere + 1 {
		for i, address := range []string{"", "node-2:7000"} {
			answered := i+int(r)&1 == 0
			c, ok := wire.DecodeClose(body(encode.Control{Kind: encode.ControlClose, Reason: r,
				RetryAfter: r.RetryAfter(), Address: address, Answered: answered}, wire.TagClose))
			want := wire.Close{Reason: wire.CloseReason(r), RetryAfter: r.RetryAfter(), Address: address,
				Answered: answered}
			if !ok || c != want {
				t.Errorf("%+v, %t; want %+v", c, ok, want)
			}
		}
	}
	if encode.MaxAddress != wire.MaxAddress {
		t.Errorf("addresses have %d bytes, and %d in the client", encode.MaxAddress, wire.MaxAddress)
	}
}

// testTopicFrames compares the frames of topics that encode appends with those that wire does.
func testTopicFrames(t *testing.T) {
	framer, err := encode.NewFramer[orderbook.Report, orderbook.Answer](orderbook.Encoder{}, encode.Framing{}, 512)
	if err != nil {
		t.Fatal(err)
	}
	const topic, seq, epoch = 0x0102030405060708, 0x1112131415161718, 0x2122232425262728
	report := orderbook.Report{Tag: orderbook.TagAccepted}
	room := make([]byte, 0, framer.Room())
	bare, err := framer.Report(room, &report, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	bare = bytes.Clone(bare)
	data, err := framer.Topic(room, topic, seq, &report)
	if err != nil {
		t.Fatal(err)
	}
	control := func(k encode.ControlKind) []byte {
		return framer.Framing().AppendControl(nil, encode.Control{Kind: k, Topic: topic, TopicSeq: seq, Epoch: epoch})
	}
	for _, v := range []struct {
		name      string
		got, want []byte
	}{
		{"TopicData", data, wire.AppendTopicData(nil, wire.TopicData{Topic: topic, Seq: seq, Tag: bare[4], Body: bare[5:]})},
		{"SnapshotBegin", control(encode.ControlSnapshotBegin),
			wire.AppendSnapshotBegin(nil, wire.SnapshotBegin{Topic: topic, Epoch: epoch, Seq: seq})},
		{"SnapshotEnd", control(encode.ControlSnapshotEnd), wire.AppendSnapshotEnd(nil, topic, seq)},
		{"Gap", control(encode.ControlGap), wire.AppendGap(nil, topic, seq)},
	} {
		if !bytes.Equal(v.got, v.want) {
			t.Errorf("%s: % x and % x", v.name, v.got, v.want)
		}
	}
}
