// Command sluice runs the order book server and everything around it.
//
//	sluice serve     listens, sequences, journals, answers       actors/node does the work, cmd/internal/config its settings
//	sluice client    trades by hand, watches answers
//	sluice admin     asks a running server, or steers it           actors/node/observe
//	sluice top       shows a running server in the terminal      cmd/internal/top
//	sluice demo      server, 64 clients, kill -9, and a table    cmd/internal/demo
//	sluice config    checks or prints a configuration
//	sluice journal   lists or verifies events, read-only         durability/journal
//	sluice bench     measures the pipeline beside its peers          cmd/internal/bench
//	sluice tune      finds shards and placement for a load          cmd/internal/tune
//	sluice version
//
// Promises:
//
//   - Exit code 0 is an orderly end, 1 a failure, 2 a mistake in flags, environment or configuration file.
//   - Results go to standard output, everything else to standard error.
//   - A mistake is answered with what is wrong, what it is, and what to write instead.
//
// Start reading at commands in main.go; each command is a file of its name.
package main
