// Package fleet runs the processes of a cluster on this machine, and clients that record what they
// were told. The demonstration, the trials and the benchmark use it.
//
//	Fleet ── Node 1 ── sluice serve --cluster ──┐
//	  ├───── Node 2 ── sluice serve --cluster ──┼── journals ───> audit
//	  └───── Node 3 ── sluice serve --cluster ──┘                   ^
//	Client ══ orders and queries ══> the node that leads            │
//	  └── history of requests, frames and responses ────────────────┘
//
// The nodes of a fleet have an address of their own in 127.0.0.0/8, so that neither another fleet nor a
// client's own port is in their way, whatever is killed and started again.
//
// Promises:
//
//   - No process outlives this one.
//   - A history has every frame of a client's connections, and every request with what became of it.
//
// Start reading at Fleet, then Client.
package fleet
