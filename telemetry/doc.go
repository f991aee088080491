// Package telemetry measures the pipeline without slowing it: plain arrays
// that one actor writes, handed to a collector by exchanging one pointer.
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
// What it promises:
//
//   - Record, RecordN, a counter, Mark, Poll, Park, Unpark, TryPut and Head never
//     allocate, never block and never wait: Record is a few plain stores, Poll one
//     atomic load.
//   - Nothing recorded is lost: a block is owned by exactly one side at a time. An
//     actor that does not answer in time is counted as stale and its numbers arrive
//     with a later collection.
//   - After every actor has parked for good, Collector.Final has everything.
//   - Histograms have 32 buckets in each power of two: a quantile is at most 1.6 %
//     off, count, sum and maximum are exact.
//
// All times are nanoseconds of one Clock, which the program creates once and
// passes on; the runner reads it once per round, never per slot.
//
// The package imports only the standard library. Export to other systems is the
// business of subpackages, which read a Collector.
//
// Where to start reading: block.go (what an actor writes), recorder.go (the
// hand-over), collect.go (the other side), catalogue.go (every counter and its
// sentence), trace.go (sampled slots). docs/decisions/0008 has the numbers.
package telemetry
