package sequencer

import (
	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

// slotClaim is the number of slots claimed at once at most.
const slotClaim = 1024

// emitter hands the application slots of the pipeline's ring, to be filled in place, and ends each request with a Last
// slot. It belongs to the sequencer's goroutine.
//
//	claim:  [ written ........ | this request's .... | free ...... ]
//	                           first                 used
//
// Which slot is a request's last is known only when the application returned, so the emitter remembers the last one that
// went to the request's own connection, and marks it then. A request with more slots than the ring has room for is
// published in parts; what is published cannot be marked any more, and a BatchEnd slot of its own ends such a request if
// nothing for its connection follows.
type emitter[R, Q any] struct {
	slots *mailbox.Writer[actors.Slot[R, Q]]
	now   func() int64 // monotonic ns, the pipeline's
	room  func() bool  // publishes everything and waits for free slots; false: the sequencer was stopped

	claim       []actors.Slot[R, Q]
	used, first int

	conn     uint64 // of the request
	seq      durability.Seq
	received int64
	parent   telemetry.Parent   // of the request: its trace context
	own      *actors.Slot[R, Q] // last unpublished slot to conn
	scrap    actors.Slot[R, Q]  // takes the outputs once the sequencer was stopped
}

// begin starts a request of conn.
func (e *emitter[R, Q]) begin(conn uint64, received int64) {
	e.conn, e.received, e.own, e.first = conn, received, nil, e.used
}

// trace takes the trace context of the next request, which its answers carry; empty for none.
func (e *emitter[R, Q]) trace(context []byte) {
	e.parent = telemetry.Parent{}
	if len(context) == telemetry.ParentBytes {
		e.parent.Get(context)
	}
}

// Report implements Emitter.
func (e *emitter[R, Q]) Report(conn uint64) *R { return &e.next(conn, actors.KindReport).Report }

// Query implements Emitter.
func (e *emitter[R, Q]) Query(conn uint64) *Q { return &e.next(conn, actors.KindQuery).Query }

// refuse answers a request that is not carried out. The answer says nothing about the state, so it waits for nothing.
func (e *emitter[R, Q]) refuse() {
	e.next(e.conn, actors.KindEngineError).Bypass = true
}

// end marks the last slot of the request, and stamps its slots.
func (e *emitter[R, Q]) end() {
	if e.own == nil {
		e.next(e.conn, actors.KindBatchEnd)
	}
	if e.own != nil {
		e.own.Last = true
	}
	e.stamp()
}

// stamp notes when the slots of the request were produced.
func (e *emitter[R, Q]) stamp() {
	now := e.now()
	for i := e.first; i < e.used; i++ {
		e.claim[i].Matched = now
	}
	e.first = e.used
}

// next returns the next slot, empty but for its address.
func (e *emitter[R, Q]) next(conn uint64, kind actors.Kind) *actors.Slot[R, Q] {
	if conn == 0 {
		panic("sequencer: the application reported to connection 0; report to the connection of a request")
	}
	s := &e.scrap
	if e.used < len(e.claim) || e.more() {
		s = &e.claim[e.used]
		e.used++
	}
	*s = actors.Slot[R, Q]{Conn: conn, Seq: e.seq, Received: e.received, Kind: kind}
	if conn == e.conn {
		e.own = s
		s.Parent = e.parent
	}
	return s
}

// more turns over to the next part of the ring; false once the sequencer was stopped.
func (e *emitter[R, Q]) more() bool {
	e.settle()
	if e.take() {
		return true
	}
	e.own = nil // about to be published
	return e.room()
}

// take claims free slots, if there are any.
func (e *emitter[R, Q]) take() bool {
	e.claim, e.used, e.first = e.slots.Claim(slotClaim), 0, 0
	return len(e.claim) > 0
}

// settle commits what is written. Nobody sees it before it is published.
func (e *emitter[R, Q]) settle() {
	e.stamp()
	e.slots.Commit(e.used)
	e.claim, e.used, e.first = e.claim[e.used:], 0, 0
}

// forget commits the requests before the one under way, whose slots are lost.
func (e *emitter[R, Q]) forget() {
	e.slots.Commit(e.first)
	e.claim, e.used, e.first = nil, 0, 0
}

// discard is the emitter of a replay: the outputs were answered in an earlier run.
type discard[R, Q any] struct {
	report R
	query  Q
}

// Report implements Emitter.
func (d *discard[R, Q]) Report(uint64) *R {
	var zero R
	d.report = zero
	return &d.report
}

// Query implements Emitter.
func (d *discard[R, Q]) Query(uint64) *Q {
	var zero Q
	d.query = zero
	return &d.query
}
