// Package node runs an application of any kind as a server: listener, sequencer, journal and
// response pipeline in one process. It only wires; what happens to a request is documented in the
// packages it wires.
//
//	clients ==> listen ==Request==> queue ==> sequencer ==> journal ring ==> committer --fdatasync--> cursors
//	              |                              |  Application                                          |
//	              |                              v                                                       v
//	              +--Connect, Disconnect--> control    slot ring ======================================> gate ==> encode ==> shards ==> clients
//
//	snapshots:  newest snapshot and journal --> a copy of the Application replays to an event --> next snapshot
//
//	DataDir/journal  log and snapshots, see durability/journal
//	DataDir/genesis  snapshot of the empty application: the configuration under which every event was judged
//	DataDir/skips    events that every replay leaves out, see Skip; usually missing
//	DataDir/policy   policy that an operator put in force, for the next start; usually missing
//
// An application implements sequencer.Application (its state machine) and encode.Encoder (its
// frames); Example shows a whole one. Package observe adds admin pages, metrics and traces to a
// node.
//
// Promises:
//
//   - An event whose response a client has received is found again by the next Open, and no connection id is ever used twice.
//   - Connections of the run before have ended, for the application and in the journal, before the first client is
//     admitted.
//   - The failure of any component ends the node with that component's error (Ended, Err). After a failed write or sync
//     nothing is acknowledged any more (R36).
//   - Drain, Stop and Fence end within their deadline whatever clients and disk do, and leave nothing behind but the
//     goroutine of a sync that does not return.
//   - A snapshot does not stop requests: it is made on a copy of the application, and installed only if the copy's outputs were
//     those of the run. A copy that fails, panics or hangs ends nothing.
//   - An idle node sleeps.
//
// The end goes from the sockets to the disk: readers release their connections, the sequencer
// empties its queue, the journal commits, the pipeline delivers, the journal is closed.
//
// Start reading at Config, then Open and Node.shut; Node.copied makes snapshots.
package node
