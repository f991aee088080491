package telemetry

// Parent is the W3C trace context that came with a request. The zero Parent is none.
// See https://www.w3.org/TR/trace-context/.
type Parent struct {
	TraceID [16]byte
	Span    [8]byte
	Flags   uint8 // trace-flags; bit 0 = sampled
}

// ParentBytes is the size of a Parent in Put and Get.
const ParentBytes = 25

// Sampled reports whether the caller records its trace.
func (p *Parent) Sampled() bool { return p.Flags&1 != 0 }

// Put writes the context to the first ParentBytes of b: trace id, span id, flags.
func (p *Parent) Put(b []byte) {
	_ = b[ParentBytes-1]
	copy(b, p.TraceID[:])
	copy(b[16:], p.Span[:])
	b[24] = p.Flags
}

// Get reads a context back from b.
func (p *Parent) Get(b []byte) {
	_ = b[ParentBytes-1]
	copy(p.TraceID[:], b)
	copy(p.Span[:], b[16:])
	p.Flags = b[24]
}
