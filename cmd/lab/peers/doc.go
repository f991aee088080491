// Command peers is the server process of `sluice bench` for the servers that sluice is compared
// with. It is a module of its own, so that sluice does not depend on them; `make peers` builds
// bin/peers, and `sluice bench --peer` starts it.
//
//	slots ==> bench.Gate ==> one of:  single    encode, net.Conn.Write
//	                                  netpoll   encode into a LinkBuffer, Flush
//	                                  gnet      a task on its event loop: encode, Conn.Write
//	                                  classic   encode, io_uring sends, wait for all of them
//	          without a gate:         bare      io_uring sends of frames that are prepared
//	records ==> etcd: three processes with an embedded etcd, for `sluice bench --durable --cluster 3`
//
// Producer, schedule, gate, frames, checker and reports are those of package bench and the same for
// each. All peers promise the frames of a connection in order, each once, one send for the frames
// of a connection in a batch (except bare), and no allocation for a frame. The comment of each type
// explains how it works and why that is its best form. A client that never reads blocks a server
// that waits for it, and with --stalled it is closed after 50 ms. gnet buffers for it, and bare
// rejects --stalled.
//
// Start reading at stage.go. The reasons are in docs/decisions/0019-peers.md.
package main
