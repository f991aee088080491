package encode_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/encode"
)

func TestControlFramesMatchGoldenFile(t *testing.T) {
	controls := map[string]encode.Control{
		"Heartbeat":   {Kind: encode.ControlHeartbeat},
		"BatchEnd":    {Kind: encode.ControlBatchEnd, Request: asked},
		"EngineError": {Kind: encode.ControlEngineError, Request: asked, Refusal: encode.RefusedRole},
		"ServerBusy":  {Kind: encode.ControlServerBusy, Request: asked},
	}
	for kind := encode.ControlSnapshotBegin; kind <= encode.ControlGap; kind++ {
		controls[kind.String()] = encode.Control{Kind: kind, Topic: 7, Epoch: 9, TopicSeq: 1000}
	}
	for name, reason := range map[string]encode.CloseReason{
		"shutdown": encode.CloseShutdown, "kicked": encode.CloseKicked, "slow": encode.CloseSlow,
		"protocol": encode.CloseProtocol, "silent": encode.CloseSilent, "internal": encode.CloseInternal,
		"elsewhere": encode.CloseElsewhere,
	} {
		controls["Close/"+name] = encode.Control{Kind: encode.ControlClose, Reason: reason,
			RetryAfter: reason.RetryAfter()}
	}
	controls["Close/address"] = encode.Control{Kind: encode.ControlClose, Reason: encode.CloseElsewhere,
		Address: "node-2:7000"}
	controls["Close/answered"] = encode.Control{Kind: encode.ControlClose, Reason: encode.CloseShutdown,
		RetryAfter: encode.CloseShutdown.RetryAfter(), Answered: true}
	golden, err := os.ReadFile("testdata/control.golden")
	if err != nil {
		t.Fatal(err)
	}
	framing, seen := encode.Framing{}, 0
	for line := range strings.Lines(string(golden)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		c, known := controls[fields[0]]
		if !known {
			t.Errorf("golden file has %q, which is not a control message", fields[0])
			continue
		}
		seen++
		if frame := hex.EncodeToString(framing.AppendControl(nil, c)); frame != fields[1] {
			t.Errorf("%s is %s, golden file has %s", fields[0], frame, fields[1])
		}
	}
	if seen != len(controls) {
		t.Errorf("golden file covers %d of %d messages", seen, len(controls))
	}
}

// The framer writes BatchEnd and EngineError by itself, because it writes one for nearly every slot.
func TestFramerAgreesWithControlFrames(t *testing.T) {
	framer, framing := newFramer(t, explode, 512), encode.Framing{}
	end := framer.End(append(make([]byte, 0, 64), "head"...), asked)
	want := framing.AppendControl([]byte("head"), encode.Control{Kind: encode.ControlBatchEnd, Request: asked})
	if !bytes.Equal(end, want) {
		t.Errorf("the framer's BatchEnd is % x, want % x", end, want)
	}
	refused := framer.Refuse(nil, asked, encode.RefusedSize)
	want = framing.AppendControl(nil, encode.Control{Kind: encode.ControlEngineError, Request: asked,
		Refusal: encode.RefusedSize})
	if !bytes.Equal(refused, want) {
		t.Errorf("the framer's EngineError is % x, want % x", refused, want)
	}
}

func TestBadControlPanics(t *testing.T) {
	for want, c := range map[string]encode.Control{
		"control 9": {Kind: 9},
		"an address of 245 bytes; at most 244": {Kind: encode.ControlClose,
			Address: strings.Repeat("a", encode.MaxAddress+1)},
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, want) {
					t.Errorf("panic is %q, want %q", text, want)
				}
			}()
			(&encode.Framing{}).AppendControl(nil, c)
		}()
	}
}

func TestLongestAddressFitsIntoControlMessage(t *testing.T) {
	frame := (&encode.Framing{}).AppendControl(nil, encode.Control{Kind: encode.ControlClose,
		RetryAfter: 1 << 62, Address: strings.Repeat("a", encode.MaxAddress)})
	if len(frame) != encode.MaxControl || hex.EncodeToString(frame[6:12]) != "00fefffffff4" {
		t.Errorf("%d bytes: % x", len(frame), frame)
	}
}
