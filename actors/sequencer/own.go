package sequencer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
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

// owed reports whether an event of the sequencer's own comes before the next request.
func (s *Sequencer[R, Q]) owed() bool {
	return s.opening != nil || (uint64(s.state.last)+1)%s.cfg.CheckpointEvents == 0 ||
		s.ticks.due(s.clock.last)
}

// ticks is the next tick of an application.
type ticks[R, Q any] struct {
	app  Ticker[R, Q] // nil if it is none
	next int64        // ns since 1970, 0 for none
}

// look asks the application, whose state has changed.
func (t *ticks[R, Q]) look() {
	if t.app != nil {
		t.next = t.app.NextTick()
	}
}

func (t *ticks[R, Q]) due(now int64) bool { return t.next != 0 && now >= t.next }

// own journals an event of the sequencer's own; false if the journal's ring has no room for it.
func (s *Sequencer[R, Q]) own() bool {
	switch {
	case (uint64(s.state.last)+1)%s.cfg.CheckpointEvents == 0:
		digest, outputs := s.state.Digest()
		binary.LittleEndian.PutUint64(s.body[:], digest)
		binary.LittleEndian.PutUint64(s.body[8:], outputs)
		s.ev = Event{Kind: KindCheckpoint, Body: s.body[:]}
	case s.opening != nil:
		s.ev = s.opening[0]
		if !s.event() {
			return false
		}
		s.open(s.opening[1:])
		return true
	default:
		s.ev = Event{Kind: KindTick}
	}
	return s.event()
}

// open sets what is still to be journaled at the start.
func (s *Sequencer[R, Q]) open(rest []Event) {
	if s.opening = rest; len(rest) == 0 {
		s.opening = nil
		close(s.opened)
	}
}

// noted journals a note of the queue; false if the journal's ring has no room for it.
func (s *Sequencer[R, Q]) noted(n *note) bool {
	s.ev = Event{Kind: n.kind, Conn: n.conn, Identity: n.id}
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

// event journals s.ev, which is not a request, and delivers it; false if the journal's ring has no
// room for it.
func (s *Sequencer[R, Q]) event() bool {
	size := EventHeader + len(s.ev.Body)
	room := s.cfg.Journal.Claim(size)
	if room == nil {
		return false
	}
	s.out.begin(&s.ev, s.cfg.Now(), nil)
	s.number()
	AppendEvent(room[:0], &s.ev)
	Deliver(s.cfg.Application, &s.ev, &s.out)
	if err := s.state.note(&s.ev); err != nil {
		panic(fmt.Sprintf("sequencer: event %d (%s): %v", s.ev.Seq, s.ev.Kind, err))
	}
	s.cfg.Journal.Commit(size)
	s.counts.Others++
	s.journaled(size)
	s.out.end()
	return true
}
