// Command hostile floods a server with all that one trader can send, while honest traders go on beside it,
// and reports what the honest ones noticed.
//
//	honest traders ══ orders, cancels, queries, at fixed times ══> sluice serve <══ flood, a process of its own
//	      │                                                                              │ the same, for comparison
//	      └──> rejected, refused, closed, p50, p99                          discard <════┘
//
// The flood has keys like other traders: ids that jump, invented accounts and instruments, price levels,
// resting orders, deep matches, heartbeats, subscriptions, connections, handshakes that never end. For the
// comparison, the same flood goes to a process that reads and drops it, so that the machine has the same load. What
// a flood costs the honest traders is then the ratio of their p99 in both.
//
//	cd cmd/lab && go build -o ../../bin/hostile ./hostile
//	bin/hostile --program bin/sluice --for 60s --pairs 5
//
// Start reading at measure in run.go, then attacks in attacks.go.
package main
