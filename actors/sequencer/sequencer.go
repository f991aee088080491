package sequencer

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
)

// batchRequests is the number of requests after which what they caused is published at the latest.
const batchRequests = 128

// Config is what a Sequencer works with. All but the two thresholds and Snapshots is required.
type Config[R, Q any] struct {
	Application Application[R, Q]
	Requests    *mailbox.BytesReader               // of a Queue
	Journal     *mailbox.BytesWriter               // to the journal's committer; takes the largest request
	Slots       *mailbox.Writer[actors.Slot[R, Q]] // of the pipeline
	Now         func() int64                       // monotonic ns, the clock of the pipeline
	Last        durability.Seq                     // last event of the journal, already applied

	// Snapshots, if not nil, gets the application's state after so many events or bytes of events, whichever comes
	// first; a threshold of 0 does not count.
	Snapshots      *Snapshots
	SnapshotEvents uint64
	SnapshotBytes  uint64
}

// Sequencer is the one goroutine that puts requests into an order, journals them, applies them and writes what they
// caused into the slot ring. It waits when the journal's ring or the slot ring is full, and its queue then fills up.
type Sequencer[R, Q any] struct {
	cfg    Config[R, Q]
	out    emitter[R, Q]
	req    Request // passed to the application by reference, so that it does not move to the heap for each request
	token  token
	signal *mailbox.Signal
	stop   chan struct{} // closed by Stop
	once   sync.Once

	claimed bool           // the journal's ring holds a claim for the event being applied
	size    int            // of that event, in bytes
	last    durability.Seq // last event sequenced
	counts  Counts         // of the sequencer's goroutine
	events  uint64         // since the last snapshot
	bytes   uint64         // of events since the last snapshot
	waiting func() bool    // requests are there, or the queue has ended
	journal func() bool    // the journal's ring has room for size bytes
	answers func() bool    // the slot ring has room
	room    []byte         // claimed by journal

	sequenced atomic.Uint64    // written by the sequencer before it publishes, read by anyone: last event that may be journaled
	shared    [4]atomic.Uint64 // Counts, written by the sequencer after each batch, read by anyone
}

// Counts says what a sequencer has done since it was made.
type Counts struct {
	Events  uint64 // journaled and applied
	Queries uint64 // answered from the state
	Refused uint64 // refused by Application.Check
	Waits   uint64 // times it had to wait for room in the journal's ring or the slot ring
}

// PanicError is the end of a sequencer whose application panicked. The event at fault is in the journal only if its
// outputs did not fit the slot ring at once.
type PanicError struct {
	Seq   durability.Seq // last event sequenced, the one at fault included
	Tag   uint8          // of the request at fault
	Conn  uint64
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("sequencer: the application panicked near event %d (tag 0x%02x of connection %d): %v\n%s",
		e.Seq, e.Tag, e.Conn, e.Value, e.Stack)
}

// New makes a sequencer; Run runs it. It sets the signals of the ends it was given.
func New[R, Q any](cfg Config[R, Q]) *Sequencer[R, Q] {
	s := &Sequencer[R, Q]{cfg: cfg, token: newToken(), stop: make(chan struct{}), last: cfg.Last}
	s.signal = mailbox.NewSignal(s.token)
	cfg.Requests.SetSignal(s.signal)
	cfg.Journal.SetSignal(s.signal)
	cfg.Slots.SetSignal(s.signal)
	s.out = emitter[R, Q]{slots: cfg.Slots, now: cfg.Now, room: s.answerRoom, seq: cfg.Last}
	s.waiting = func() bool { return cfg.Requests.Len() > 0 || cfg.Requests.Done() }
	s.journal = func() bool { s.room = cfg.Journal.Claim(s.size); return s.room != nil }
	s.answers = s.out.take
	s.sequenced.Store(uint64(cfg.Last))
	return s
}

// Sequenced is the last event that may be on its way to the journal. Any goroutine.
func (s *Sequencer[R, Q]) Sequenced() durability.Seq { return durability.Seq(s.sequenced.Load()) }

// Counts is what was done up to the last batch. Any goroutine.
func (s *Sequencer[R, Q]) Counts() Counts {
	return Counts{s.shared[0].Load(), s.shared[1].Load(), s.shared[2].Load(), s.shared[3].Load()}
}

// Stop makes Run return soon, also when it waits for room: requests not sequenced yet are never carried out, and outputs
// of the last one may be missing. Any goroutine, any number of times.
func (s *Sequencer[R, Q]) Stop() {
	s.once.Do(func() { close(s.stop) })
}

// Run sequences requests until the queue is closed and empty, or Stop. Before it returns it closes its ends of the
// journal's ring and of the slot ring. The error is a *PanicError.
func (s *Sequencer[R, Q]) Run() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Seq: s.last, Tag: s.req.Tag, Conn: s.req.Conn, Value: v, Stack: debug.Stack()}
			s.out.forget()
		}
		s.sequenced.Store(uint64(s.last))
		s.share()
		s.cfg.Journal.Close()
		s.cfg.Slots.Close()
	}()
	for !s.stopped() {
		if s.batch() {
			continue
		}
		if s.cfg.Requests.Done() || !s.sleep(s.waiting) {
			break
		}
	}
	return nil
}

// batch handles the requests that are there, and publishes what they caused; false when there were none.
func (s *Sequencer[R, Q]) batch() bool {
	n := 0
	for ; n < batchRequests && !s.stopped(); n++ {
		record, ok := s.cfg.Requests.Next()
		if !ok {
			break
		}
		at := stampSize + int(record[stampSize-1])
		s.out.trace(record[stampSize:at])
		s.handle(int64(binary.LittleEndian.Uint64(record)), record[at:])
	}
	if n == 0 {
		return false
	}
	s.publish()
	s.cfg.Requests.Release()
	s.snapshot()
	return true
}

// handle carries out one request. The event is claimed and copied first and committed last: when the application panics
// over it, it is not journaled, and so does not end every restart as well.
func (s *Sequencer[R, Q]) handle(received int64, event []byte) {
	app := s.cfg.Application
	if err := DecodeEvent(event, &s.req); err != nil {
		panic(err) // the queue wrote it
	}
	s.out.begin(s.req.Conn, received)
	switch {
	case app.Check(&s.req) != nil:
		s.counts.Refused++
		s.out.refuse()
	case app.IsQuery(s.req.Tag):
		s.counts.Queries++
		app.Query(&s.req, &s.out)
	default:
		if !s.claimEvent(len(event)) {
			return // stopped
		}
		copy(s.room, event)
		s.last++
		s.counts.Events++
		s.out.seq = s.last
		app.Apply(uint64(s.last), &s.req, &s.out)
		s.commitEvent()
	}
	s.out.end()
}

// claimEvent waits for room in the journal's ring; false once the sequencer was stopped.
func (s *Sequencer[R, Q]) claimEvent(size int) bool {
	s.size = size
	if !s.journal() {
		s.publish()
		s.counts.Waits++
		if !s.sleep(s.journal) {
			return false
		}
	}
	s.claimed = true
	return true
}

// commitEvent ends the claim of the event being applied, if it was not ended before.
func (s *Sequencer[R, Q]) commitEvent() {
	if !s.claimed {
		return
	}
	s.claimed = false
	s.cfg.Journal.Commit(s.size)
	s.events++
	s.bytes += uint64(s.size)
}

// answerRoom publishes everything and waits for free slots. Without the event being applied in the journal its slots
// would never become free.
func (s *Sequencer[R, Q]) answerRoom() bool {
	s.commitEvent()
	s.publish()
	s.counts.Waits++
	return s.sleep(s.answers)
}

// publish shows what was done to the journal, then to the pipeline. The journal may not report more than sequenced as
// persisted, so that is raised first.
func (s *Sequencer[R, Q]) publish() {
	s.out.settle()
	s.sequenced.Store(uint64(s.last))
	s.cfg.Journal.Publish()
	s.cfg.Slots.Publish()
	s.share()
}

func (s *Sequencer[R, Q]) share() {
	for i, n := range [...]uint64{s.counts.Events, s.counts.Queries, s.counts.Refused, s.counts.Waits} {
		s.shared[i].Store(n)
	}
}

// snapshot hands the state over when one is due, between two events, when everything is published.
func (s *Sequencer[R, Q]) snapshot() {
	c := &s.cfg
	due := c.SnapshotEvents > 0 && s.events >= c.SnapshotEvents || c.SnapshotBytes > 0 && s.bytes >= c.SnapshotBytes
	if c.Snapshots == nil || !due || !c.Snapshots.take(s.last, c.Application.Snapshot) {
		return
	}
	s.events, s.bytes = 0, 0
}

func (s *Sequencer[R, Q]) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// sleep returns when ready says true, or false once the sequencer was stopped.
func (s *Sequencer[R, Q]) sleep(ready func() bool) bool {
	for !s.stopped() {
		s.signal.Prepare()
		if ready() {
			s.signal.Cancel()
			return true
		}
		select {
		case <-s.token:
		case <-s.stop:
		}
		s.signal.Cancel()
	}
	return false
}
