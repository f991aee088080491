package telemetry

// Parent is the W3C trace context that arrived with a request (https://www.w3.org/TR/trace-context/).
// The zero Parent means that there was none.
type Parent struct {
	TraceID [16]byte
	Span    [8]byte
	Flags   uint8 // trace-flags; bit 0 = sampled
}

// ParentBytes is the encoded size of a Parent, as Put and Get use it.
const ParentBytes = 25

// Sampled reports whether the client records its trace.
func (p *Parent) Sampled() bool { return p.Flags&1 != 0 }

// Put writes the context to the first ParentBytes of b: trace id, span id, flags.
func (p *Parent) Put(b []byte) {
	_ = b[ParentBytes-1]
	copy(b, p.TraceID[:])
	copy(b[16:], p.Span[:])
	b[24] = p.Flags
}

// Get reads the context from the first ParentBytes of b.
func (p *Parent) Get(b []byte) {
	_ = b[ParentBytes-1]
	copy(p.TraceID[:], b)
	copy(p.Span[:], b[16:])
	p.Flags = b[24]
}
