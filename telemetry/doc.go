// Package telemetry measures the pipeline without slowing it down: an actor writes plain arrays, and
// one pointer exchange hands them to a collector.
//
//	actor goroutine                 exchange words              collector goroutine
//	---------------                 --------------              -------------------
//	B.C[GateSlots]++                                             zeroed spare block
//	B.H[StageGate].Record(ns)        empty  <------------------------- request
//	Poll: sees empty, keeps it,
//	      gives its full block ----> full   ---------------------> merge into Totals
//	Park: lends its block ---------> parked <-- swap against the spare, no actor needed
//	Unpark: takes a block back <---- parked
//
// Guarantees:
//
//   - Record, RecordN, counting, Mark, Poll, Park, Unpark, TryPut and Head never allocate, block or
//     wait. Record is a few plain stores, Poll is one atomic load.
//   - Nothing recorded is lost: exactly one side owns a block at any time. An actor that does not
//     answer in time is counted as stale, and its numbers arrive with a later collection.
//   - After every actor has parked for good, Collector.Final collects everything.
//   - Histograms have 32 buckets in each power of two: a quantile is at most 1.6 % off; count, sum
//     and maximum are exact.
//
// All times are nanoseconds of one Clock, which the program creates once and passes on. The runner
// reads it once per round, never per slot.
//
// A metric is declared in one place and used by its id: counters in catalogue.go, high-water marks in
// block.go, gauges in gauge.go. A program that embeds the pipeline adds gauges of its own with
// Collector.CustomGauge.
//
// The package imports only the standard library. Subpackages read a Collector and export to other
// systems.
//
// Where to start reading: block.go (what an actor writes), recorder.go (the hand-over), collect.go (the
// collector), catalogue.go (every counter), gauge.go (every gauge), trace.go (sampled slots).
// docs/decisions/0008 has the measurements.
package telemetry
