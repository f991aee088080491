// Package tune finds the shard count, placement and idle strategy for a user's own load on this machine.
//
//	cores of this machine ---> choices: shards x placement x idle that make sense here (plan.go)
//	      |                       |
//	      | four or more:         v        rounds over all of them, interleaved (measure.go)
//	      | the load apart     +-------------------+   sockets   +------------------------------+
//	      +------------------> | bench.Runner:     | <========== | server process: publisher    |
//	         (cores.go)        | clients, checks   |             | and pipeline, one choice     |
//	                           +-------------------+             +------------------------------+
//	                              |
//	                              v
//	               rows: frames/s, p50, p99, p99.9, CPU a frame of each run ---> Advise (advise.go): one choice and why
//
// What it promises:
//
//   - Every run is checked as in package bench: a choice that loses, repeats or reorders a frame is never recommended.
//   - A difference counts only when all runs of one choice are better than all runs of the other, and their medians are more
//     than a twentieth apart. What does not count is called noise, and then the simplest choice is recommended.
//   - Advise is a pure function of the rows: the same table gives the same advice.
//   - When it is stopped, what was measured until then is shown.
//
// The publisher of the server process stands for the application and its journal, so it shares the cores of the server; the
// clients do not where there are four cores or more.
//
// Start reading at Main (main.go), then choices (plan.go) and Advise (advise.go). The reasons are in
// docs/decisions/0020-tune.md.
package tune
