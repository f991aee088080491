// Package upstream is the seam between an application and what stands before the
// response pipeline when the program runs stand-alone: requests from the readers of
// client connections get a place in one order, are journaled and applied to the
// application, which puts what it has to say into the slot ring. It also defines what
// a journaled event is. The machinery is in package sequencer below, so that an
// application links nothing of the pipeline.
//
//	readers ==> sequencer ==> journal (group commit, fsync) --> cursors --> gate
//	                |
//	                v
//	           Application  Apply, Query
//	                |
//	                v
//	           [ slot ring ] ==> gate ==> encode ==> egress
//
// The order above is also the safety argument: an event is applied when it is in
// memory, and its outputs wait in the slot ring until the gate saw the journal (or
// the replicas) confirm the event. Nothing the application emits can be seen by a
// client before that.
//
// Promises of the Application seam:
//
//   - An application is a deterministic state machine; it is rebuilt after a crash by
//     Restore of the last snapshot and Apply of the journal behind it.
//   - A request that Check refuses is answered and leaves no trace in the journal.
//   - Queries are answered from the same goroutine as events and are never journaled.
//   - Outputs are written in place into ring slots; the seam allocates nothing.
//
// An event in the journal, little-endian; its sequence number is its place:
//
//	+------------+---------+--------+----------------+-----------------+------+
//	| version u8 | role u8 | tag u8 | connection u64 | request_seq u64 | body |
//	+------------+---------+--------+----------------+-----------------+------+
//
// Start reading at Application. The order book in cmd/orderbook implements it.
package upstream
