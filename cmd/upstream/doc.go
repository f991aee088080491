// Package upstream is everything that stands before the response pipeline when the
// program runs stand-alone: it takes requests from the readers of client connections,
// gives each a place in one order, journals them, applies them to an application and
// puts what the application says into the slot ring.
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
// Start reading at Application. The order book in cmd/orderbook implements it.
package upstream
