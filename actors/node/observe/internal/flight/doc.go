// Package flight runs Go's flight recorder and saves its recording when a response was slow.
//
//	runtime events ──> ring in memory ──Look: slower than Slow?──> DIR/flight-NUMBER-TIME-REASON.trace
//	                   the last seconds                            the last few
//
// Promises:
//
//   - Look never blocks: a recording is written on a goroutine of its own, one at a time.
//   - At most Keep recordings are kept, at most one is saved in Every, and none is longer than four
//     times Bytes: a longer one is discarded.
//   - A recording appears under its name only when it is complete.
//
// Recordings are read with `go tool trace FILE`. There is one flight recorder in a process.
//
// Start reading at Config, then Recorder.Look.
package flight
