package run

import "sluice/telemetry"

// Actor is one stage of the pipeline: a struct that owns its data and does one bounded batch at a
// time. It never blocks, sleeps, yields or reads the clock, and never loops until its input is
// empty; the runner does all that. All methods but Name are called on one goroutine.
type Actor interface {
	// Name is the actor's role, for labels, errors and metrics. It never changes. Any goroutine.
	Name() string
	// Step does one bounded batch and returns how much work that was; 0 means that there was
	// nothing to do. now is monotonic ns.
	Step(now int64) (work int)
	// Done reports that every inbox is closed and empty and nothing is left to do.
	Done() bool
	// Close closes the outboxes and frees what the actor owns. The runner calls it once, as soon as
	// Done is true or the pipeline has failed.
	Close() error
	// Park is called before the goroutine sleeps, for what must be done then: hand over a telemetry
	// block, arm a ring's wake-up. Unpark is called after the sleep.
	Park()
	Unpark()
	// Recorder is where the runner counts the actor's steps, so that busy and idle time are current
	// under permanent load too (R38). It is nil if its steps are not counted.
	Recorder() *telemetry.Recorder
}

// Gatherer is implemented by actors that collect work before they pass it on, as shards do for one
// flush and the encoder does for shards on other goroutines. Actors that share a goroutine pass
// each other a batch of slots at a time, which the processor's caches still hold, until there are
// no more or one actor has enough. Then Step of each Gatherer is called.
type Gatherer interface {
	// Gather takes what is in the inbox, up to a batch, and returns how much that was. enough
	// reports that Step should come next.
	Gather(now int64) (work int, enough bool)
}

// Unparked takes a block back from a recorder that was parked for good, and returns the function
// that parks it again.
func Unparked(rec *telemetry.Recorder) (park func()) {
	if rec.B == nil { // nil if parked; an actor that panicked was not
		rec.Unpark()
	}
	return rec.Park
}
