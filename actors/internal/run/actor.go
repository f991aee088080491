package run

import "sluice/telemetry"

// Actor is one stage of the pipeline: a struct that owns its data and does one bounded batch at a time. It
// never loops over its input for ever, blocks, sleeps, yields or reads the clock; the runner does all that.
// All methods are called on one goroutine.
type Actor interface {
	// Name is the actor's role, for labels, errors and metrics.
	Name() string
	// Step does one bounded batch and returns how much it did; 0 means there was nothing to do. now is
	// monotonic ns.
	Step(now int64) (work int)
	// Done reports that every inbox is closed and empty and nothing is left to do.
	Done() bool
	// Close closes the outboxes and frees what is owned. The runner calls it once, as soon as Done is true or
	// when the pipeline has failed.
	Close() error
	// Park is called before the goroutine sleeps, for what has to be done then: hand over a telemetry block, arm a
	// ring's wake-up. Unpark is called after the sleep.
	Park()
	Unpark()
	// Recorder is where the runner counts the actor's steps, so that busy and idle are live under permanent load too
	// (R38); nil if its steps are not counted.
	Recorder() *telemetry.Recorder
}

// Gatherer is implemented by actors that collect work before they hand it on, as shards do for one flush and the encoder does
// for shards on other goroutines. Actors that share a goroutine pass each other a batch of slots at a time, which the
// processor's caches still hold, until there are no more or one has enough; then each Gatherer gets its Step.
type Gatherer interface {
	// Gather takes what is in the inbox, up to a batch, and returns how much that was. enough says that Step should come first
	// now.
	Gather(now int64) (work int, enough bool)
}

// Unparked takes a block back from a recorder that was parked for good, and returns how to park it again.
func Unparked(rec *telemetry.Recorder) (park func()) {
	if rec.B == nil { // parked; an actor that panicked never was
		rec.Unpark()
	}
	return rec.Park
}
