// Command sluice runs the order book server, its clients and its tools.
//
//	sluice serve     listens, sequences, journals, responds    actors/node, cmd/internal/config
//	sluice client    trades by hand, watches responses
//	sluice admin     inspects or controls a running server     actors/node/observe
//	sluice top       shows a running server in the terminal    cmd/internal/top
//	sluice demo      server, 64 clients, kill -9, and a table  cmd/internal/demo
//	sluice cluster   makes members of a cluster                actors/node/cluster
//	sluice config    checks or prints a configuration          cmd/internal/config
//	sluice journal   lists or verifies events, read-only       durability/journal
//	sluice bench     measures the pipeline and its peers       cmd/internal/bench
//	sluice tune      finds shards and placement for a load     cmd/internal/tune
//	sluice version
//
// Promises:
//
//   - Exit code 0 is success, 1 a failure, 64 a usage error in flags, environment or configuration file.
//   - Results go to standard output, everything else to standard error.
//   - A usage error names the mistake, the value, and what to write instead.
//
// Start reading at commands in main.go; each command is a file of its name.
package main
