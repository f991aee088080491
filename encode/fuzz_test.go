package encode_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"sluice/encode"
)

// hostile is an encoder that executes a script:
//
//  1. Two bytes choose an action and a number.
//  2. Actions write valid and invalid headers, append, truncate, shift, move the output to other
//     memory, and overwrite the whole capacity from the beginning of the output.
//  3. It ends with the output so far, an error, or a panic.
type hostile struct {
	script []byte
	other  []byte
}

func (h *hostile) AppendReport(dst []byte, _ *int) ([]byte, error) { return h.run(dst) }
func (h *hostile) AppendQuery(dst []byte, _ *int) ([]byte, error)  { return h.run(dst) }

func (h *hostile) run(dst []byte) ([]byte, error) {
	for at := 0; at+1 < len(h.script); at += 2 {
		n := int(h.script[at+1])
		switch h.script[at] % 12 {
		case 0:
			dst = append(dst, frame(5+n)...)
		case 1:
			dst = append(dst, bytes.Repeat([]byte{byte(n)}, n)...)
		case 2:
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
		case 3:
			dst = binary.LittleEndian.AppendUint32(dst, -uint32(n))
		case 4:
			dst = dst[:len(dst)-n]
		case 5:
			dst = dst[n:]
		case 6:
			dst = append(h.other[:0], dst...)
		case 7:
			scribble := dst[:cap(dst)]
			for i := range scribble {
				scribble[i] = byte(n)
			}
		case 8:
			dst = dst[:len(dst)+n]
		case 9:
			dst = append(dst, make([]byte, n*n)...)
		case 10:
			if n%8 == 0 {
				panic(n)
			}
		case 11:
			if n%8 == 0 {
				return dst, errors.New("refused")
			}
		}
	}
	return dst, nil
}

func FuzzHostileEncoder(f *testing.F) {
	f.Add([]byte{0, 20}, uint8(8), true)
	f.Add([]byte{0, 20, 0, 20}, uint8(0), true)
	f.Add([]byte{0, 20, 4, 1}, uint8(8), false)
	f.Add([]byte{0, 20, 6, 0}, uint8(8), true)
	f.Add([]byte{0, 21, 5, 1}, uint8(8), true)
	f.Add([]byte{7, 255, 0, 20}, uint8(3), true)
	f.Add([]byte{7, 0, 9, 200}, uint8(3), true)
	f.Add([]byte{10, 0}, uint8(1), true)
	f.Add([]byte{8, 255, 8, 255}, uint8(1), true)
	f.Add([]byte{3, 5, 1, 48}, uint8(1), true)
	f.Fuzz(func(t *testing.T, script []byte, before uint8, last bool) {
		const maxFrame = 128
		framer, err := encode.NewFramer[int, int](&hostile{script: script,
			other: make([]byte, 0, 4096)}, encode.Framing{}, maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		// The buffer is part of a larger one, as a record of a ring is: the bytes around it belong
		// to others.
		ring := bytes.Repeat([]byte{0xA5}, int(before)+framer.Room()+64)
		dst := ring[:before]
		out, err := report(framer, dst, new(int), last)

		if !bytes.Equal(ring[:before], bytes.Repeat([]byte{0xA5}, int(before))) {
			t.Fatal("bytes before the room were changed")
		}
		tail := ring[int(before)+framer.Room():]
		if !bytes.Equal(tail, bytes.Repeat([]byte{0xA5}, len(tail))) {
			t.Fatal("bytes behind the room were changed")
		}
		if err != nil {
			if len(out) != len(dst) {
				t.Fatalf("error %v, but %d bytes were returned", err, len(out)-len(dst))
			}
			return
		}
		checkOutput(t, ring, out, int(before), maxFrame, last)
	})
}

// checkOutput checks what a client would receive: one application frame within the limit, then
// BatchEnd or nothing.
func checkOutput(t *testing.T, ring, out []byte, before, maxFrame int, last bool) {
	t.Helper()
	if &out[:1][0] != &ring[0] {
		t.Fatal("the output is in other memory")
	}
	sent := out[before:]
	if len(sent) < 5 {
		t.Fatalf("no error and %d bytes", len(sent))
	}
	size := 4 + int(binary.LittleEndian.Uint32(sent))
	if size > maxFrame || size > len(sent) || size < 5 {
		t.Fatalf("a frame of %d bytes in an output of %d", size, len(sent))
	}
	if sent[4] < encode.TagApplication {
		t.Fatalf("tag %#02x was returned", sent[4])
	}
	want := ""
	if last {
		want = batchEnd
	}
	if string(sent[size:]) != want {
		t.Fatalf("behind the frame: % x", sent[size:])
	}
}
