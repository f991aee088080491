// Package orderbook is a limit order book with price-time priority for several
// instruments, with accounts, positions and fills reported to both sides. It is the
// application that ships with the program, and an example of what an application
// behind the sequencer looks like: a deterministic state machine without clocks, I/O
// or goroutines.
//
//	Command ──> event ──> account ──> refuse │ accept
//	                                            │
//	             instrument                     v
//	        Buy ladder │ Sell ladder  <──── match ───> Report, Report, ...
//	     97 ... 99 100 │ 101 102 ...            │
//	                │                           v
//	       oldest ──┴─> newest               position
//
// A ladder is one side: price levels in a sorted slice, the best last. A level is a
// queue of orders, linked by slot numbers in a slab. An order is found by its account
// and client order id in a hash index over the slab.
//
// Promises:
//
//   - A trade takes the best price first, the oldest order within it, at the price
//     of the resting order. The book is never crossed after an event.
//   - What one side of an instrument buys the other sells: net positions add to zero.
//   - A client order id is used once per account, also when the command was rejected;
//     sending commands again after a crash executes none twice.
//   - Reports come in the order things happen. They go to the connection of the
//     command, and to the connection that entered the resting order last.
//   - Equal events make equal reports and equal snapshots, byte for byte; Restore of a
//     snapshot goes on as the original would have.
//   - Everything is bounded by Config, and an order costs no allocation once the
//     slab, the levels and the tables have grown.
//
// Start reading at Book.Apply, then event.match. The messages and their bytes are
// specified in docs/orderbook.md.
package orderbook
