// Package mailbox carries values from one goroutine to another without copying them and without blocking anybody: rings
// of slots for the data path, a ring of records for bytes, a bounded queue for control messages, and the parking flag that
// lets a goroutine sleep while all of them are empty.
//
//	NewSPSC     Writer ==> [ slots ] ==> Reader
//
//	NewChain    Writer ==> [ slots ] ==> Reader 0 ==> Reader 1 ==> ...   one ring; a reader passes a slot on by moving
//	              ^                                             |        its cursor, nothing is copied
//	              +-------------- room -------------------------+
//
//	NewBytes    BytesWriter ==> [ len|payload len|payload ... ] ==> BytesReader
//
//	NewMPSC     Sender (any goroutine) ==> [ cells ] ==> Receiver
//
// # Promises
//
//   - Ends are permissions: every end belongs to one goroutine (a Sender to all), and no method of any end ever blocks,
//     sleeps or yields. Full and empty are answers.
//   - Order is kept, nothing is lost or seen twice, and a slot's memory belongs to exactly one end at a time: passing it on
//     happens before the next one sees it, in the sense of the Go memory model.
//   - What was published before Close is read before Done says true.
//   - A goroutine that sleeps as described at [Signal] is woken by whatever gives it something to do.
//   - No allocation after construction; memory is bounded by the capacities.
//   - A broken contract (releasing more than is readable, closing twice) panics with the values.
//
// Every shared cursor fills a cache line of its own, and each end remembers where the other one was, so that a batch costs
// one atomic store and at most one look at the other side.
//
// The build tag invariants, and the race detector, turn on costlier checks; released memory is then overwritten.
//
// Start reading at [Signal], then chain.go and reader.go; cursor.go has the one place where something is handed over.
package mailbox
