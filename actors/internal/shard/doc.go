// Package shard is the egress shard: it owns a ring, a slab of send buffers and the connections
// that hash to it, and is the only writer of their sockets.
//
//	[ frame ring ] ==> deliver ==> connection's buffer ==> flush: one send each ==> ring ==> socket
//	[ events ]     ==> connect, disconnect, kick, ...           |                    |
//	                                                            +- blocked: poll,    |
//	                                                               limits, timers <--+
//	[ notices ]    <== closed, slow, recovered                  ledger <= completions+
//
// A step drains the frame ring into the connections' buffers, then flushes once: one non-blocking
// send for each connection with something new, all in one submit. A connection whose socket refuses
// bytes gets a writability poll instead of further sends, so it costs the others nothing.
//
// Promises (the numbers are those of docs/architecture.md):
//
//   - I3, I4: a connection receives a prefix of its frames in slot order, and none of another's,
//     whatever is reused.
//   - I6: no send ever waits; a client that takes nothing costs its shard one poll and the memory
//     that its limits allow.
//   - I9: each response of the frame ring is counted once, as delivered or as dropped for a reason.
//   - I10: an entry, its permit and its socket are returned in one place, once.
//
// Start reading at Shard.Step, then deliver, flush, settle and close, each in the file of its
// theme. The transcripts in testdata/*.txt show a shard at work, command by command, with what it
// asks of the kernel.
package shard
