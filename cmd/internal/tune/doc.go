// Package tune recommends shard count, placement and idle strategy for a given load on this
// machine.
//
//	cores of this machine ---> choices: shards x placement x idle that fit the cores (plan.go)
//	      |                       |
//	      | four or more:         v        rounds over all of them, interleaved (measure.go)
//	      | the load apart     +-------------------+   sockets   +------------------------------+
//	      +------------------> | bench.Runner:     | <========== | server process: publisher    |
//	         (cores.go)        | clients, checks   |             | and pipeline, one choice     |
//	                           +-------------------+             +------------------------------+
//	                              |
//	                              v
//	  rows: frames/s, p50, p99, p99.9, CPU per frame ---> Advise (advise.go): a choice, with reasons
//
// What it promises:
//
//   - Every run is checked as in package bench. A choice that loses, repeats or reorders a frame is
//     never recommended.
//   - A difference counts only if all runs of one choice are better than all runs of the other, and
//     their medians differ by more than 5 %. Smaller differences are noise; among choices that
//     differ by noise the simplest one is recommended.
//   - Advise is a pure function of the rows: the same table gives the same advice.
//   - If the command is stopped, it reports the runs completed until then.
//
// The publisher of the server process stands for the application and its journal, so it shares the
// cores of the server. The clients have cores of their own if there are at least four.
//
// Start reading at Main (main.go), then choices (plan.go) and Advise (advise.go). The reasons are
// in docs/decisions/0020-tune.md.
package tune
