package sequencer

import (
	"encoding/binary"
	"io"
	"runtime/debug"
	"sync/atomic"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// batchRequests is how many requests a step carries out at most; then it publishes what they
// caused.
const batchRequests = 128

// Config is what a Sequencer works with. All but the two thresholds, Snapshots, OnClockJump,
// CheckpointEvents, Barriers, Prove, OnPolicy, Poisoned, Clients and Topics is required.
type Config[R, Q any] struct {
	Application Application[R, Q]
	Encoder     encode.Encoder[R, Q]               // of the outputs, for their digest; called on the sequencer's goroutine
	MaxFrame    int                                // bytes of a frame; a larger one allocates
	State       *State                             // of Replay, or NewState; the sequencer's from here on
	Requests    *Requests                          // of a Queue
	Journal     *mailbox.BytesWriter               // to the journal's committer; takes the largest request
	Slots       *mailbox.Writer[actors.Slot[R, Q]] // of the pipeline
	Signal      *mailbox.Signal                    // of the goroutine that steps the sequencer
	Now         func() int64                       // monotonic ns, the clock of the pipeline and of the runner

	// Wall is the wall clock, ns since 1970, read once a step. OnClockJump is called when it begins
	// to disagree with the time of the events by more than a second, on the sequencer's goroutine:
	// it must not block.
	Wall        func() int64
	OnClockJump func(wall, time int64)

	// Barriers is the producer's end of actors.NewBarriers, for the leader of a cluster; nil for a node
	// of its own. After queries Prove is called with a ticket: their responses wait until it is proven.
	// Tickets rise by one from 1. It is called on the sequencer's goroutine and must not block.
	Barriers *mailbox.Writer[actors.Barrier]
	Prove    func(ticket uint64)

	// OnPolicy is called with the policy of a policy event, of which a run has any only if it calls
	// Queue.Policy. It has the gate adopt it (durability.Switch.Swap) and calls adopted then, on any
	// goroutine. Until adopted is called, no event and no query is carried out. OnPolicy is called on
	// the sequencer's goroutine and must not block. Nil: events do not wait.
	OnPolicy func(p durability.Policy, event durability.Seq, adopted func())

	// Clients, if set, finds the identity of a client by its number, which is not 0, and never returns nil.
	// It is called for each request, on the sequencer's goroutine, and must not block.
	Clients func(number uint32) *listen.Identity

	// Topics is for an Application that is a Publisher.
	Topics Topics

	CheckpointEvents uint64 // a checkpoint is journaled as every Nth event; default 65,536

	// Poisoned are requests on which the application panicked before, by PanicError.Hash. They are
	// refused as malformed. Nothing changes the map while the sequencer runs.
	Poisoned map[uint64]struct{}

	// Snapshots, if not nil, has a snapshot made after N events or N bytes of events, whichever comes
	// first; a threshold of 0 does not count. Events that were replayed count, so one is due in the
	// first step if there were that many.
	Snapshots      *Snapshots
	SnapshotEvents uint64
	SnapshotBytes  uint64
}

// DefaultCheckpointEvents is the default of Config.CheckpointEvents.
const DefaultCheckpointEvents = 1 << 16

// Sequencer puts requests into an order, journals them, applies them and writes what they caused
// into the slot ring. It is an actor: Step does one bounded batch and never waits. While the
// journal's ring or the slot ring is full it takes no request, and its queue fills up.
//
// A request is carried out whole or not at all: its event is committed after the application
// returned, from NextTick too, and before its slots, so an event that makes the application panic is
// not journaled and does not end every restart as well.
type Sequencer[R, Q any] struct {
	cfg   Config[R, Q]
	state *State
	table *Table
	also  extras[R, Q] // the application
	out   emitter[R, Q]
	ev    Event // passed to the application by reference, so that it does not move to the heap for each request
	err   error // a *PanicError: the application panicked
	clock clock

	proofs  proofs
	due     dues[R, Q]
	body    [16]byte // of an event of the sequencer's own
	held    []byte   // a record taken from the queue that was not sequenced yet; nil if none
	waiting bool     // the last step took no request for want of room
	counts  Counts
	since   struct{ events, bytes uint64 } // the last snapshot, including those of earlier runs
	uses    uses

	adopting  atomic.Uint64     // policy event whose policy the gate has not adopted yet; 0 for none
	stop      atomic.Bool       // written by Stop
	sequenced atomic.Uint64     // last event that may be journaled; written before it is published, read by any goroutine
	shared    [10]atomic.Uint64 // counts as of the last step, read by any goroutine
}

// New makes a sequencer and sets the signals of the ring ends that it was given. The error says what
// is wrong with the application's table, that the application has not the rules in force, or that its
// NextTick, Limits or Use panicked, which is a *PanicError.
func New[R, Q any](cfg Config[R, Q]) (*Sequencer[R, Q], error) {
	table, err := NewTable(cfg.Application.Requests())
	if err != nil {
		return nil, err
	}
	s := &Sequencer[R, Q]{cfg: cfg, state: cfg.State, table: table}
	first, err := opening(cfg.Application, cfg.State)
	if err != nil {
		return nil, err
	}
	s.due.opened = make(chan struct{})
	s.due.open(first)
	if s.cfg.CheckpointEvents == 0 {
		s.cfg.CheckpointEvents = DefaultCheckpointEvents
	}
	s.also = extrasOf(cfg.Application)
	s.due.ticker, _ = cfg.Application.(Ticker[R, Q])
	s.clock = clock{wall: cfg.Wall, jump: cfg.OnClockJump, last: s.state.time}
	cfg.Requests.setSignal(cfg.Signal)
	cfg.Journal.SetRoom(cfg.Signal)
	cfg.Slots.SetRoom(cfg.Signal)
	if cfg.Barriers != nil {
		cfg.Barriers.SetRoom(cfg.Signal)
	}
	for _, r := range cfg.Topics.Feedback {
		r.SetSignal(cfg.Signal)
	}
	s.proofs = proofs{barriers: cfg.Barriers, prove: cfg.Prove}
	s.out = emitter[R, Q]{hasher: newHasher(&s.state.outputs, cfg.Encoder, cfg.MaxFrame),
		slots: cfg.Slots, now: cfg.Now, seq: s.state.last, topics: newTopics(cfg.Topics)}
	s.sequenced.Store(uint64(s.state.last))
	s.since.events, s.since.bytes = s.state.replayed, s.state.replayedBytes
	if err := s.consult(); err != nil {
		return nil, err
	}
	return s, nil
}

// Opened is closed when the events of the start are journaled and applied: the connections of
// earlier runs have ended.
func (s *Sequencer[R, Q]) Opened() <-chan struct{} { return s.due.opened }

// Sequenced is the last event that may be on its way to the journal. Any goroutine.
func (s *Sequencer[R, Q]) Sequenced() durability.Seq { return durability.Seq(s.sequenced.Load()) }

// Stop ends the sequencer before its next request, including while it waits for room: requests that
// were not sequenced yet are never carried out, and outputs of the last one may be missing. Any
// goroutine, any number of times.
func (s *Sequencer[R, Q]) Stop() {
	s.stop.Store(true)
	s.cfg.Signal.Wake()
}

// Name implements the runner's Actor.
func (s *Sequencer[R, Q]) Name() string { return "sequencer" }

// Step carries out a batch of requests and other events, and publishes what they caused. now is
// monotonic ns.
func (s *Sequencer[R, Q]) Step(now int64) (work int) {
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
		s.err = &PanicError{Seq: s.state.last, Kind: s.ev.Kind, Tag: s.ev.Tag, Conn: s.ev.Conn,
			Hash: hashOf(&s.ev), Value: v, Stack: debug.Stack()}
		s.out.forget()
		s.publish()
		work++
		if exits {
			_ = s.Close() // the runner closes no actor whose Step did not return
		}
	}()
	s.clock.read(now)
	s.out.topics.begin(now)
	work = s.batch()
	s.ev = Event{} // no event is at fault if Use panics
	s.uses.step(now, uint64(s.state.last))
	returned = true
	return work
}

// batch is Step without its guard.
func (s *Sequencer[R, Q]) batch() (work int) {
	for ; work < batchRequests && !s.stop.Load() && s.adopting.Load() == 0; work++ {
		if !s.next() {
			break
		}
	}
	work += s.out.flush()
	s.share()
	if work == 0 {
		s.snapshot() // due after a long replay, or since the one before began
		return 0
	}
	s.publish()
	if s.held == nil {
		s.cfg.Requests.ring.Release()
	}
	s.snapshot()
	return work
}

// Done reports that the queue is closed and empty and its outputs are written, or that the
// sequencer was stopped or failed.
func (s *Sequencer[R, Q]) Done() bool {
	return s.over() || s.held == nil && s.cfg.Requests.done() && s.out.flushed()
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

// next carries out one request or event, or takes one entry of feedback; false if there is none, or
// no room for what it causes.
func (s *Sequencer[R, Q]) next() bool {
	some, done := true, s.out.ready()
	policy, swaps := s.cfg.Requests.policy()
	switch {
	case swaps:
		done = s.swap(policy)
	case s.due.owed(s.state.last, s.clock.last):
		done = done && s.own()
	case s.out.topics.report() != nil:
		done = done && s.heed(s.out.topics.report())
	default:
		if s.held == nil {
			s.held, some = s.cfg.Requests.ring.Next()
		}
		if n := s.cfg.Requests.note(); n != nil {
			some, done = true, done && s.noted(n)
			break
		}
		if done = done && some && s.request(s.held); done {
			s.held = nil
			s.cfg.Requests.taken++
		}
	}
	if some && !done && !s.waiting {
		s.counts.Waits++
	}
	s.waiting = some && !done
	return some && done
}

// request carries out one request; false if the journal's ring has no room for its event, or the list
// of barriers none for a query.
func (s *Sequencer[R, Q]) request(record []byte) bool {
	at := stampSize + int(record[stampSize-1])
	event := record[at:]
	app, ev := s.cfg.Application, &s.ev
	if err := DecodeEvent(event, ev); err != nil {
		panic(err) // the queue wrote it
	}
	s.identify(ev)
	s.out.begin(ev, int64(binary.LittleEndian.Uint64(record)), record[stampSize:at])
	query, why := s.judge(ev)
	switch {
	case why != 0:
		s.counts.Refused++
		s.out.refuse(why)
	case ev.Tag == wire.TagExtended:
		if !s.subscription(ev) {
			return false
		}
	case query:
		if !s.proofs.begin(s.out.position()) {
			return false
		}
		s.counts.Queries++
		ev.Seq, ev.Time = uint64(s.state.last), s.clock.last
		app.Query(ev, &s.out)
	default:
		room := s.cfg.Journal.Claim(len(event))
		if room == nil {
			return false
		}
		copy(room, event)
		binary.LittleEndian.PutUint64(room[timeAt:], uint64(s.clock.last))
		s.number()
		ev.Client = nil
		app.Apply(ev, &s.out)
		s.due.look(s.state.last, s.cfg.CheckpointEvents)
		s.cfg.Journal.Commit(len(event))
		s.counts.Events++
		s.journaled(len(event))
	}
	s.out.end()
	return true
}

// identify adds to a request what its client is known by and may do.
func (s *Sequencer[R, Q]) identify(ev *Event) {
	number := ev.Identity.Number
	if number == 0 {
		return
	}
	ev.Identity.Key, _ = s.state.key(number)
	if s.cfg.Clients != nil {
		ev.Client = s.cfg.Clients(number)
	}
}

// number gives s.ev the next number and the time.
func (s *Sequencer[R, Q]) number() {
	s.state.last++
	s.state.time = s.clock.last
	s.out.seq, s.out.journals = s.state.last, true
	s.ev.Seq, s.ev.Time = uint64(s.state.last), s.state.time
}

// journaled takes notice of an event of n bytes that was applied.
func (s *Sequencer[R, Q]) journaled(n int) {
	s.since.events++
	s.since.bytes += uint64(n)
}

// publish shows what was done to the journal, then to the pipeline. The journal may not report more
// than sequenced as persisted, so that is raised first, and the gate finds the barrier of queries
// before their slots.
func (s *Sequencer[R, Q]) publish() {
	s.sequenced.Store(uint64(s.state.last))
	s.cfg.Journal.Publish()
	s.proofs.seal()
	s.cfg.Slots.Publish()
}

// snapshot has a snapshot made when one is due and none is under way: the sequencer only says of which
// event, and with which outputs.
func (s *Sequencer[R, Q]) snapshot() {
	c := &s.cfg
	due := c.SnapshotEvents > 0 && s.since.events >= c.SnapshotEvents ||
		c.SnapshotBytes > 0 && s.since.bytes >= c.SnapshotBytes
	if c.Snapshots == nil || !due || !c.Snapshots.ready() {
		return
	}
	digest, outputs := s.state.Digest()
	c.Snapshots.begin(Mark{s.state.last, digest, outputs})
	s.since.events, s.since.bytes = 0, 0
}

// WriteSnapshot writes the state as of the last event, as a snapshot has it. Call it after the
// sequencer has ended, on any goroutine.
func (s *Sequencer[R, Q]) WriteSnapshot(w io.Writer) error {
	return writeSnapshot(s.state, s.cfg.Application, w)
}
