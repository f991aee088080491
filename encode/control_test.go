package encode_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/encode"
)

func TestControlFramesMatchGoldenFile(t *testing.T) {
	frames := map[string]struct {
		tag   byte
		frame string
	}{
		"Heartbeat":   {encode.TagHeartbeat, encode.Heartbeat},
		"BatchEnd":    {encode.TagBatchEnd, encode.BatchEnd},
		"EngineError": {encode.TagEngineError, encode.EngineError},
		"ServerBusy":  {encode.TagServerBusy, encode.ServerBusy},
		"AuthFailed":  {encode.TagAuthFailed, encode.AuthFailed},
		"ServerReady": {encode.TagServerReady, encode.ServerReady},
	}
	golden, err := os.ReadFile("testdata/control.golden")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(golden)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		got, known := frames[fields[0]]
		if !known {
			t.Errorf("golden file has %q, which is not a constant", fields[0])
			continue
		}
		seen++
		if tag := fmt.Sprintf("%02x", got.tag); tag != fields[1] {
			t.Errorf("tag of %s is %s, golden file has %s", fields[0], tag, fields[1])
		}
		if frame := hex.EncodeToString([]byte(got.frame)); frame != fields[2] {
			t.Errorf("%s is %s, golden file has %s", fields[0], frame, fields[2])
		}
	}
	if seen != len(frames) {
		t.Errorf("golden file covers %d of %d frames", seen, len(frames))
	}
}

func TestTagsHaveTheirProtocolNumbers(t *testing.T) {
	tags := []int{encode.TagHeartbeat, encode.TagBatchEnd, encode.TagEngineError, encode.TagServerBusy,
		encode.TagChallenge, encode.TagChallengeResponse, encode.TagAuthFailed, encode.TagServerReady}
	for i, tag := range tags {
		if tag != i+1 {
			t.Errorf("tag number %d in wire.md's table is %#02x, want %#02x", i, tag, i+1)
		}
	}
	if encode.TagApplication != 0x30 {
		t.Errorf("TagApplication is %#02x, want 0x30", encode.TagApplication)
	}
}
