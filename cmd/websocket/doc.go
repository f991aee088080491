// Program websocket serves a chat room to browsers: an example of a pipeline with a protocol that is
// not ours, on connections that package net/http accepted.
//
//	go run ./cmd/websocket             then open http://127.0.0.1:8080/ in two windows
//
//	browser ──HTTP──► upgrade ──net.Conn──► reader ──text──► room ══slots══► pipeline ──► browser
//	                     └──────────── ConnectNet, a duplicate ──────────────────┘
//
// The frames that a server sends over WebSocket (RFC 6455) are not masked, so each is only bytes: the
// encoder appends them, and encode.Framing sends them as they are. Heartbeats are pings, and the
// reason of a close becomes its status code. What a client sends is read from its net.Conn, as
// without a pipeline.
//
// The room does what a sequencer does: it numbers the messages, one goroutine for all, and publishes
// one slot for each client. Its journal is a counter in memory; docs/embedding.md has one on disk.
//
// Start reading at serve in main.go, then upgrade.go and room.go; frame.go is RFC 6455.
package main
