// Package flight keeps Go's flight recorder running and saves its recording when an answer was slow.
//
//	runtime events --> ring in memory, the last seconds --Look: slower than Slow?--> DIR/flight-TIME-REASON.trace, the last few
//
// Promises:
//
//   - Whoever calls Look does not wait: a recording is written on a goroutine of its own, one at a time.
//   - At most Keep recordings are kept, at most one is made in Every, and none is longer than MaxBytes: what is longer is cut
//     off and not kept.
//   - A recording appears under its name only when it is whole.
//
// Recordings are read with `go tool trace FILE`. There is one flight recorder in a process.
//
// Start reading at Config, then Recorder.Look.
package flight
