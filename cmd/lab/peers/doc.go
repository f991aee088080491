// Command peers is the server process of `sluice bench` for the servers that sluice is compared with. It is a module of its
// own, so that sluice does not depend on them; `make peers` builds bin/peers, and `sluice bench --peer` starts it.
//
//	slots ==> bench.Gate ==> one of:  single    encode, net.Conn.Write
//	                                  netpoll   encode into a LinkBuffer, Flush
//	                                  gnet      a task on its event loop: encode, Conn.Write
//	                                  classic   encode, io_uring sends, wait for all of them
//	          without a gate:         bare      io_uring sends of frames that are prepared
//
// Producer, schedule, gate, frames, checker and reports are those of package bench and the same for each. What all peers
// promise: frames of a connection in order, each once; those of one connection in a batch share a send, except in bare;
// no allocation for a frame. How each works and why that is its best form is at its type. A client that never reads holds
// back a server that waits for it; with --stalled it is closed after 50 ms. gnet keeps its bytes, bare refuses --stalled.
//
// Start reading at stage.go. The reasons are in docs/decisions/0019-peers.md.
package main
