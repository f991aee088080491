package shard

import (
	"fmt"
	"sync/atomic"

	"sluice/actors/internal/run"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Shard owns a ring, a slab of send buffers and the connections that hash to it, and is the only
// writer of their sockets (I13). A step drains its inbox into the connections' buffers, then
// flushes once: one non-blocking send for each connection with something new, all in one submit. A
// connection whose socket refuses bytes gets a writability poll instead of further sends, so it
// costs the others nothing (I6).
//
// Its groups of fields are parts that change together: the mailboxes it reads and
// writes, the connection table, the outbox (what is to be handed to the kernel), the list of
// blocked connections, the ledger (responses that are neither delivered nor dropped yet), the
// timers, the progress of the end, and topics.
type Shard struct {
	shard  int
	cfg    Config
	mail   mail
	ring   transport.Ring
	slab   *transport.Slab
	limits *atomic.Pointer[[]transport.Limits] // by Conn.Class; swapped by the pipeline at a reload
	permit *atomic.Int64                       // open connections of the pipeline; lowered only in freeEntry
	phase  *run.Phase
	rec    *telemetry.Recorder

	table   table
	outbox  outbox
	blocked blocked
	ledger  ledger
	timers  timers
	ending  ending
	traces  tracer
	topics  topics
	sealing sealing

	class  []transport.Limits // this step's limits
	err    error              // why the ring is in doubt, in which case nothing more is sent
	list   *Listing           // a requested list of connections
	Gauges Gauges
}

// mail is the shard's mailboxes.
type mail struct {
	frames  *mailbox.BytesReader
	events  *mailbox.Reader[Event]
	notices *mailbox.Writer[Notice]

	// late has ends of connections for which notices had no room. While the observer hangs, control
	// brings no connection, so there is at most one for each that was open or on its way then.
	late     []Notice
	failures map[uint64]string // errors of the encoder, by connection, until it is closed
}

// table is the connection table. An entry is freed in one place only, freeEntry.
type table struct {
	index transport.Index
	conns []transport.Conn // entry 0 is never used
	free  uint32           // list of free entries
	live  int              // entries in use

	sockets *Sockets // of the whole pipeline
}

// outbox is what is to be handed to the kernel.
type outbox struct {
	dirty    []uint32 // entries with something to send at the next flush
	spare    []uint32 // the other dirty list: one fills while flush works off this one
	polls    []uint32 // entries to poll for writability
	cancels  []uint64 // user data of polls to cancel
	entries  int      // number of requests that the ring can queue
	refused  bool     // the last submit handed nothing over
	parting  []uint32 // half-closed entries that have everything and are told why they are closed
	gathered int      // responses appended since the last flush
	flushed  int64    // when the last flush began
	reaped   [64]transport.Completion
}

// blocked is the list of connections whose sockets refuse bytes, linked through their entries.
type blocked struct {
	first uint32
	count int
}

// ledger holds the responses that were appended and are not accounted for.
type ledger struct {
	samples []sample      // responses and runs appended since the last settle
	units   []Unit        // of the runs: their number, more than that if it is uneven, and then each
	next    int           // index in units of the run to be settled next
	single  []byte        // memory for the record of a response in a run
	settled bool          // the responses of the last flush are accounted for
	queued  telemetry.Run // times in the inbox of the responses of this drain
	whole   telemetry.Run // end-to-end times of the responses of this settle
	batched telemetry.Run // times from append to flush of the responses of this settle
}

// timers are when periodic work is due, monotonic ns.
type timers struct {
	tickAt int64  // when limits, heartbeats and gauges are due
	sweep  uint32 // entry that heartbeats checked last
	beat   int64  // shortest heartbeat interval that a connection asked for, ns
	acksAt int64  // when the kernel is asked for unacknowledged bytes again
}

// ending is the progress of the shard's end.
type ending struct {
	closing bool     // every connection is closing
	began   int64    // when the closing of connections began in a drain; 0 if it has not
	spread  int64    // ns over which they are closed
	overdue bool     // the deadline of the end has passed
	judged  bool     // forced and behind are set
	forced  bool     // connections were closed before their time
	behind  []Behind // those that were awaited then
	orphans []Orphan // sockets still in use past the deadline; the pipeline takes them over
	closed  bool     // Close has run

	farewell *atomic.Pointer[encode.Control] // the Close for clients at the end of the pipeline; empty: shutdown
}

// Gauges are written by the shard at each tick. Any goroutine may read them.
type Gauges struct {
	Connections atomic.Int64
	Blocked     atomic.Int64
	Buffered    atomic.Int64 // bytes of send buffers and response queues in use
	Held        atomic.Int64 // bytes of memory that the slab holds
	Topics      atomic.Int64 // with subscribers, or that had some a short while ago
	Feeds       atomic.Int64 // combinations of subscriptions
	Subscribed  atomic.Int64 // subscriptions
	Tapes       atomic.Int64 // bytes of tapes and histories, part of Buffered
	Fenced      atomic.Bool  // set once no further byte will be sent

	// Refusals is at work from a submit of which the ring takes nothing to one of which it takes
	// something.
	Refusals telemetry.Beat
}

// sample is one appended response, or run of them, that awaits its ledger entry and its end-to-end time.
type sample struct {
	entry    uint32
	bytes    uint32 // with sampleSlot, sampleTopic or sampleRun; 0 if it, the first one of a run, was not delivered
	received int64  // monotonic ns; of a run when its first response was
	appended int64  // monotonic ns
}

// Parts of sample.bytes.
const (
	sampleSlot  = 1 << 31 // a response
	sampleTopic = 1 << 30 // a topic frame, or its rest
	sampleRun   = 1 << 29 // a run of responses
	sampleLen   = sampleRun - 1
)

// User data of a kernel request, never a pointer: operation (8 bits), generation (24), entry (32).
const (
	opSend = 1
	opPoll = 2

	genMask = 1<<24 - 1
)

func userData(op uint64, gen, entry uint32) uint64 {
	return op<<56 | uint64(gen&genMask)<<32 | uint64(entry)
}

// Name implements Actor.
func (e *Shard) Name() string { return fmt.Sprintf("egress-%d", e.shard) }

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
	work += e.fillList(now)
	work += e.reap(now)
	work += e.part(now)
	e.drain(now)
	work += e.outbox.gathered
	if now >= e.timers.tickAt {
		e.tick(now)
	}
	e.flush(flushReason(e.mail.frames.Len()), now)
	e.outbox.gathered, e.ledger.settled = 0, false
	if e.topics.more {
		e.topics.more = false
		work++
	}
	if e.phase.Ending() && e.mail.frames.Done() {
		work += e.end(now)
	}
	return work + len(e.outbox.parting) // of completions of the last flush
}

// Gather appends what is in the inbox and leaves the flush to Step. It implements run.Gatherer.
func (e *Shard) Gather(now int64) (work int, enough bool) {
	if e.err != nil || e.phase.Fenced() || e.mail.frames.Len() == 0 {
		return 0, false
	}
	work = e.begin(now) + e.drain(now)
	return work, e.outbox.gathered >= e.quota()
}

// begin reads what others may have changed, and accounts for the last flush.
func (e *Shard) begin(now int64) int {
	e.rec.Poll()
	e.rec.B.Mark(telemetry.MarkInbox, uint64(e.mail.frames.Len()))
	e.class = *e.limits.Load()
	return e.settle(now) + e.mail.catchUp() + e.tellLate()
}

// drain appends responses from the inbox until it is empty or enough for one flush were appended.
func (e *Shard) drain(now int64) int {
	began := e.outbox.gathered
	release := began + releaseLeast
	for quota := 0; e.err == nil; {
		if e.outbox.gathered >= quota {
			if quota = e.quota(); e.outbox.gathered >= quota {
				break
			}
		}
		b, ok := e.mail.frames.Next()
		if !ok {
			break
		}
		e.deliver(b, now)
		if e.outbox.gathered++; e.outbox.gathered >= release {
			release = e.outbox.gathered + releaseLeast
			e.mail.frames.Release()
		}
	}
	n := e.outbox.gathered - began
	if n > 0 {
		e.mail.frames.Release()
		e.rec.B.C[telemetry.EgressSlots] += uint64(n - e.topics.taken)
		e.rec.B.C[telemetry.EgressTopics] += uint64(e.topics.taken)
		e.topics.taken = 0
		e.ledger.queued.Flush(&e.rec.B.H[telemetry.StageQueue])
	}
	return n
}

// releaseLeast is how many responses are taken before the encoder gets their memory back, if more follow.
const releaseLeast = 1024

// responsesPerSend is how many responses of one connection may share a send before the send is
// made, if that many are queued.
const responsesPerSend = 256

// topicSends is for how many connections with something to send a feed counts in the quota: its frames
// are copied once, so more of them fit the caches, and each send is larger.
const topicSends = 4

// quota is the number of responses that is enough for one flush. It grows with the number of dirty
// connections, because the number of responses that share a send determines the cost
// (docs/decisions/0009, 0021).
func (e *Shard) quota() int {
	return min(e.cfg.DrainMax, max(e.cfg.FlushSlots,
		responsesPerSend*(len(e.outbox.dirty)+topicSends*len(e.topics.dirty))))
}

// flushReason is the reason of a step's flush: the inbox was empty, or enough was appended.
func flushReason(left int) telemetry.Counter {
	if left == 0 {
		return telemetry.EgressFlushLull
	}
	return telemetry.EgressFlushSlots
}

// freeMemory frees memory when the shard's budget is spent: healthy connections are flushed, then
// the blocked connection with the most unsent bytes is ended. It returns false if nothing can be
// freed.
func (e *Shard) freeMemory(now int64) bool {
	before := e.slab.InUse()
	if len(e.outbox.dirty) > 0 {
		e.flush(telemetry.EgressFlushBytes, now)
		if e.slab.InUse() < before || e.err != nil {
			return e.err == nil
		}
	}
	return e.endLargestBlocked(now)
}

// endLargestBlocked ends the blocked connection with the most unsent bytes. It returns false if
// there is none or the ring is in doubt.
func (e *Shard) endLargestBlocked(now int64) bool {
	worst := e.blocked.first
	for i := e.blocked.first; i != 0; i = e.table.conns[i].Next {
		if e.table.conns[i].Unsent() > e.table.conns[worst].Unsent() {
			worst = i
		}
	}
	if worst == 0 || e.err != nil {
		return false
	}
	e.close(worst, transport.ReasonShardBudget, now)
	return true
}

// drop counts responses that a connection did not receive.
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

// Done implements Actor: every connection was released, or the deadline has passed and Close hands
// their sockets to the pipeline, which closes each when its reader disconnects.
func (e *Shard) Done() bool {
	return e.err != nil || e.mail.frames.Done() && e.phase.Ending() &&
		(e.table.live == 0 || e.ending.overdue)
}
