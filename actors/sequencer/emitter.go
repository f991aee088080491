package sequencer

import (
	"sluice/actors"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
)

const (
	slotClaim = 1024          // slots claimed at once at most
	spillKept = 4 * slotClaim // slots of memory that the spill keeps between requests
)

const (
	publishedByQuery = "sequencer: the application published outside of an event; only Apply, Connected, " +
		"Disconnected and Tick publish"
	describedToOther = "sequencer: the application described a topic to another connection; describe it " +
		"to that of the event"
)

const reportToNobody = "sequencer: the application reported to connection 0; " +
	"report to the connection of an event"

// emitter hands the application slots of the pipeline's ring, to be filled in place, and ends each
// request with a Last slot. It belongs to the sequencer's goroutine.
//
//	claim:  [ requests before, written ... | this request's .... | free ...... ]
//	                                       first                 used
//	spill:  [ this request's, as far as the claim had no room for them ........ ]
//
// Which slot is a request's last is known only when the application has returned, so the emitter
// remembers the last one that went to the request's own connection, and marks it then. Slots are
// committed after that. A request may have any number of outputs: those that the claim has no room
// for go to the spill, from where flush copies them into the ring as it gets room. Until the spill
// is empty no other request is carried out.
type emitter[R, Q any] struct {
	hasher[R, Q]
	slots  *mailbox.Writer[actors.Slot[R, Q]]
	now    func() int64 // monotonic ns, the pipeline's
	topics *topics

	claim       []actors.Slot[R, Q]
	used, first int
	spill       []actors.Slot[R, Q]
	flushedTo   int // slots of spill that are in the ring

	conn     uint64 // of the request; 0 for an event without one
	request  uint64 // the client's number of it
	gone     uint64 // connection that has ended with this event; 0 for none
	seq      durability.Seq
	received int64
	parent   telemetry.Parent // of the request: its trace context
	journals bool             // the request is an event
	nowhere  R                // takes reports to gone, and topic frames without subscribers
	own      int              // the last slot to conn: an index of claim, behind it one of spill; -1 if there is none
}

// ready reports whether a request may begin: the spill is empty and the ring has room.
func (e *emitter[R, Q]) ready() bool {
	return e.flushed() && (e.used < len(e.claim) || e.take())
}

// position is the place of the next slot in the ring, once ready.
func (e *emitter[R, Q]) position() uint64 { return e.slots.Position() + uint64(e.used) }

// flushed reports whether the spill is empty.
func (e *emitter[R, Q]) flushed() bool { return e.flushedTo == len(e.spill) }

// begin starts a request, or an event without one. context is the trace context of a request, which
// its responses carry; empty for none.
func (e *emitter[R, Q]) begin(ev *Event, received int64, context []byte) {
	e.conn, e.request, e.gone, e.journals = 0, 0, 0, false
	switch ev.Kind {
	case KindRequest:
		e.conn, e.request = ev.Conn, ev.Request
	case KindDisconnected:
		e.gone = ev.Conn
	}
	e.received, e.own, e.first = received, -1, e.used
	e.parent = telemetry.Parent{}
	if len(context) == telemetry.ParentBytes {
		e.parent.Get(context)
	}
}

// Report implements Emitter.
func (e *emitter[R, Q]) Report(conn uint64) *R {
	if conn == e.gone && conn != 0 {
		var zero R
		e.nowhere = zero
		return &e.nowhere
	}
	return &e.next(conn, actors.KindReport).Report
}

// Query implements Emitter.
func (e *emitter[R, Q]) Query(conn uint64) *Q { return &e.next(conn, actors.KindQuery).Query }

// Publish implements Emitter.
func (e *emitter[R, Q]) Publish(topic, key uint64) *R {
	if !e.journals {
		panic(publishedByQuery)
	}
	t := e.topics.live[topic]
	if t == nil {
		var zero R
		e.nowhere = zero
		return &e.nowhere
	}
	t.seq++
	s, _ := e.slot()
	s.SetTopic(topic, t.seq, key, t.shards)
	return &s.Report
}

// Subscribed implements Audience.
func (e *emitter[R, Q]) Subscribed() bool { return len(e.topics.live) > 0 }

// subscription emits a slot of a subscription of a connection.
func (e *emitter[R, Q]) subscription(kind actors.Kind, conn, topic, seq, epoch uint64, mode actors.Mode) {
	e.next(conn, kind).SetSubscription(kind, topic, seq, epoch, mode)
}

// only panics unless all slots of the request go to one connection.
func (e *emitter[R, Q]) only(conn uint64) {
	for _, slots := range [...][]actors.Slot[R, Q]{e.claim[e.first:e.used], e.spill} {
		for i := range slots {
			if slots[i].Conn != conn {
				panic(describedToOther)
			}
		}
	}
}

// withdraw drops the slots of the request.
func (e *emitter[R, Q]) withdraw() {
	e.used, e.own = e.first, -1
	e.emptySpill()
}

// refuse answers a request that is not carried out. The response reveals nothing about the state,
// so it waits for nothing.
func (e *emitter[R, Q]) refuse(why encode.Refusal) {
	s := e.next(e.conn, actors.KindEngineError)
	s.Bypass, s.Refusal = true, why
}

// end marks the last slot of a request, adds the outputs of an event to the digest, and stamps the
// slots with the time they were produced.
func (e *emitter[R, Q]) end() {
	if e.journals {
		e.digestSlots(e.claim[e.first:e.used])
		e.digestSlots(e.spill)
	}
	if e.conn != 0 {
		e.mark()
	}
	now := e.now()
	for i := e.first; i < e.used; i++ {
		e.claim[i].Matched = now
	}
	for i := range e.spill {
		e.spill[i].Matched = now
	}
	e.first = e.used
	if len(e.spill) > 0 {
		e.flush()
	}
}

// mark marks the last slot of the request's own connection.
func (e *emitter[R, Q]) mark() {
	if e.own < 0 {
		e.next(e.conn, actors.KindBatchEnd)
	}
	if at := e.own - len(e.claim); at >= 0 {
		e.spill[at].Last = true
	} else {
		e.claim[e.own].Last = true
	}
}

// digestSlots adds reports to the digest.
func (e *emitter[R, Q]) digestSlots(slots []actors.Slot[R, Q]) {
	for at := 0; at < len(slots); {
		at = e.guarded(slots, at)
	}
}

// guarded adds reports from slots[at] on. A panic of the application's encoder ends it after the
// report that caused it.
func (e *emitter[R, Q]) guarded(slots []actors.Slot[R, Q], at int) (next int) {
	defer func() {
		if recover() != nil {
			next = at + 1
		}
	}()
	for ; at < len(slots); at++ {
		if s := &slots[at]; s.Kind == actors.KindReport {
			e.add(s.Conn, &s.Report)
		}
	}
	return at
}

// next returns the next slot, empty but for its address.
func (e *emitter[R, Q]) next(conn uint64, kind actors.Kind) *actors.Slot[R, Q] {
	if conn == 0 {
		panic(reportToNobody)
	}
	s, at := e.slot()
	s.Conn, s.Kind = conn, kind
	if conn == e.conn {
		e.own = at
		s.Request, s.Parent = e.request, e.parent
	}
	return s
}

// slot returns the next slot, empty, and its index in claim, or behind it in spill.
func (e *emitter[R, Q]) slot() (s *actors.Slot[R, Q], at int) {
	if at = e.used; at < len(e.claim) {
		s = &e.claim[at]
		e.used++
	} else {
		at += len(e.spill)
		e.spill = append(e.spill, actors.Slot[R, Q]{})
		s = &e.spill[len(e.spill)-1]
	}
	*s = actors.Slot[R, Q]{Seq: e.seq, Received: e.received}
	return s, at
}

// take commits what is written and claims free slots, if there are any.
func (e *emitter[R, Q]) take() bool {
	e.slots.Commit(e.used)
	e.claim, e.used, e.first = e.slots.Claim(slotClaim), 0, 0
	return len(e.claim) > 0
}

// flush commits the requests that were carried out, and moves as much of the spill into the ring as
// has room. It returns the number of slots moved.
func (e *emitter[R, Q]) flush() (moved int) {
	for !e.flushed() && e.take() {
		n := copy(e.claim, e.spill[e.flushedTo:])
		e.used, e.first = n, n
		e.flushedTo += n
		moved += n
	}
	if e.flushed() {
		e.emptySpill()
	}
	e.slots.Commit(e.used)
	e.claim, e.used, e.first = e.claim[e.used:], 0, 0
	return moved
}

func (e *emitter[R, Q]) emptySpill() {
	e.flushedTo = 0
	if e.spill = e.spill[:0]; cap(e.spill) > spillKept {
		e.spill = nil
	}
}

// forget commits the requests before the one under way, whose slots are lost.
func (e *emitter[R, Q]) forget() {
	e.slots.Commit(e.first)
	e.claim, e.used, e.first = nil, 0, 0
	e.spill, e.flushedTo = nil, 0
}
