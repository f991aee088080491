package journal

import (
	"bytes"
	"math"
	"testing"

	"sluice/durability"
)

func encodeBatch(first durability.Seq, payloads ...[]byte) []byte {
	b := startBatch(nil)
	for _, p := range payloads {
		b = appendEvent(b, p)
	}
	sealBatch(b, first, uint32(len(payloads)))
	return b
}

func TestBatchRoundTrip(t *testing.T) {
	in := [][]byte{[]byte("a"), nil, bytes.Repeat([]byte{7}, 127), bytes.Repeat([]byte{8}, 128),
		make([]byte, 70000)}
	b, err := decodeBatch(encodeBatch(41, in...))
	if err != nil || b.first != 41 || b.last() != 45 {
		t.Fatalf("%+v, %v", b, err)
	}
	n := 0
	b.events(func(e Event) bool {
		if e.Seq != durability.Seq(41+n) || !bytes.Equal(e.Payload, in[n]) ||
			cap(e.Payload) != len(e.Payload) {
			t.Errorf("event %d: seq %d, %d bytes", n, e.Seq, len(e.Payload))
		}
		n++
		return n < 4
	})
	if n != 4 {
		t.Errorf("visited %d events after asking to stop at 4", n)
	}
}

func TestDecodeBatchRejectsInvalidData(t *testing.T) {
	reseal := func(b []byte, first durability.Seq, count uint32) []byte { sealBatch(b, first, count); return b }
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"less than a header", encodeBatch(1, nil)[:15]},
		{"no events", encodeBatch(1)},
		{"event number 0", encodeBatch(0, nil)},
		{"numbers beyond the range", encodeBatch(math.MaxUint64, nil)},
		{"fewer payloads than counted", reseal(encodeBatch(1, nil), 1, 2)},
		{"more payloads than counted", reseal(encodeBatch(1, nil, nil), 1, 1)},
		{"a payload that ends outside the batch", reseal(encodeBatch(1, []byte("abc"))[:18], 1, 1)},
		{"a length without end", reseal(append(startBatch(nil), bytes.Repeat([]byte{0xff}, 11)...),
			1, 1)},
		{"a wrong checksum", func() []byte { b := encodeBatch(1, []byte("abc")); b[0]++; return b }()},
	} {
		if b, err := decodeBatch(c.data); err == nil {
			t.Errorf("%s: accepted as %+v", c.name, b)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(encodeBatch(1, []byte("one"), nil, []byte("three")), false)
	f.Add([]byte{}, true)
	f.Add(encodeBatch(9, bytes.Repeat([]byte{1}, 300))[4:], true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		data = bytes.Clone(data)
		if seal && len(data) >= 4 { // so that the structure is reached
			sum := checksum(data[4:])
			data[0], data[1], data[2], data[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		b, err := decodeBatch(data)
		if err != nil {
			return
		}
		again, next := startBatch(nil), b.first
		b.events(func(e Event) bool {
			if e.Seq != next {
				t.Fatalf("event %d, want %d", e.Seq, next)
			}
			next++
			again = appendEvent(again, e.Payload)
			return true
		})
		if next != b.last()+1 {
			t.Fatalf("%d events visited, %d counted", next-b.first, b.count)
		}
		sealBatch(again, b.first, b.count)
		if twice, err := decodeBatch(again); err != nil || twice.first != b.first ||
			twice.count != b.count {
			t.Fatalf("encoded again: %+v, %v", twice, err)
		}
	})
}
