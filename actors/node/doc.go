// Package node composes the listener, the sequencer, the journal and the response pipeline into one order book that serves
// clients. It only wires: what happens to a request is said in the packages it wires.
//
//	clients ==> listen ==Request==> queue ==> sequencer ==> journal ring ==> committer --fdatasync--> cursors
//	              |                              |  order book                                           |
//	              |                              v                                                       v
//	              +--Connect, Disconnect--> control    slot ring ======================================> gate ==> encode ==> shards ==> clients
//
//	DataDir/journal  log and snapshots, see durability/journal
//	DataDir/genesis  the empty book: the limits every event was judged by
//
// Promises:
//
//   - An event that a client was answered is found again by the next Start, and no connection id is ever used twice.
//   - The failure of any component ends the server with that component's error (Ended, Err); after a failed write or sync
//     nothing is acknowledged any more (R36).
//   - Drain, Stop and Fence end within their deadline whatever clients and disk do, and leave nothing behind but the
//     goroutine of a sync that does not return.
//   - An idle server sleeps.
//
// The end goes from the sockets to the disk: readers let go, the sequencer empties its queue, the journal commits, the
// pipeline delivers, the journal is closed.
//
// Start reading at Config, then Server.Start and Server.shut.
package node
