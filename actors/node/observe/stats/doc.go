// Package stats is what a server measured, as one value that programs can read: `sluice serve --stats-file` writes it, the
// demonstration and benchmarks read it.
//
//	telemetry.Collector ──Take──> Report ──WriteFile──> stats.json ──ReadFile──> Report
//
// Promises:
//
//   - Latencies are nanoseconds, sizes bytes; counters count from the start of the process.
//   - A reader of the file sees a whole report, the old or the new one.
//
// Start reading at Report.
package stats
