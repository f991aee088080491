// Package transport is the last stretch to the client: rings that hand batches of sends to the kernel, the memory that
// unsent bytes wait in, and the state of each connection. Its subpackages hold the wire format, the listener and a
// client.
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
//   - Nothing in here waits: a send that finds no room is refused, and a poll tells when there is room (R21).
//   - A Submit carries any number of connections; the size of a ring limits none of them (R27).
//   - The stream of a connection is whole after any short, refused or interrupted send; when that cannot be known, the
//     ring says ErrRingInDoubt and does nothing more (R28).
//   - Tables and buffers are free of pointers, and an idle connection holds no buffer (R26).
//   - Sending, submitting and reaping do not allocate.
//
// A ring is io_uring, or send(2) and epoll(7) where io_uring is forbidden or not compiled in. Both pass one table of
// tests, and so does the simulated ring for tests of everything above. The io_uring engine is compiled in with
// -tags giouring -ldflags=-checklinkname=0, because its library reaches into package syscall by linkname. Without the
// tag no flag is needed, and Engines names the portable engine alone.
//
// Start reading at Ring in ring.go, then Conn in conn.go, then Slab in slab.go. Decision record 0003 explains the ring's
// contract.
package transport
