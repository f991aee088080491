package actors

import (
	"sluice/durability"
	"sluice/telemetry"
)

// Kind says what a slot carries.
type Kind uint8

const (
	// KindReport is an output that a journaled event caused; Slot.Report holds it.
	KindReport Kind = iota
	// KindQuery is an answer to a query; Slot.Query holds it.
	KindQuery
	// KindEngineError tells the client that its request could not be executed.
	KindEngineError
	// KindBatchEnd ends a request that has no other last slot.
	KindBatchEnd
)

// Slot is one output of the application, written in place into the slot ring (R2). Query stands before Report
// so that an application without queries (Q = struct{}) pays nothing: a zero-size last field would be padded.
//
// The producer fills the exported fields of every slot it claims: a slot's memory is used again and again.
// From Publish on the slot is the pipeline's.
type Slot[R, Q any] struct {
	Conn     uint64         // the client's connection id, never 0
	Seq      durability.Seq // wire seq: the journal sequence of the event that caused this output
	Received int64          // when the request was received, monotonic ns of the pipeline's clock
	Matched  int64          // when the application had produced this output, same clock
	Kind     Kind
	Last     bool // last slot of its request: BatchEnd goes out with it
	Bypass   bool // needs no durability

	Parent telemetry.Parent // trace context that came with the request; the zero value is none

	overtaken bool                  // the gate already sent it ahead; written and read behind the gate's position
	below     uint8                 // cursors that were below Seq at the gate's first look, and are; the gate's
	traced    telemetry.TraceReason // why this slot is traced; the gate's, for the encoder
	waited    uint8                 // cursors it waited for, and which passed last; the gate's, for the encoder
	crossed   int64                 // when the first of two awaited cursors passed it, 0 = none did
	consumed  int64                 // the gate's first look, monotonic ns
	opened    int64                 // the gate's release, monotonic ns

	Query  Q
	Report R
}
