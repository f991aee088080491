// Package sluice is the response stage of a durable sequencer: it takes what
// an application puts out, holds every response back until enough copies of
// its event exist, encodes it, and sends it to thousands of clients that are
// sharded over several io_uring rings. Nothing here is code; this page is the
// map; package cmd/lab/tidy holds the house rules.
//
//	             control events                        durability cursors
//	                   |                                      |
//	                   v                                      v
//	application ==> [ slot ring ] ==> gate ==(cursor)==> encode ==> [frames 0] ==> egress 0 ==> ring 0 ==> sockets
//	                   |                                      \==> [frames 1] ==> egress 1 ==> ring 1 ==> sockets
//	listener   --> [ events ] --> control --> [events 0 .. K-1] -----------------^
//
// Imports are a star: the five leaves do not know one another.
//
//	cmd ──> actors ──> mailbox     queues whose ends are permissions
//	               ├─> durability  policies, cursors; durability/journal is the log
//	               ├─> encode      frames
//	               ├─> transport   rings, buffers; listen, wire and client around them
//	               └─> telemetry   what the actors count; telemetry/otel exports it
//
// What the whole promises, among others:
//
//   - No byte of a response leaves before its event was as durable as the policy
//     in force asks, at one instant.
//   - A connection receives a prefix of its frames, in order, complete, once.
//   - Whatever a client does, no other client waits for it.
//   - Every queue, batch, buffer and retry is bounded; nothing is allocated per
//     response.
//   - Slots in = delivered + dropped by reason, exactly.
//
// Where to start reading: package actors (the pipeline and its four actors),
// then the leaf you need; docs/decisions for why it is so; Makefile for the
// verbs. Programs live in cmd.
package sluice
