// Package wire checks that docs/wire.md is complete: a reader and client of the protocol, in
// another language and written from that page alone, talk to the server. It holds no code in Go,
// only tests: they start a server with a small application and run the checks against it.
//
//	docs/wire.md ──► check.py: every vector, decoded and encoded
//	                 check.py, topics.py ──► wire.py, ed25519.py ══TCP, unix══► actors/node with an echo
//
// The Python is that of the standard library. The tests skip where there is no Python.
//
// Start reading at wire.py, then check.py and topics.py, then wire_test.go.
package wire
