// Package bench measures the response pipeline under an open-loop load, and a plain Go server
// beside it.
//
//	parent: this process                              child: the same program again
//	+--------------------------------+                +----------------------------------------------+
//	| plan, rounds, medians, table   | --- spec ----> | slot producer (the schedule)                 |
//	|                                | <-- report --- |   |            \..> durability cursor        |
//	| receivers: few goroutines on   |                |   v                                          |
//	| epoll, one checker for each    | <== sockets == | target: the pipeline, or a goroutine,        |
//	| connection                     |                |         channel and bufio per connection     |
//	+--------------------------------+                +----------------------------------------------+
//	                \______ frames received so far: shared memory ______^
//
// There are two processes because getrusage(2) counts per process, so the CPU time of the server
// and that of the receivers are separate. Each frame carries the time at which the schedule wanted
// it published. Its latency is the time from there to the return of the read that delivered it,
// both on CLOCK_MONOTONIC, so a server that falls behind cannot hide it.
//
// What it promises:
//
//   - Every connection is checked for gaps, repetitions, reordering and foreign frames during every
//     run, and for completeness at its end. Any violation fails the run and the command.
//   - All servers receive the same slots from the same producer, hold each back until the same
//     cursor allows it, and send the same bytes. Rounds of all variants alternate within one
//     command, so that noise affects all of them.
//   - Everything is bounded in time. Only loopback and unix sockets in a private directory are
//     used.
//   - Goals are judged by rows of the same command only. A row that broke a promise misses its
//     goal, and a goal that was not measured is reported as such.
//   - Results that are not due to the server alone are marked: a missed rate, a late producer, slow
//     receivers, a busy machine.
//
// --cluster measures real processes instead, see clusterBench (cluster.go).
//
// Start reading at Main (main.go), then Plan (plan.go), measure (run.go), Child (child.go) and
// goals (goals.go). Reasons are in docs/decisions/0014-benchmark-method.md, results in
// docs/benchmarks.md.
package bench
