package encode_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sluice/encode"
)

// spoken is a framing of text: each control message is its name on a line, and heartbeats are none.
func spoken(dst []byte, c encode.Control) []byte {
	if c.Kind == encode.ControlHeartbeat {
		return dst
	}
	return fmt.Appendf(dst, "%v %d\n", c.Kind, c.Request)
}

func TestRawFramingSendsWhatTheEncoderAppended(t *testing.T) {
	for _, c := range []struct {
		name, appended string
		control        func([]byte, encode.Control) []byte
		last           bool
		want           string
	}{
		{"in the middle of a response", "8=FIX", spoken, false, "8=FIX"},
		{"at the end of a response", "8=FIX", spoken, true, "8=FIXBatchEnd 7\n"},
		{"without control messages", "8=FIX", nil, true, "8=FIX"},
		{"nothing to send", "", spoken, true, "BatchEnd 7\n"},
		{"the largest", strings.Repeat("x", 64), nil, false, strings.Repeat("x", 64)},
	} {
		t.Run(c.name, func(t *testing.T) {
			framer, err := encode.NewFramer[int, struct{}](encoderFunc(func(dst []byte) ([]byte, error) {
				return append(dst, c.appended...), nil
			}), encode.Framing{Raw: true, Control: c.control}, 64)
			if err != nil {
				t.Fatal(err)
			}
			got, err := framer.Report(make([]byte, 0, framer.Room()), new(int), c.last, 7)
			if err != nil || string(got) != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestRawFramingRejectsEncoderMistakes(t *testing.T) {
	for name, f := range map[string]encoderFunc{
		"too large":         func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 65)...), nil },
		"in other memory":   func([]byte) ([]byte, error) { return []byte("mine"), nil },
		"a byte further on": func(dst []byte) ([]byte, error) { return append(dst, "ab"...)[1:], nil },
	} {
		framer, err := encode.NewFramer[int, struct{}](f, encode.Framing{Raw: true}, 64)
		if err != nil {
			t.Fatal(err)
		}
		dst := append(make([]byte, 0, 8+framer.Room()), "address:"...)
		if out, err := framer.Report(dst, new(int), true, 7); err == nil || string(out) != "address:" {
			t.Errorf("%s: got %q and no error", name, out)
		}
	}
}

func TestRawControlMayNotExceedItsRoom(t *testing.T) {
	for name, control := range map[string]func([]byte, encode.Control) []byte{
		"too much": func(dst []byte, _ encode.Control) []byte {
			return append(dst, make([]byte, encode.MaxControl+1)...)
		},
		"less than it was given": func(dst []byte, _ encode.Control) []byte { return dst[:0] },
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, "0 to 256") {
					t.Errorf("%s: panic is %q, want the limits", name, text)
				}
			}()
			framing := encode.Framing{Raw: true, Control: control}
			framing.AppendControl([]byte("before"), encode.Control{Kind: encode.ControlClose})
		}()
	}
}

func TestControlWithoutRawIsRejected(t *testing.T) {
	_, err := encode.NewFramer[int, struct{}](encoderFunc(explode), encode.Framing{Control: spoken}, 64)
	if err == nil || !strings.Contains(err.Error(), "set Raw") {
		t.Errorf("error %v, want one that names the remedy", err)
	}
}

func TestRawResponseAllocatesNothing(t *testing.T) {
	framer, err := encode.NewFramer[int, struct{}](encoderFunc(func(dst []byte) ([]byte, error) {
		return append(dst, "abc"...), nil
	}), encode.Framing{Raw: true, Control: func(dst []byte, c encode.Control) []byte {
		return append(dst, byte(c.Kind))
	}}, 64)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, framer.Room())
	var out []byte
	report := new(int)
	if n := testing.AllocsPerRun(1000, func() { out, _ = framer.Report(dst, report, true, 7) }); n != 0 {
		t.Errorf("%v allocations a response, want none", n)
	}
	if !bytes.Equal(out, []byte("abc\x01")) {
		t.Errorf("got %q", out)
	}
}

// An EngineError and the end of its response are two control messages in one slot.
func TestRawRefusalAndEndFitIntoTheRoom(t *testing.T) {
	largest := func(dst []byte, c encode.Control) []byte {
		return append(dst, bytes.Repeat([]byte{byte(c.Kind)}, encode.MaxControl)...)
	}
	framer, err := encode.NewFramer[int, struct{}](encoderFunc(explode),
		encode.Framing{Raw: true, Control: largest}, 64)
	if err != nil {
		t.Fatal(err)
	}
	room := make([]byte, 0, framer.Room())
	out := framer.End(framer.Refuse(room, 7, encode.RefusedTag), 7)
	if len(out) != 2*encode.MaxControl || &out[0] != &room[:1][0] {
		t.Errorf("%d bytes, in place: %v; the room is %d", len(out), &out[0] == &room[:1][0], cap(room))
	}
}

// What Control returns may be in other memory, as that of append is.
func TestRawControlInOtherMemoryIsCopied(t *testing.T) {
	framing := encode.Framing{Raw: true, Control: func(dst []byte, c encode.Control) []byte {
		return append(bytes.Clone(dst), "end"...)
	}}
	dst := append(make([]byte, 0, 64), "before"...)
	out := framing.AppendControl(dst, encode.Control{Kind: encode.ControlBatchEnd})
	if string(out) != "beforeend" || &out[0] != &dst[0] {
		t.Errorf("got %q, in place: %v", out, &out[0] == &dst[0])
	}
}
