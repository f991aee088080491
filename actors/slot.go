package actors

import (
	"sluice/durability"
	"sluice/encode"
	"sluice/telemetry"
)

// Kind is what a slot contains.
type Kind uint8

const (
	// KindReport is an output caused by a journaled event, in Slot.Report.
	KindReport Kind = iota
	// KindQuery is the response to a query, in Slot.Query.
	KindQuery
	// KindEngineError reports to the client that its request was not executed; Slot.Refusal says why.
	KindEngineError
	// KindBatchEnd ends a request that has no other last slot.
	KindBatchEnd
	// KindTopic is a frame for all subscribers of a topic, in Slot.Report. See Slot.SetTopic.
	KindTopic
	// KindSnapshotBegin announces to Conn what describes a topic. See Slot.SetSubscription, for this
	// and the following kinds.
	KindSnapshotBegin
	// KindSnapshotEnd ends it, and makes Conn a subscriber: topic frames of later slots are sent to it.
	KindSnapshotEnd
	// KindResume makes Conn a subscriber again, from the topic frame on that follows the one it names.
	KindResume
	// KindLeave ends a subscription of Conn.
	KindLeave
)

// Slot is one output of the application, written in place into the slot ring (R2). Query stands
// before Report so that it takes no space in an application without queries (Q = struct{}): a
// zero-size last field would be padded.
//
// The producer fills the exported fields of every slot it claims, because the memory of slots is
// reused. From Publish on the slot belongs to the pipeline.
type Slot[R, Q any] struct {
	Conn     uint64         // the client's connection id, never 0; with KindTopic the topic
	Seq      durability.Seq // wire seq: the journal sequence of the event that caused this output
	Received int64          // when the request was received, monotonic ns of Pipeline.Now
	Matched  int64          // when the application had produced this output, same clock
	Request  uint64         // the client's number of the request, which ends its response; 0 in a push
	Kind     Kind
	Last     bool           // last slot of its response: BatchEnd is sent with it
	Bypass   bool           // needs no durability; may overtake slots of other connections
	Refusal  encode.Refusal // with KindEngineError

	overtaken bool                  // the gate has sent it ahead
	traced    telemetry.TraceReason // why this slot is traced

	Parent telemetry.Parent // trace context of the request; the zero value is none

	waits    uint8 // cursors that are still below Seq (low bits), and those it waited for
	crossed  int64 // when the first of two awaited cursors passed it; 0 if none did
	consumed int64 // when the gate first examined it, monotonic ns
	opened   int64 // when the gate released it, monotonic ns

	Query  Q
	Report R
}
