// Package top draws a running server on a terminal, for `sluice top`.
//
//	GET /live.json, once a second ──> feed ──> status.Snapshot with all points ──WriteFrame──> lines of text
//	                                   ▲
//	             keys, window size ────┘
//
// Promises:
//
//   - A frame is never higher than its terminal, and never wider than one of at least 60 columns. At 80 by 24
//     it has all parts.
//   - A server that does not respond delays neither keys nor signals nor a new window size.
//   - The terminal is given back as it was.
//
// Start reading at Server.Watch in watch.go, then WriteFrame in frame.go.
package top
