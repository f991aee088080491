// Package wire is the client protocol as bytes: the tags of the transport, the layout of requests
// and responses, the bodies of the transport's frames, and two functions that cut a stream into
// frames.
// It has no sockets, goroutines or state, so the server's reader (transport/listen), the Go client
// (transport/client) and any tool share one implementation of docs/wire.md.
//
//	client -> server                                   server -> client
//	+---------+-----------------+--------+------+      +---------+--------+------+
//	| len u32 | request_seq u64 | tag u8 | body |      | len u32 | tag u8 | body |
//	+---------+-----------------+--------+------+      +---------+--------+------+
//	          |<----------- len -------------->|                 |<---- len ---->|
//
// Promises:
//   - NextRequest and NextResponse allocate only if the frame is rejected. What they return points
//     into the input.
//   - A length is checked as soon as its four bytes are there. A reader never waits for the rest of
//     a frame that will be rejected.
//   - Every integer is little-endian; `len` counts what follows it.
//
// The frames of the pipeline (BatchEnd, EngineError, ServerBusy, the server's Heartbeat) are decoded
// here and appended in package encode. So are those of topics, which this package can append, too, for
// tests and simulated servers.
//
// Start reading at NextRequest, then handshake.go and topic.go. The test vectors in vectors_test.go are those of
// docs/wire.md.
package wire
