package telemetry

import (
	"bytes"
	"testing"
)

// A trace context is read and written byte for byte, and touches nothing behind it.
func FuzzParent(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xab}, ParentBytes+3))
	f.Add(make([]byte, ParentBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < ParentBytes {
			return // the caller's to check: wire.Traced does
		}
		var p Parent
		p.Get(data)
		if p.Sampled() != (data[ParentBytes-1]&1 == 1) {
			t.Fatalf("% x is sampled: %v", data, p.Sampled())
		}
		out := bytes.Repeat([]byte{0x5a}, len(data))
		p.Put(out)
		if !bytes.Equal(out[:ParentBytes], data[:ParentBytes]) || bytes.Count(out[ParentBytes:], []byte{0x5a}) != len(data)-ParentBytes {
			t.Fatalf("% x became % x", data, out)
		}
	})
}
