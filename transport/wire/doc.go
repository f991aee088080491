// Package wire is the client protocol as bytes: the tags that belong to the transport, the layout of a request and of a
// response, the frames that never change, and the two functions that cut a stream into frames. It holds no sockets, no
// goroutines and no state, so the server's reader (transport/listen), the Go client (transport/client) and any tool can
// share one reading of the specification in docs/wire.md.
//
//	client -> server                                   server -> client
//	+---------+-----------------+--------+------+      +---------+--------+------+
//	| len u32 | request_seq u64 | tag u8 | body |      | len u32 | tag u8 | body |
//	+---------+-----------------+--------+------+      +---------+--------+------+
//	          |<----------- len -------------->|                 |<---- len ---->|
//
// Promises:
//   - NextRequest and NextResponse allocate nothing unless the frame is refused; what they return points into the input.
//   - A length is judged as soon as its four bytes are there, so a reader never waits for the rest of a frame it will refuse.
//   - Every integer is little-endian; `len` counts what follows it.
//
// Start reading at NextRequest, then see the vectors in wire_test.go, which are those of docs/wire.md.
package wire
