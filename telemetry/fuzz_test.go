package telemetry

import (
	"bytes"
	"testing"
)

// Get and Put copy a trace context byte for byte and do not touch the bytes after it.
func FuzzParent(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xab}, ParentBytes+3))
	f.Add(make([]byte, ParentBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < ParentBytes {
			return // callers check the length: wire.Traced does
		}
		var p Parent
		p.Get(data)
		if p.Sampled() != (data[ParentBytes-1]&1 == 1) {
			t.Fatalf("% x is sampled: %v", data, p.Sampled())
		}
		out := bytes.Repeat([]byte{0x5a}, len(data))
		p.Put(out)
		if !bytes.Equal(out[:ParentBytes], data[:ParentBytes]) ||
			bytes.Count(out[ParentBytes:], []byte{0x5a}) != len(data)-ParentBytes {
			t.Fatalf("% x became % x", data, out)
		}
	})
}
