// Package peer carries frames between the nodes of a cluster. It knows neither their content nor
// the consensus protocol that they belong to.
//
//	node 1                                                                    node 2
//	Send(2, Control, f) ─► queue ─► writer ═══ connection: 1 to 2, control ═══► reader ─► Receive
//	Send(2, Append, f)  ─► queue ─► writer ═══ connection: 1 to 2, append  ═══► reader ─► Receive
//	Send(2, Bulk, f)    ─► queue ─► writer ═══ connection: 1 to 2, bulk    ═══► reader ─► Receive
//	Receive ◄─ reader ◄═══════════════ three connections of node 2 to node 1 ════ writer ◄─ queue
//
//	                     dialler ── Hello ─────────► acceptor
//	                             ◄─ Hello, or Refusal with a text ──
//	                             ── Data, Data, ... ────────────►
//
//	frame: length u32 | kind u8 | crc32c u32 | payload          (little-endian)
//
// Promises:
//
//   - Send never waits. It copies the frame into a bounded queue; a full queue drops and counts.
//   - The frames of a lane arrive whole, in order and at most once. A lane that is full or stalled
//     does not delay another lane.
//   - Receive is called by one goroutine at a time for a node and lane, including across a reconnect and
//     while SetPeers exchanges the node. While it blocks, TCP holds that lane of that node back.
//   - A frame waits for at most one attempt to connect. While a peer cannot be reached, Send
//     reports that it drops; nothing is sent again after a break.
//   - A connection is used only if both ends agree on cluster, node numbers and protocol, and, under
//     TLS, if the certificate names the node. Otherwise both ends log why, with the values.
//   - Of two processes with the same node number, the one with the higher incarnation is served.
//   - Without TLS, all addresses are on loopback; otherwise New returns an error.
//   - Handshakes have a deadline and a bounded number of places.
//   - Close ends every goroutine.
//   - Sending and receiving do not allocate once the buffers have grown. Buffers above 2 MiB are not
//     kept when they are empty. Under TLS, package crypto/tls allocates at most once for a record.
//
// A peer that is unreachable without a reset is noticed after 5 seconds: by unacknowledged data
// (TCP_USER_TIMEOUT, on Linux), or by keepalive probes on an idle connection. That is far slower
// than a heartbeat of the layer above, which remains responsible for judging a node.
//
// Start reading at Config and Links; then link in dial.go and arrival in accept.go, the two ends of
// a connection.
package peer
