package shard

import (
	"sync/atomic"

	"sluice/actors/internal/run"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Shard is one shard: it owns a ring, a slab of send buffers and the connections that hash to it, and is the only
// writer of their sockets (I13). A step drains its inbox into the connections' buffers, then flushes once: one
// non-blocking send for each connection with something new, all in one submit. A connection whose socket refuses bytes
// gets a writability poll instead of further sends, so it costs the others nothing (I6).
type Shard struct {
	name   string
	shard  int
	cfg    Config
	frames *mailbox.BytesReader
	events *mailbox.Reader[Event]
	notice *mailbox.Writer[Notice]
	ring   transport.Ring
	slab   *transport.Slab
	limits *atomic.Pointer[[]transport.Limits] // by Conn.Class; swapped by the pipeline at a reload
	permit *atomic.Int64                       // open connections of the whole pipeline; lowered only in release
	phase  *run.Phase
	rec    *telemetry.Recorder

	index   transport.Index
	conns   []transport.Conn // entry 0 is never used
	free    uint32           // list of free entries
	live    int              // entries in use
	dirty   []uint32         // entries with something to send at the next flush
	spare   []uint32         // the other dirty list: flush works off one while the other fills
	polls   []uint32         // entries that want a writability poll
	cancels []uint64         // user data of polls to cancel
	blocked uint32           // list of connections whose sockets refuse bytes
	stuck   int              // how many those are
	entries int              // requests the ring can queue
	traces  tracer
	samples []sample      // answers appended since the last settle
	queued  telemetry.Run // times in the inbox of the answers of this drain
	whole   telemetry.Run // end-to-end times of the answers of this settle
	batched telemetry.Run // and of their times from append to flush
	reaped  [64]transport.Completion

	class    []transport.Limits // this step's limits
	gathered int                // answers appended since the last flush
	settled  bool               // the answers of the last flush are accounted for
	flushed  int64              // when the last flush began
	tickAt   int64              // when timers are due
	sweep    uint32             // entry the heartbeat hand looked at last
	err      error              // the ring is in doubt: nothing may be sent any more
	closing  bool               // all connections were told to close
	endAt    int64              // when the closing of connections began in a drain; 0 = it has not
	spread   int64              // ns over which they are closed
	askAt    int64              // when those that wait for acknowledgements are asked about again
	list     *Listing           // connections that somebody asked for
	overdue  bool               // the deadline of the end passed
	orphans  []Orphan           // sockets given up past the deadline; the pipeline takes them when the shard has ended
	closed   bool               // Close ran
	Gauges   Gauges
}

// Gauges are written by the shard at each tick and read by anyone.
type Gauges struct {
	Connections atomic.Int64
	Blocked     atomic.Int64
	Buffered    atomic.Int64 // bytes of send buffers and answer queues in use
	Held        atomic.Int64 // bytes of memory the slab holds
	Fenced      atomic.Bool  // set once not one more byte will leave
}

// sample is one appended answer that awaits its ledger entry and its end-to-end time.
type sample struct {
	entry    uint32
	bytes    uint32 // with sampleSlot for an answer, without for a control frame; 0 once it was delivered not at all
	received int64  // monotonic ns
	appended int64  // monotonic ns
}

const sampleSlot = 1 << 31 // of sample.bytes

// User data of a kernel request: operation (8 bits), generation (24), table entry (32). Never a pointer.
const (
	opSend = 1
	opPoll = 2

	genMask = 1<<24 - 1
)

func userData(op uint64, gen, entry uint32) uint64 {
	return op<<56 | uint64(gen&genMask)<<32 | uint64(entry)
}

// Name implements Actor.
func (e *Shard) Name() string { return e.name }

// Step implements Actor.
func (e *Shard) Step(now int64) int {
	if e.err != nil {
		return 0
	}
	work := e.begin(now)
	if e.phase.Fenced() {
		return work + e.fence(now)
	}
	work += e.takeEvents(now)
	work += e.AnswerList(now)
	work += e.reap(now)
	e.drain(now)
	work += e.gathered
	if now >= e.tickAt {
		e.tick(now)
	}
	e.flush(cadence(e.frames.Len()), now)
	e.gathered, e.settled = 0, false
	if e.phase.Ending() && e.frames.Done() {
		work += e.end(now)
	}
	return work
}

// Gather appends what is in the inbox and leaves the flush to Step. It implements Gatherer.
func (e *Shard) Gather(now int64) (work int, enough bool) {
	if e.err != nil || e.phase.Fenced() || e.frames.Len() == 0 {
		return 0, false
	}
	work = e.begin(now) + e.drain(now)
	return work, e.gathered >= e.quota()
}

// begin takes up what others changed, and accounts for the last flush.
func (e *Shard) begin(now int64) int {
	e.rec.Poll()
	e.rec.B.Mark(telemetry.MarkInbox, uint64(e.frames.Len()))
	e.class = *e.limits.Load()
	return e.settle(now)
}

// drain appends answers from the inbox until it is empty or enough was appended for one flush.
func (e *Shard) drain(now int64) int {
	n := 0
	for quota := 0; e.err == nil; {
		if e.gathered >= quota {
			if quota = e.quota(); e.gathered >= quota {
				break
			}
		}
		b, ok := e.frames.Next()
		if !ok {
			break
		}
		e.deliver(b, now)
		e.gathered++
		if n++; n%1024 == 0 {
			e.frames.Release()
		}
	}
	if n > 0 {
		e.frames.Release()
		e.rec.B.C[telemetry.EgressSlots] += uint64(n)
		e.queued.Flush(&e.rec.B.H[telemetry.StageQueue])
	}
	return n
}

// answersShare is how many answers of one connection may share a send before it is made, if as many are there at once.
const answersShare = 256

// quota is how many answers are enough for one flush. It grows with the number of dirty connections, because what counts is
// how many answers share a send (docs/decisions/0009, 0021).
func (e *Shard) quota() int {
	return min(e.cfg.DrainMax, max(e.cfg.FlushSlots, answersShare*len(e.dirty)))
}

// cadence names the reason of a step's flush: the inbox ran empty, or enough was appended.
func cadence(left int) telemetry.Counter {
	if left == 0 {
		return telemetry.EgressFlushLull
	}
	return telemetry.EgressFlushSlots
}

// deliver appends one answer to its connection, or counts why not.
func (e *Shard) deliver(b []byte, now int64) {
	r := RecordIn(b)
	entry, ok := e.index.Get(r.Hash, r.Conn)
	if !ok {
		e.rec.B.C[telemetry.DropClientGone.Counter()]++
		return
	}
	c := &e.conns[entry]
	if r.Position < c.Since || r.Flags&RecordFailed != 0 || c.Has(transport.StateClosing) {
		e.refuse(r, entry, now)
		return
	}
	frames := b[RecordBytes:]
	if r.Flags&RecordParent != 0 {
		frames = frames[:len(frames)-ParentBytes]
	}
	c.Unsettled++ // first: an append can end the connection, and the entry must outlive this answer
	if !e.append(c, entry, frames, now) {
		e.drop(blame(c), 1)
		e.unpin(entry, now)
		return
	}
	if r.Flags&RecordTraced != 0 || r.Received < e.traces.oldest.record.Received {
		e.traces.note(len(e.samples), b, now)
	}
	e.samples = append(e.samples, sample{entry: entry, bytes: uint32(len(frames)) | sampleSlot, received: r.Received, appended: now})
	if r.Flags&RecordLast != 0 {
		c.Ended++
	}
	e.queued.Add(&e.rec.B.H[telemetry.StageQueue], uint64(max(now-r.Received-int64(r.Encoded), 0)))
}

// refuse deals with an answer that its connection does not get.
func (e *Shard) refuse(r *Record, entry uint32, now int64) {
	c := &e.conns[entry]
	switch {
	case r.Position < c.Since: // the answer to an earlier owner of this id (I4)
		e.rec.B.C[telemetry.DropClientGone.Counter()]++
	case c.Has(transport.StateClosing):
		e.drop(c.Reason, 1)
	default: // it could not be encoded
		e.rec.B.C[telemetry.DropEncodeError.Counter()]++
		c.Unsettled++
		e.relieve(entry, now) // the answers before it leave first
		e.close(entry, transport.ReasonEncodeError, now)
		e.unpin(entry, now)
	}
}

// append puts p into the buffer of connection c, which is entry, and marks it dirty; false means the connection was ended
// instead, or the ring is in doubt, which is no client's fault.
func (e *Shard) append(c *transport.Conn, entry uint32, p []byte, now int64) bool {
	l := &e.class[c.Class]
	if !c.Add(e.slab, l, p) && !e.squeeze(entry, l, p, now) {
		return false
	}
	if !c.Has(transport.StateDirty) {
		e.mark(entry)
	}
	if c.Unsent() >= e.cfg.FlushBytes && c.CanSend() {
		e.push(entry, now)
	}
	return true
}

// squeeze is append where the buffer is full or a limit near. A client that reads is never ended because the pipeline was
// busy: before its limit is judged, what waits is sent.
func (e *Shard) squeeze(entry uint32, l *transport.Limits, p []byte, now int64) bool {
	c := &e.conns[entry]
	if c.Unsent()+len(p) > l.HardBytes && !e.ease(entry, len(p), now) {
		return false
	}
	for !c.Append(e.slab, l, p, now) {
		if !e.shed(now) || c.Has(transport.StateClosing) {
			if !c.Has(transport.StateClosing) && e.err == nil {
				e.close(entry, transport.ReasonShardBudget, now)
			}
			return false
		}
	}
	return true
}

// ease makes n bytes fit under the hard limit by sending; false means that the connection was ended, or the ring is in doubt.
func (e *Shard) ease(entry uint32, n int, now int64) bool {
	e.relieve(entry, now)
	c := &e.conns[entry]
	if c.Has(transport.StateClosing) || e.err != nil {
		return false
	}
	if c.Unsent()+n > e.class[c.Class].HardBytes {
		e.close(entry, transport.ReasonSlowHard, now)
		return false
	}
	return true
}

// relieve sends what a connection holds, before its limit is judged or it is closed: first a send that is queued already,
// then the rest. It can end the connection: the caller pins the entry.
func (e *Shard) relieve(entry uint32, now int64) {
	c := &e.conns[entry]
	if c.Sending() != 0 {
		e.submit(now)
	}
	if c.Has(transport.StatePolling) { // it may have room since a moment ago
		e.reap(now)
	}
	c.Clear(transport.StateRetry) // there may be memory again
	if c.CanSend() {
		e.push(entry, now)
		e.submit(now)
	}
	if c.Sending() != 0 {
		e.link(entry, now) // its completion is late
	}
}

// control appends a control frame, which the ledger does not count.
func (e *Shard) control(entry uint32, frame string, now int64) bool {
	c := &e.conns[entry]
	c.Unsettled++
	if !e.append(c, entry, []byte(frame), now) {
		e.unpin(entry, now)
		return false
	}
	e.samples = append(e.samples, sample{entry: entry, bytes: uint32(len(frame))})
	return true
}

// unpin takes back the hold of an answer that was not appended.
func (e *Shard) unpin(entry uint32, now int64) {
	e.conns[entry].Unsettled--
	e.release(entry, now)
}

// mark notes that the connection has something to send.
func (e *Shard) mark(entry uint32) {
	if c := &e.conns[entry]; !c.Has(transport.StateDirty) {
		c.Set(transport.StateDirty)
		e.dirty = append(e.dirty, entry)
	}
}

// shed frees memory when the shard's budget is spent: healthy connections are flushed, then the worst offender among the
// blocked ones is ended. false means nothing can be freed.
func (e *Shard) shed(now int64) bool {
	before := e.slab.InUse()
	if len(e.dirty) > 0 {
		e.flush(telemetry.EgressFlushBytes, now)
		if e.slab.InUse() < before || e.err != nil {
			return e.err == nil
		}
	}
	return e.shedWorst(now)
}

// shedWorst ends the worst offender among the blocked connections; false means that there is none, or that the ring is in
// doubt.
func (e *Shard) shedWorst(now int64) bool {
	worst := e.blocked
	for i := e.blocked; i != 0; i = e.conns[i].Next {
		if e.conns[i].Unsent() > e.conns[worst].Unsent() {
			worst = i
		}
	}
	if worst == 0 || e.err != nil {
		return false
	}
	e.close(worst, transport.ReasonShardBudget, now)
	return true
}

// drop counts answers that a connection did not get.
func (e *Shard) drop(why transport.Reason, n int) {
	e.rec.B.C[telemetry.CloseReason(why).Drop().Counter()] += uint64(n)
}

// Recorder implements Actor.
func (e *Shard) Recorder() *telemetry.Recorder { return e.rec }

// Park implements Actor.
func (e *Shard) Park() {
	e.rec.Park()
	if e.err == nil {
		e.ring.Park()
	}
}

// Unpark implements Actor.
func (e *Shard) Unpark() { e.rec.Unpark() }

// Done implements Actor: every connection was released, or the deadline passed and Close hands their sockets to the
// pipeline, which closes each when its reader disconnects.
func (e *Shard) Done() bool {
	return e.err != nil || e.frames.Done() && e.phase.Ending() && (e.live == 0 || e.overdue)
}
