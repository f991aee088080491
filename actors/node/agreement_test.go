package node

import (
	"testing"

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
	for _, n := range []struct {
		name string
		a, b int
	}{
		{"tag of Heartbeat", encode.TagHeartbeat, int(wire.TagHeartbeat)},
		{"tag of BatchEnd", encode.TagBatchEnd, int(wire.TagBatchEnd)},
		{"tag of EngineError", encode.TagEngineError, int(wire.TagEngineError)},
		{"tag of ServerBusy", encode.TagServerBusy, int(wire.TagServerBusy)},
		{"tag of Close", encode.TagClose, int(wire.TagClose)},
		{"refusal: tag", int(encode.RefusedTag), int(wire.RefusalUnknownTag)},
		{"refusal: size", int(encode.RefusedSize), int(wire.RefusalSize)},
		{"refusal: role", int(encode.RefusedRole), int(wire.RefusalRole)},
		{"refusal: malformed", int(encode.RefusedMalformed), int(wire.RefusalMalformed)},
		{"refusal: place", int(encode.RefusedPlace), int(wire.RefusalNotAvailable)},
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
		orderbook.TagReplaced, orderbook.TagCancelOnDisconnect, orderbook.TagTopOfBook,
		orderbook.TagFills} {
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
