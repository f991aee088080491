// Package demo shows, with a real server process, real sockets and a real kill -9, that no acknowledged order is lost.
//
//	         starts, kills -9, starts again, ends             reads, when all is over
//	Run ─────────────────────────────────────> sluice serve ──────────> journal ──> audit: replay, compare
//	 └── 64 traders ══ TCP and unix sockets ══════^                                    ^
//	         └── every answer they received ───────────────────────────────────────────┘
//
// Each trader has an account and goes on where it was when its server comes back: it asks which of its commands was the last
// one executed, and sends the later ones again under their old numbers.
//
// Promises:
//
//   - The audit replays the journal through an order book of its own. What each connection received must be a prefix of
//     what the replay says it was sent, and all of it on connections that ended in order. So an acknowledgement that is
//     missing from the journal, under another number, or different, is found; and so is an answer that should not exist.
//   - It shows no more than a kill -9 can: what the kernel was given survives that, synced or not. That nothing is
//     acknowledged before fdatasync(2) returned is shown by the tests of durability/journal and actors/node.
//   - Run ends within its deadlines, whatever the server does, and leaves no process behind.
//
// Start reading at Run, then trader.session and audit.
package demo
