package marketdata

import "fmt"

// stream checks the order in which a subscriber receives a topic.
//
//	waiting ──Begin──> describing ──End──> live ──Update──> live
//	   ^                   │                 │
//	   └────── error ──────┴── error, Gap ───┘
type stream struct {
	kind       Kind
	instrument uint32
	latest     bool // updates may be left out
	phase      phase
	skipped    bool   // some were, since the snapshot
	updated    bool   // an update came since the snapshot
	seq        uint64 // topic_seq of the last update, or of the snapshot
	event      uint64 // Seq of the last frame; 0 for none
}

type phase uint8

const (
	waiting phase = iota
	describing
	live
)

// Live reports whether the view has a whole snapshot and all updates after it.
func (s *stream) Live() bool { return s.phase == live }

// Topic returns the number of the topic.
func (s *stream) Topic() uint64 { return s.kind.Topic(s.instrument) }

// TopicSeq returns the topic_seq of the last update, or of the snapshot if none came since.
func (s *stream) TopicSeq() uint64 { return s.seq }

// Event returns the last event that the view is known to take into account, 0 for none: events that
// change nothing of the topic are not seen.
func (s *stream) Event() uint64 { return s.event }

// Gap says that updates were lost. The view waits for a snapshot.
func (s *stream) Gap() { s.phase = waiting }

func (s *stream) begin(seq uint64) {
	*s = stream{kind: s.kind, instrument: s.instrument, latest: s.latest, phase: describing, seq: seq}
}

// end ends a snapshot, which begin began with the same topic_seq.
func (s *stream) end(seq uint64) error {
	if s.phase != describing {
		return s.fail("a snapshot ends that did not begin")
	}
	if seq != s.seq {
		return s.fail("a snapshot begins at topic_seq %d and ends at %d", s.seq, seq)
	}
	s.phase = live
	return nil
}

// described checks a frame of a snapshot, all of which are of the same event.
func (s *stream) described(tag uint8, body []byte) (f Frame, err error) {
	if s.phase != describing {
		return f, s.fail("a frame describes the topic outside a snapshot")
	}
	if f, err = s.decode(tag, body); err != nil {
		return f, err
	}
	if s.event != 0 && f.Seq != s.event {
		return f, s.fail("the snapshot is of event %d and of event %d", s.event, f.Seq)
	}
	s.event = f.Seq
	return f, nil
}

// next checks an update.
func (s *stream) next(seq uint64, tag uint8, body []byte) (f Frame, err error) {
	if s.phase != live {
		return f, s.fail("update %d comes without a snapshot", seq)
	}
	if seq <= s.seq || seq > s.seq+1 && !s.latest {
		return f, s.fail("update %d comes after %d", seq, s.seq)
	}
	if f, err = s.decode(tag, body); err != nil {
		return f, err
	}
	if f.Seq < s.event || f.Seq == s.event && !s.updated {
		return f, s.fail("update %d of event %d comes after event %d", seq, f.Seq, s.event)
	}
	s.skipped = s.skipped || seq > s.seq+1
	s.seq, s.event, s.updated = seq, f.Seq, true
	return f, nil
}

func (s *stream) decode(tag uint8, body []byte) (Frame, error) {
	f, err := Decode(tag, body)
	if err != nil {
		s.phase = waiting
		return f, err
	}
	if tag != s.kind.tag() || f.Instrument != s.instrument {
		return f, s.fail("frame 0x%02x of instrument %d is of another topic", tag, f.Instrument)
	}
	return f, nil
}

// fail makes the view wait for a snapshot.
func (s *stream) fail(format string, args ...any) error {
	s.phase = waiting
	return fmt.Errorf("marketdata: %s of instrument %d: %s; subscribe again for a snapshot", s.kind,
		s.instrument, fmt.Sprintf(format, args...))
}
