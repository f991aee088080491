// Package bench measures the response pipeline under an open-loop load, and a plain Go server beside it.
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
// Two processes, because getrusage(2) counts per process: the server's CPU time and the receivers' are told apart. Each
// frame carries the time at which the schedule wanted it published; the latency runs from there to the return of the
// read that brought it, both on CLOCK_MONOTONIC, so a server that falls behind cannot slow the clock that judges it.
//
// What it promises:
//
//   - Every connection is checked for gaps, repetitions, reordering and foreign frames during every run, and at its end for
//     completeness. Any violation fails the run and the command.
//   - Both servers get the same slots from the same producer, hold each back until the same cursor allows it, and send the
//     same bytes. Rounds of all variants alternate within one command, so that a noisy minute hits them alike.
//   - Everything is bounded in time, and nothing but loopback and unix sockets in a private directory is used.
//   - Goals are judged from rows of the same command only; a row that broke a promise misses its goal, and what was not
//     measured is said.
//   - It says when the numbers are not the server's: a missed rate, late producer, slow receivers, a busy machine.
//
// Start reading at Main (main.go), then Plan (plan.go), measure (run.go), Child (child.go) and goals (goals.go). Reasons are in
// docs/decisions/0014-benchmark-method.md, results in docs/benchmarks.md.
package bench
