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
	for _, f := range []struct{ name, encode, wire string }{
		{"Heartbeat", encode.Heartbeat, wire.Heartbeat},
		{"BatchEnd", encode.BatchEnd, wire.BatchEnd},
		{"EngineError", encode.EngineError, wire.EngineError},
		{"ServerBusy", encode.ServerBusy, wire.ServerBusy},
		{"AuthFailed", encode.AuthFailed, wire.AuthFailed},
		{"ServerReady", encode.ServerReady, wire.ReadyFrame},
	} {
		if f.encode != f.wire {
			t.Errorf("frame %s is %x in encode, %x in wire", f.name, f.encode, f.wire)
		}
	}
	for _, n := range []struct {
		name string
		a, b int
	}{
		{"tag of Heartbeat", encode.TagHeartbeat, int(wire.TagHeartbeat)},
		{"tag of BatchEnd", encode.TagBatchEnd, int(wire.TagBatchEnd)},
		{"tag of EngineError", encode.TagEngineError, int(wire.TagEngineError)},
		{"tag of ServerBusy", encode.TagServerBusy, int(wire.TagServerBusy)},
		{"tag of Challenge", encode.TagChallenge, int(wire.TagChallenge)},
		{"tag of ChallengeResponse", encode.TagChallengeResponse, int(wire.TagChallengeResponse)},
		{"tag of AuthFailed", encode.TagAuthFailed, int(wire.TagAuthFailed)},
		{"tag of ServerReady", encode.TagServerReady, int(wire.TagServerReady)},
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
	for _, tag := range []uint8{orderbook.TagNew, orderbook.TagCancel, orderbook.TagReplace,
		orderbook.TagQueryTop, orderbook.TagQueryPosition} {
		if tag < wire.RequestFirst || tag > wire.RequestLast {
			t.Errorf("the order book's request tag 0x%02x is outside the range of requests", tag)
		}
	}
	for _, tag := range []uint8{orderbook.TagAccepted, orderbook.TagRejected, orderbook.TagFill,
		orderbook.TagCancelled,
		orderbook.TagReplaced, orderbook.TagTopOfBook, orderbook.TagPosition} {
		if tag < wire.ResponseFirst {
			t.Errorf("the order book's response tag 0x%02x is outside the range of responses", tag)
		}
	}
	if orderbook.MaxFrame > encode.DefaultMaxFrame {
		t.Errorf("the order book's largest frame has %d bytes, the default limit is %d",
			orderbook.MaxFrame, encode.DefaultMaxFrame)
	}
}
