// Package orderbook is a limit order book with price-time priority for several
// instruments, with accounts and positions. Fills are reported to both sides. It is the
// application that ships with the program, and an example of an application behind the
// sequencer: a deterministic state machine without I/O or goroutines, whose only clock is the
// time of its events.
//
//	Command ──> event ──> account ──> reject │ accept        Tick, Connected, Disconnected
//	              │                             │                          │
//	              │ instrument                  v                          v
//	        Buy ladder │ Sell ladder  <──── match ───> Report, ... <── expire, ended
//	     97 ... 99 100 │ 101 102 ...            │
//	                │                           v
//	       oldest ──┴─> newest        position, history
//
// A ladder is one side: price levels in a sorted slice, with the best price last. A level
// is a queue of orders, linked by slot numbers in a slab. A hash index over the slab finds
// an order by its account and client order id. Besides, an order is in the list of its account
// (open.go), in that of its connection (connections.go), and in a heap if it expires
// (expiry.go). An account keeps what its last commands did, and its last fills (history.go).
//
// Promises:
//
//   - A trade takes the best price first, the oldest order within it, at the price
//     of the resting order. The book is never crossed after an event.
//   - An order does not trade at its expiry or later, even if no tick came.
//   - The quantity bought equals the quantity sold: net positions of an instrument add to
//     zero.
//   - A client order id is used once per account, even if the command was rejected, so a
//     command that is sent again after a crash is not executed twice. A command that is rejected
//     before its account exists leaves no trace.
//   - Reports are in the order of execution. They go to the connection of the command, and
//     to the connection that entered the resting order last.
//   - Equal events cause equal reports and equal snapshots, byte for byte. A restored book
//     continues exactly like the original.
//   - A subscriber of a topic that applies a snapshot and each frame after it has exactly the
//     levels, the best quotes and the trades of the book, after each event (topics.go).
//   - All memory is bounded by Config and by the number of connections. An order does not
//     allocate once the slab, the levels, the tables and the history of its account have grown.
//
// Start reading at Book.Apply, then event.match. The messages and their bytes are
// specified in docs/orderbook.md. Package trade is the client, and package marketdata has what
// subscribers of topics need.
package orderbook
