package sequencer

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
)

// batchRequests is how many requests a step carries out at most; then it publishes what they
// caused.
const batchRequests = 128

// Config is what a Sequencer works with. All but the two thresholds and Snapshots is required.
type Config[R, Q any] struct {
	Application Application[R, Q]
	Requests    *mailbox.BytesReader               // of a Queue
	Journal     *mailbox.BytesWriter               // to the journal's committer; takes the largest request
	Slots       *mailbox.Writer[actors.Slot[R, Q]] // of the pipeline
	Signal      *mailbox.Signal                    // of the goroutine that steps the sequencer
	Now         func() int64                       // monotonic ns, the clock of the pipeline
	Last        durability.Seq                     // last event of the journal, already applied

	// Snapshots, if not nil, gets the application's state after N events or N bytes of events,
	// whichever comes first; a threshold of 0 does not count.
	Snapshots      *Snapshots
	SnapshotEvents uint64
	SnapshotBytes  uint64
}

// Sequencer puts requests into an order, journals them, applies them and writes what they caused
// into the slot ring. It is an actor: Step does one bounded batch and never waits. While the
// journal's ring or the slot ring is full it takes no request, and its queue fills up.
//
// A request is carried out whole or not at all: its event is committed after the application
// returned, and before its slots, so an event that makes the application panic is not journaled and
// does not end every restart as well.
type Sequencer[R, Q any] struct {
	cfg   Config[R, Q]
	table *Table
	check Checker // the application, nil if it is none
	out   emitter[R, Q]
	ev    Event // passed to the application by reference, so that it does not move to the heap for each request
	err   error // a *PanicError: the application panicked

	held    []byte         // a record taken from the queue whose event found no room in the journal's ring; nil if none
	last    durability.Seq // last event sequenced
	counts  Counts
	waiting bool   // the last step took no request for want of room
	events  uint64 // since the last snapshot
	bytes   uint64 // of events since the last snapshot

	stop      atomic.Bool      // written by Stop
	sequenced atomic.Uint64    // last event that may be journaled; written before it is published, read by any goroutine
	shared    [4]atomic.Uint64 // counts as of the last step, read by any goroutine
}

// Counts is the work of a sequencer since it was made.
type Counts struct {
	Events  uint64 // journaled and applied
	Queries uint64 // answered from the state
	Refused uint64 // refused by the application's table or Check
	Waits   uint64 // times it began to wait for room in the journal's ring or the slot ring
}

// PanicError is the end of a sequencer whose application panicked. The event at fault is not in the
// journal, unless it was the Snapshot after it that panicked.
type PanicError struct {
	Seq   durability.Seq // last event sequenced, the one at fault included
	Tag   uint8          // of the request at fault
	Conn  uint64
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("sequencer: the application panicked near event %d (tag 0x%02x of "+
		"connection %d): %v\n%s",
		e.Seq, e.Tag, e.Conn, e.Value, e.Stack)
}

// New makes a sequencer and sets the signals of the ring ends that it was given. The error is that
// of NewTable.
func New[R, Q any](cfg Config[R, Q]) (*Sequencer[R, Q], error) {
	table, err := NewTable(cfg.Application.Requests())
	if err != nil {
		return nil, err
	}
	s := &Sequencer[R, Q]{cfg: cfg, table: table, last: cfg.Last}
	s.check, _ = cfg.Application.(Checker)
	cfg.Requests.SetSignal(cfg.Signal)
	cfg.Journal.SetSignal(cfg.Signal)
	cfg.Slots.SetSignal(cfg.Signal)
	s.out = emitter[R, Q]{slots: cfg.Slots, now: cfg.Now, seq: cfg.Last}
	s.sequenced.Store(uint64(cfg.Last))
	return s, nil
}

// Sequenced is the last event that may be on its way to the journal. Any goroutine.
func (s *Sequencer[R, Q]) Sequenced() durability.Seq { return durability.Seq(s.sequenced.Load()) }

// Counts is what was done up to the last step. Any goroutine.
func (s *Sequencer[R, Q]) Counts() Counts {
	return Counts{s.shared[0].Load(), s.shared[1].Load(), s.shared[2].Load(), s.shared[3].Load()}
}

// Stop ends the sequencer before its next request, including while it waits for room: requests that
// were not sequenced yet are never carried out, and outputs of the last one may be missing. Any
// goroutine, any number of times.
func (s *Sequencer[R, Q]) Stop() {
	s.stop.Store(true)
	s.cfg.Signal.Wake()
}

// Name implements the runner's Actor.
func (s *Sequencer[R, Q]) Name() string { return "sequencer" }

// Step carries out a batch of requests and publishes what they caused.
func (s *Sequencer[R, Q]) Step(int64) (work int) {
	if s.over() {
		return 0
	}
	returned := false
	defer func() {
		v := recover()
		exits := v == nil && !returned // the application called runtime.Goexit
		if exits {
			v = run.ErrGoexit
		}
		if v == nil {
			return
		}
		s.err = &PanicError{Seq: s.last, Tag: s.ev.Tag, Conn: s.ev.Conn, Value: v,
			Stack: debug.Stack()}
		s.out.forget()
		s.publish()
		work++
		if exits {
			_ = s.Close() // the runner closes no actor whose Step did not return
		}
	}()
	work = s.batch()
	returned = true
	return work
}

// batch is Step without its guard.
func (s *Sequencer[R, Q]) batch() (work int) {
	for ; work < batchRequests && !s.stop.Load(); work++ {
		if !s.next() {
			break
		}
	}
	work += s.out.flush()
	s.share()
	if work == 0 {
		return 0
	}
	s.publish()
	if s.held == nil {
		s.cfg.Requests.Release()
	}
	s.snapshot()
	return work
}

// Done reports that the queue is closed and empty and its outputs are written, or that the
// sequencer was stopped or failed.
func (s *Sequencer[R, Q]) Done() bool {
	return s.over() || s.held == nil && s.cfg.Requests.Done() && s.out.flushed()
}

// Park implements the runner's Actor; there is nothing to do.
func (s *Sequencer[R, Q]) Park() {}

// Unpark implements the runner's Actor; there is nothing to do.
func (s *Sequencer[R, Q]) Unpark() {}

// Recorder implements the runner's Actor: steps are not counted, requests are (Counts).
func (s *Sequencer[R, Q]) Recorder() *telemetry.Recorder { return nil }

// Close closes the sequencer's ends of the journal's ring and of the slot ring. The error is a
// *PanicError.
func (s *Sequencer[R, Q]) Close() error {
	s.publish()
	s.cfg.Journal.Close()
	s.cfg.Slots.Close()
	return s.err
}

func (s *Sequencer[R, Q]) over() bool { return s.err != nil || s.stop.Load() }

// next carries out one request; false if there is none, or no room for what it causes.
func (s *Sequencer[R, Q]) next() bool {
	record := s.held
	if record == nil {
		var ok bool
		if record, ok = s.cfg.Requests.Next(); !ok {
			return false
		}
	}
	at := stampSize + int(record[stampSize-1])
	done := s.out.ready() &&
		s.handle(int64(binary.LittleEndian.Uint64(record)), record[stampSize:at], record[at:])
	if s.held = nil; !done {
		s.held = record
	}
	if !done && !s.waiting {
		s.counts.Waits++
	}
	s.waiting = !done
	return done
}

// handle carries out one request; false if the journal's ring has no room for its event.
func (s *Sequencer[R, Q]) handle(received int64, trace, event []byte) bool {
	app, ev := s.cfg.Application, &s.ev
	if err := DecodeEvent(event, ev); err != nil {
		panic(err) // the queue wrote it
	}
	s.out.begin(ev, received, trace)
	query, why := s.table.judge(ev)
	if why == 0 && s.check != nil && s.check.Check(ev) != nil {
		why = encode.RefusedMalformed
	}
	switch {
	case why != 0:
		s.counts.Refused++
		s.out.refuse(why)
	case query:
		s.counts.Queries++
		ev.Seq = uint64(s.last)
		app.Query(ev, &s.out)
	default:
		room := s.cfg.Journal.Claim(len(event))
		if room == nil {
			return false
		}
		copy(room, event)
		s.last++
		s.out.seq = s.last
		ev.Seq = uint64(s.last)
		app.Apply(ev, &s.out)
		s.cfg.Journal.Commit(len(event))
		s.counts.Events++
		s.events++
		s.bytes += uint64(len(event))
	}
	s.out.end()
	return true
}

// publish shows what was done to the journal, then to the pipeline. The journal may not report more
// than sequenced as persisted, so that is raised first.
func (s *Sequencer[R, Q]) publish() {
	s.sequenced.Store(uint64(s.last))
	s.cfg.Journal.Publish()
	s.cfg.Slots.Publish()
}

func (s *Sequencer[R, Q]) share() {
	for i, n := range [...]uint64{s.counts.Events, s.counts.Queries, s.counts.Refused, s.counts.Waits} {
		s.shared[i].Store(n)
	}
}

// snapshot hands the state over when one is due, between two events, when everything is published
// and the spill is empty: a Snapshot that panics takes no output with it.
func (s *Sequencer[R, Q]) snapshot() {
	c := &s.cfg
	due := c.SnapshotEvents > 0 && s.events >= c.SnapshotEvents ||
		c.SnapshotBytes > 0 && s.bytes >= c.SnapshotBytes
	if c.Snapshots == nil || !due || !s.out.flushed() ||
		!c.Snapshots.take(s.last, c.Application.Snapshot) {
		return
	}
	s.events, s.bytes = 0, 0
}
