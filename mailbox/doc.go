// Package mailbox carries values from one goroutine to another without copying or blocking: rings
// of slots for the data path, a ring of records for bytes, a bounded queue for control messages,
// and the parking flag with which a goroutine sleeps while all of them are empty.
//
//	NewSPSC     Writer ==> [ slots ] ==> Reader
//
//	NewChain    Writer ==> [ slots ] ==> Reader 0 ==> Reader 1 ==> ...   one ring; a reader passes
//	              ^                                             |        a slot on by moving its
//	              +-------------- room -------------------------+        cursor
//
//	NewBytes    BytesWriter ==> [ len|payload len|payload ... ] ==> BytesReader
//
//	NewMPSC     Sender (any goroutine) ==> [ cells ] ==> Receiver
//
// # Promises
//
//   - Every end belongs to one goroutine (a Sender to all), and no method of any end ever blocks,
//     sleeps or yields: full and empty are return values. The exception is in its name: ClaimWait, for
//     a writer that is not an actor.
//   - Order is kept, nothing is lost or seen twice, and a slot's memory belongs to exactly one end at a
//     time: passing it on happens before the next end sees it, in the sense of the Go memory model.
//   - Everything published before Close is read before Done returns true.
//   - A goroutine that sleeps as described at [Signal] is woken by everything that gives it work.
//   - No allocation after construction; memory is bounded by the capacities.
//   - A broken contract (releasing more than is readable, closing a ring twice) panics with the values.
//     A Sender, which any goroutine may close, may be closed again.
//
// Every shared cursor has a cache line of its own, and each end caches the position of the other,
// so that a batch costs one atomic store and at most one load of the other end's cursor.
//
// The build tag invariants and the race detector enable more expensive checks; released memory is
// then overwritten.
//
// Start reading at [Signal], then chain.go and reader.go; all handing over is done in cursor.go.
package mailbox
