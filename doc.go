// Package sluice is the response stage of a durable sequencer, and the server around it. It takes
// the outputs of an application, holds each back until enough copies of its event exist, encodes
// it, and sends it to thousands of clients that are sharded over several io_uring rings. This
// page is the map; the only code here is the version. The module cmd/lab holds the house rules.
//
//	             control events                        durability cursors
//	                   |                                      |
//	                   v                                      v
//	application ==> [ slot ring ] ==> gate ==(cursor)==> encode ==> [frames 0] ==> egress 0 ==> ring 0 ==> sockets
//	                   |                                      \==> [frames 1] ==> egress 1 ==> ring 1 ==> sockets
//	listener   --> [ events ] --> control --> [events 0 .. K-1] -----------------^
//
// Imports are a star with floors: the five leaves do not import one another.
//
//	cmd ──> actors/node/observe ──> actors/node ──> actors/sequencer ──> actors ──> mailbox     queues whose ends are permissions
//	                                                                            ├─> durability  policies, cursors; durability/journal is the log
//	                                                                            ├─> encode      frames
//	                                                                            ├─> transport   rings, buffers; listen, wire and client around them
//	                                                                            └─> telemetry   what the actors count; telemetry/otel exports it
//
// What the whole promises, among others:
//
//   - No byte of a response leaves before its event was as durable as the policy in force asks, at
//     one instant.
//   - A connection receives a prefix of its frames, in order, complete, once.
//   - Whatever a client does, no other client waits for it.
//   - Every queue, batch, buffer and retry is bounded; nothing is allocated per response.
//   - Slots in = delivered + dropped by reason, exactly.
//
// Where to start reading: package actors/node for a server around an application of your own,
// package actors for the pipeline alone, then the leaf you need. docs/decisions says why it is so;
// the Makefile lists the verbs.
package sluice
