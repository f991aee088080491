// Package sequencer gives the requests of all connections one order, and carries them out in it. It
// stands between the readers of connections and the response pipeline.
//
//	readers ==> Queue ==> Sequencer ==> [ journal's bytes ] ==> committer --fdatasync--> persisted cursor
//	            (mutex)    |      |                                                           |
//	               notes   v      +==> [ slot ring ] ==> gate <-------------------------------+
//	                 Application  |
//	                              +--> digest of all outputs --+
//	                                                           v
//	journal ==> Copy: another Application, replay ====> compared, then a snapshot
//
// The sequencer is an actor. One step: take requests, check each, give it the next number and the
// time, copy it into the journal's ring, apply it, let the application write its outputs into the
// slot ring in place, add them to the digest; then publish to the journal, publish to the pipeline.
// The journal syncs while the next batch is carried out, and the gate holds the outputs back
// meanwhile.
//
// Other events stand between the requests. Connections that begin and end, numbers of keys and
// policies are notes of the queue, which have a place among its requests. The sequencer's own are ticks,
// checkpoints, and what a start journals first: skips, another version of the rules, and the ends of
// the connections of the run before.
//
// Subscriptions to topics (Publisher) stand between two events as well, and are not journaled. The sequencer
// numbers the frames of each topic, and knows which shards have subscribers: a topic without any costs no slot.
//
//	slot ring:  frame 40 | SnapshotBegin 40, what Describe emits, SnapshotEnd 40 | frame 41
//	                                                      the client is a subscriber from here on
//	shards ==> feedback: a subscriber is gone, or has missed frames and needs a snapshot
//
// Promises:
//
//   - An output carries the number of the event that caused it, an answer to a query that of the last event it can have
//     seen. So no client sees what is not on disk, whichever way it asks.
//   - Numbers continue where the journal ended; they never begin again.
//   - Each request is answered by its outputs and exactly one end, on its own connection, in the order of requests.
//   - A snapshot holds whole events: it is the state between two. It begins with what the sequencer
//     remembers: time, version, digest, who is connected, the keys.
//   - The sequencer never waits for a snapshot. It only notes after which event, and with which digest, a copy
//     is to be one; a copy with other outputs becomes none.
//   - The time of events never falls, whatever the wall clock does.
//   - A connection's events are in order: it begins, its requests, it ends. Its end is journaled once, if not in
//     this run then at the start of the next, before any client is admitted.
//   - A replay has the outputs of the run, byte for byte, or it stops at the checkpoint that shows the
//     difference.
//   - Full rings make the sequencer wait, and its queue makes the readers wait. Every such wait ends with Stop or Close.
//   - A subscriber gets, after a snapshot or where it left off, every frame of its topic once; events, digest and
//     snapshots of the state are the same with and without subscribers.
//   - No allocation per request, no clock or random source near the application.
//
// Promises of the Application seam:
//
//   - An application is a deterministic state machine; it is rebuilt after a crash by
//     Restore of the last snapshot and Apply of the journal behind it.
//   - A request that the application's table, Check or Admit refuses is answered and leaves no trace in
//     the journal.
//   - Queries are answered from the same goroutine as events and are never journaled.
//   - Outputs are written in place into ring slots; the seam allocates nothing.
//
// An event in the journal, little-endian; its sequence number is its place:
//
//	0         1      2       3      4     5               8          16          24           32
//	+---------+------+-------+------+-----+---------------+----------+-----------+------------+------+
//	| version | kind | flags | role | tag | identity      | time u64 | conn. u64 | request u64 | body |
//	+---------+------+-------+------+-----+---------------+----------+-----------+------------+------+
//
// Start reading at Application, then Sequencer.next and request, emitter, and subscription; Replay
// is the way back. The order book in cmd/orderbook
// is an application.
package sequencer
