package sequencer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"sluice/durability"
)

// opening returns what a run journals before its first request: skips of events that the replay left
// out, another version of the application's rules, and the ends of the connections of earlier runs.
func opening[R, Q any](app Application[R, Q], s *State) (events []Event, err error) {
	le := binary.LittleEndian
	for _, seq := range s.leftOut {
		events = append(events, Event{Kind: KindSkip, Body: le.AppendUint64(nil, uint64(seq))})
	}
	rules := versionOf(app)
	if _, ok := app.(Versioned); ok && !s.versioned || rules != s.rules {
		if !ok {
			return nil, fmt.Errorf("sequencer: the journal has version %d of the application's "+
				"rules, and this program has only version 0; start the program that wrote it", s.rules)
		}
		events = append(events, Event{Kind: KindVersion, Body: le.AppendUint32(nil, rules)})
	}
	for _, conn := range slices.Sorted(maps.Keys(s.conns)) {
		id := s.conns[conn]
		id.Key, _ = s.key(id.Number)
		events = append(events, Event{Kind: KindDisconnected, Conn: conn, Identity: id})
	}
	return events, nil
}

// dues are the events of the sequencer's own that come before the next request.
type dues[R, Q any] struct {
	opening    []Event        // of the start; nil once they are journaled
	opened     chan struct{}  // closed then
	checkpoint durability.Seq // the next event that is a checkpoint
	ticker     Ticker[R, Q]   // the application, nil if it is none
	tick       int64          // time of the next tick, ns since 1970; 0 for none
}

// open sets what is still to be journaled at the start.
func (d *dues[R, Q]) open(rest []Event) {
	if d.opening = rest; len(rest) == 0 {
		d.opening = nil
		close(d.opened)
	}
}

// look finds out what is due after event last. It comes before the event is committed: NextTick may panic.
func (d *dues[R, Q]) look(last durability.Seq, checkpoints uint64) {
	if last >= d.checkpoint {
		d.checkpoint = last + durability.Seq(checkpoints-uint64(last)%checkpoints)
	}
	if d.ticker != nil {
		d.tick = d.ticker.NextTick()
	}
}

// consult asks the application, at the start, what it uses and when its next tick is due. The error is
// its panic.
func (s *Sequencer[R, Q]) consult() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Seq: s.state.last, Value: v, Stack: debug.Stack()}
		}
	}()
	s.uses = usesOf(s.cfg.Application)
	s.due.look(s.state.last, s.cfg.CheckpointEvents)
	return nil
}

// owed reports whether something is due, after event last and at a time.
func (d *dues[R, Q]) owed(last durability.Seq, now int64) bool {
	return last+1 == d.checkpoint || d.opening != nil || d.tick != 0 && now >= d.tick
}

// own journals an event of the sequencer's own; false if the journal's ring has no room for it.
func (s *Sequencer[R, Q]) own() bool {
	switch {
	case s.state.last+1 == s.due.checkpoint:
		digest, outputs := s.state.Digest()
		binary.LittleEndian.PutUint64(s.body[:], digest)
		binary.LittleEndian.PutUint64(s.body[8:], outputs)
		s.ev = Event{Kind: KindCheckpoint, Body: s.body[:]}
	case s.due.opening != nil:
		s.ev = s.due.opening[0]
		if !s.event() {
			return false
		}
		s.due.open(s.due.opening[1:])
		return true
	default:
		s.ev = Event{Kind: KindTick}
	}
	return s.event()
}

// noted journals a note of the queue; false if the journal's ring has no room for it.
func (s *Sequencer[R, Q]) noted(n *note) bool {
	s.ev = Event{Kind: n.kind, Conn: n.conn, Identity: n.id}
	s.ev.Identity.Key, _ = s.state.key(n.id.Number)
	if n.kind == KindIdentity {
		binary.LittleEndian.PutUint32(s.body[:], n.id.Number)
		copy(s.body[4:], n.id.Key[:])
		s.ev.Identity, s.ev.Body = Identity{}, s.body[:12]
	}
	if !s.event() {
		return false
	}
	s.cfg.Requests.next++
	return true
}

// swap journals a policy, and before it the checkpoint whose turn it is; false if the journal's ring has
// no room. It needs no room for slots: those that fill the ring may wait for this policy.
func (s *Sequencer[R, Q]) swap(p durability.Policy) bool {
	if s.state.last+1 == s.due.checkpoint {
		return s.own()
	}
	s.ev = Event{Kind: KindPolicy, Body: []byte(p.String())}
	if !s.event() {
		return false
	}
	s.cfg.Requests.inForce()
	if s.cfg.OnPolicy != nil {
		s.adopt(p)
	}
	return true
}

// adopt asks for the policy of the last event to be put in force. No event follows, nor a query,
// before it is: their responses would leave under an older policy.
func (s *Sequencer[R, Q]) adopt(p durability.Policy) {
	seq := uint64(s.state.last)
	s.adopting.Store(seq)
	s.cfg.OnPolicy(p, s.state.last, func() {
		if s.adopting.CompareAndSwap(seq, 0) {
			s.cfg.Signal.Wake()
		}
	})
}

// event journals s.ev, which is not a request, and delivers it; false if the journal's ring has no
// room for it. A checkpoint and a policy are not delivered, so that they have no outputs: those of the
// event before may still wait for room.
func (s *Sequencer[R, Q]) event() bool {
	size := EventHeader + len(s.ev.Body)
	room := s.cfg.Journal.Claim(size)
	if room == nil {
		return false
	}
	silent := s.ev.Kind == KindPolicy || s.ev.Kind == KindCheckpoint
	if !silent {
		s.out.begin(&s.ev, s.cfg.Now(), nil)
	}
	s.number()
	AppendEvent(room[:0], &s.ev)
	if !silent {
		Deliver(s.cfg.Application, &s.ev, &s.out)
	}
	if err := s.state.note(&s.ev); err != nil {
		panic(fmt.Sprintf("sequencer: event %d (%s): %v", s.ev.Seq, s.ev.Kind, err))
	}
	s.due.look(s.state.last, s.cfg.CheckpointEvents)
	s.cfg.Journal.Commit(size)
	s.counts.Others++
	s.journaled(size)
	if !silent {
		s.out.end()
	}
	return true
}
