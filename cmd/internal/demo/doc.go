// Package demo demonstrates with a real server process, real sockets and a real kill -9 that no
// acknowledged order is lost.
//
//	         starts, kills -9, starts again, drains           reads at the end
//	Run ─────────────────────────────────────> sluice serve ──────────> journal ──> audit: replay, compare
//	 └── 64 traders ══ TCP and unix sockets ══════^                                    ^
//	         └── every response they received ─────────────────────────────────────────┘
//
// With Config.Cluster there are three nodes (package fleet), of which the leader is killed; its traders
// record histories, and package audit compares them with the journals of all nodes.
//
// With Config.Subscribers, clients follow the books by topics (watcher). At the end each has the book that
// the replay has, byte for byte.
//
// Each trader has an account. When the server is back, the trader asks which of its commands was
// executed last, and sends the later ones again with their old numbers.
//
// Promises:
//
//   - The audit replays the journal through an order book of its own. The reports that a connection
//     received must be a prefix of the reports in the replay, and all of them if the connection was
//     closed in order. The audit therefore finds an acknowledgement that is missing from the
//     journal, has another number or differs, and a report that should not exist.
//   - Data that the kernel has accepted survives a kill -9, synced or not. The demonstration
//     therefore does not prove that fdatasync(2) returns before an acknowledgement leaves; the
//     tests of durability/journal and actors/node do.
//   - Run ends within its deadlines whatever the server does, and leaves no process behind.
//
// Start reading at Run, then trader.session and audit; for a cluster, at clusterRun and member.
package demo
