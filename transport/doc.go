// Package transport sends bytes to clients: rings that hand batches of sends to the kernel, the
// memory for unsent bytes, and the state of each connection. Its subpackages hold the wire format,
// the listener and a client.
//
//	          egress shard (one goroutine)
//	┌──────────────────────────────────────────────┐
//	│ Hash ► Index ► Conn ► Block in a Slab        │        kernel                client
//	│                         │                    │   ┌───────────────┐
//	│                         └─ Send ─► Ring ─────┼─► │ socket buffer │ ─────► reads, or not
//	│                   Reap ◄──────────┘  ▲       │   └───────┬───────┘
//	└──────────────────────────────────────┼───────┘           │
//	                      Wake ◄── watcher ┴── writable again ─┘
//
// Promises:
//
//   - No call waits. A send that finds no room is refused, and a poll reports when there is room
//     (R21).
//   - One Submit carries sends for any number of connections; the size of a ring does not limit
//     them (R27).
//   - The stream of a connection is intact after any short, refused or interrupted send. When that
//     cannot be known, the ring returns ErrRingInDoubt and does nothing more (R28).
//   - Tables and buffers are free of pointers, and an idle connection holds no buffer (R26).
//   - Sending, submitting and reaping do not allocate.
//
// A ring uses io_uring, or send(2) and epoll(7) where io_uring is forbidden or not compiled in.
// Both engines pass the same table of tests, and so does the simulated ring, which tests of the
// layers above use. The io_uring engine is compiled in with -tags giouring
// -ldflags=-checklinkname=0, because its library reaches into package syscall by linkname. Without
// the tag no flag is needed, and Engines returns the portable engine alone.
//
// Start reading at Ring in ring.go, then Conn in conn.go, then Slab in slab.go. Decision record
// 0003 explains the contract of Ring.
package transport
