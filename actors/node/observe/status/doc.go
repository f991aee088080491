// Package status is the model of a running node for everything that shows one: admin pages, live
// page, `sluice top`.
//
//	node.Running ──Read──> Status ──text, JSON──> /, /readyz, /policy
//	                         └────────────┐
//	                                      ├──> Snapshot ──JSON──> live page, sluice top
//	                         ┌────────────┘
//	Collector ──> tally ──> Point, a second's difference of two tallies
//	    └──Measure──> Measurements ──text, JSON, file──> /stats, sluice serve --stats-file
//
// Promises:
//
//   - Without a reader, a Watcher costs one pass over the collector a second, and memory that does
//     not grow: 5 minutes of points and 10 seconds of histograms, about 1.1 MB.
//   - The clients are listed at most once a second, for any number of readers.
//   - A percentile covers its own second (or its own 10 seconds) and nothing before it.
//   - A gate that does not open shows within a second, although no histogram has it.
//   - A reader of a file of Measurements sees the old or the new ones as a whole.
//
// Start reading at Status, then Snapshot, then Point and history.take in history.go.
package status
