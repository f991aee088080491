package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"sluice/durability"
	"sluice/durability/journal/powerloss"
)

// lifetimePayload is the payload of event seq as written by an incarnation. An event that was lost
// differs from the one that got its number later. Lengths are 0 to 1.5 KiB; some payloads are all
// zeroes, like sectors that were never written.
func lifetimePayload(seq durability.Seq, incarnation uint64) []byte {
	mixed := (uint64(seq)*0x9e3779b97f4a7c15 ^ incarnation*0xbf58476d1ce4e5b9) >> 7
	p := make([]byte, mixed%700)
	switch {
	case mixed>>20%8 == 0:
		p = make([]byte, 1500)
	case mixed>>20%256 == 1:
		p = make([]byte, 150<<10) // more than the log's buffer: one batch, several writes
	}
	for i := range p {
		if mixed>>20%8 != 0 {
			p[i] = byte(uint64(i)*mixed>>3)%255 + 1
		}
	}
	if len(p) >= 16 {
		binary.LittleEndian.PutUint64(p, uint64(seq))
		binary.LittleEndian.PutUint64(p[8:], incarnation)
	}
	return p
}

// lifetime is one lifetime of a server: it opens the journal, commits chunks of events and
// snapshots through the Committer, and closes it.
type lifetime struct {
	j           *Journal
	c           *Committer
	rng         *rand.Rand
	steps       int
	inc         uint64
	state       uint64         // of an application whose state depends on every event, see chain
	appended    durability.Seq // last event handed to the committer
	chunk       [][]byte
	closed      bool
	snapshotErr error // of a snapshot; the lifetime continues
}

func (s *lifetime) Next() ([]byte, bool) {
	if len(s.chunk) == 0 {
		return nil, false
	}
	p := s.chunk[0]
	s.chunk = s.chunk[1:]
	return p, true
}

func (s *lifetime) Release()   {}
func (s *lifetime) Done() bool { return s.closed && len(s.chunk) == 0 }

// wait is the Committer's Wait: instead of sleeping it chooses the next action.
func (s *lifetime) wait() {
	if s.steps--; s.steps < 0 {
		s.closed = true
		return
	}
	what := s.rng.IntN(6)
	if what > 0 {
		for range 1 + s.rng.IntN(4) {
			s.appended++
			p := lifetimePayload(s.appended, s.inc)
			s.state = chain(s.state, p)
			s.chunk = append(s.chunk, p)
		}
	}
	if what < 2 && s.appended > 0 { // 1: a snapshot of events that are not on disk yet
		state := s.state
		snapshot, err := s.j.PrepareSnapshot(s.appended, func(out io.Writer) error {
			return binary.Write(out, binary.LittleEndian, state)
		})
		if err == nil {
			err = s.c.Offer(snapshot)
		}
		s.snapshotErr = errors.Join(s.snapshotErr, err)
	}
}

// live runs a lifetime in a directory and reports what happens: "open last incarnation", "try first
// last incarnation" before a write, "ack last" where the persisted cursor moves, and at the end
// "closed" or "error ...".
func live(dir string, seed uint64, steps int) {
	s := &lifetime{rng: rand.New(rand.NewPCG(seed, 1)), steps: steps}
	o := testOptions(dir)
	o.BeforeSync = func() { powerloss.Say("try %d %d %d", s.j.writer.persisted+1, s.appended, s.inc) }
	j, r, err := Open(o)
	if err != nil {
		powerloss.Say("error open: %s", describe(err))
		return
	}
	s.j = j
	s.state, err = recoverChain(r)
	if err != nil {
		powerloss.Say("error replay: %s", describe(errors.Join(err, j.Close())))
		return
	}
	s.inc, s.appended = r.Incarnation, r.Last
	powerloss.Say("open %d %d %d", r.Last, r.Incarnation, r.SnapshotSeq)
	s.c = NewCommitter(CommitterOptions{Writer: j.Writer(), Input: s, Wait: s.wait,
		OnPersisted: func(seq durability.Seq) { powerloss.Say("ack %d", seq) },
		OnSnapshot:  func(_ durability.Seq, err error) { s.snapshotErr = errors.Join(s.snapshotErr, err) }})
	if err := s.c.Run(); err != nil {
		powerloss.Say("error run: %s", describe(errors.Join(err, j.Close())))
		return
	}
	if err := j.Close(); err != nil {
		powerloss.Say("error close: %s", describe(err))
		return
	}
	if s.snapshotErr != nil {
		powerloss.Say("error snapshot: %s", describe(s.snapshotErr))
		return
	}
	powerloss.Say("closed")
}

// describe prints an error with the types and errnos in its chain.
func describe(err error) string {
	var poison *PoisonError
	var number syscall.Errno
	kind := "other"
	switch {
	case errors.As(err, &poison) && poison.Op != "" && poison.File != "":
		kind = "poison"
	case errors.Is(err, ErrCorrupt):
		kind = "corrupt"
	}
	errors.As(err, &number)
	return fmt.Sprintf("[%s %d] %.300v", kind, number, err)
}

// TestLifetimeChild runs one lifetime per line "seed steps directory" and ends with its input.
func TestLifetimeChild(t *testing.T) {
	root, lines := powerloss.BeWatched(t)
	for lines.Scan() {
		var seed uint64
		var steps int
		var dir string
		if _, err := fmt.Sscan(lines.Text(), &seed, &steps, &dir); err != nil {
			t.Fatal(err)
		}
		live(filepath.Join(root, dir), seed, steps)
	}
}

// oracle knows which events must and which may be found. It shares no code with recovery.
type oracle struct {
	acked, tried durability.Seq // certainly on disk; possibly on disk (one batch)
	incs         []uint64       // [seq]: incarnation that wrote the event
	states       []uint64       // [seq]: state of chain after the event
	inc          uint64         // highest incarnation reported so far
	snapshot     durability.Seq // with which a lifetime began: this one or a later one is found
	ended        string         // the last message of a lifetime
}

func newOracle() *oracle { return &oracle{incs: []uint64{0}, states: []uint64{0}} }

func (o *oracle) observe(message string) error {
	var a, b, inc uint64
	if n, _ := fmt.Sscanf(message, "open %d %d %d", &a, &inc, &b); n == 3 {
		o.snapshot = max(o.snapshot, durability.Seq(b))
		last := durability.Seq(a)
		if last != o.acked && last != o.tried {
			return fmt.Errorf("opened with event %d last; acknowledged %d, tried %d", last, o.acked,
				o.tried)
		}
		if inc <= o.inc {
			return fmt.Errorf("incarnation %d after %d", inc, o.inc)
		}
		// The server continues from the events it found, so they count as acknowledged.
		o.acked, o.tried, o.inc = last, last, inc
		o.incs, o.states = o.incs[:last+1], o.states[:last+1]
		return nil
	}
	if n, _ := fmt.Sscanf(message, "try %d %d %d", &a, &b, &inc); n == 3 {
		if durability.Seq(a) != o.acked+1 || o.tried != o.acked {
			return fmt.Errorf("a batch from event %d on, acknowledged %d, tried %d", a, o.acked,
				o.tried)
		}
		for seq := durability.Seq(a); seq <= durability.Seq(b); seq++ {
			o.incs = append(o.incs, inc)
			o.states = append(o.states, chain(o.states[seq-1], lifetimePayload(seq, inc)))
		}
		o.tried = durability.Seq(b)
		return nil
	}
	if n, _ := fmt.Sscanf(message, "ack %d", &a); n == 1 {
		if durability.Seq(a) != o.tried {
			return fmt.Errorf("acknowledged %d, tried %d", a, o.tried)
		}
		o.acked = o.tried
		return nil
	}
	o.ended = message
	return nil
}

// judge opens a directory after a crash: all acknowledged events are there byte for byte, and in
// addition at most the one batch that was tried, as a whole. Then it appends two events and opens
// again: they are kept, and nothing else changed. If twice is set it opens once more in between: a
// second recovery finds the same.
func (o *oracle) judge(dir string, twice bool) error {
	more := 2
	if twice {
		more = 0
	}
	first, inc, err := o.reopen(dir, o.tried, o.tried, o.inc, more)
	if err != nil {
		return fmt.Errorf("first opening: %w", err)
	}
	if first != o.acked && first != o.tried {
		return fmt.Errorf("last event %d, acknowledged %d, tried %d", first, o.acked, o.tried)
	}
	again := first
	if twice {
		again, inc, err = o.reopen(dir, first, first, inc, 2)
	}
	if err != nil || again != first {
		return fmt.Errorf("opened again: event %d is last, before it was %d: %w", again, first, err)
	}
	again, _, err = o.reopen(dir, first, first+2, inc, 0)
	if err != nil || again != first+2 {
		return fmt.Errorf("opened after two more events behind %d: event %d is last: %w", first,
			again, err)
	}
	return nil
}

// reopen opens, checks all events, appends more events, closes, and returns the last event found.
// Events up to written were written by the lifetime.
func (o *oracle) reopen(dir string, written, most durability.Seq, inc uint64,
	more int) (last durability.Seq, _ uint64, err error) {
	j, r, err := Open(testOptions(dir))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if r.Incarnation <= inc {
		return 0, 0, fmt.Errorf("incarnation %d, but %d was reported before", r.Incarnation, inc)
	}
	if r.Last < o.acked || r.Last > max(most, o.tried) {
		return 0, 0, fmt.Errorf("last event %d, acknowledged %d, tried %d (%v)", r.Last, o.acked,
			o.tried, r.Notes)
	}
	want := func(seq durability.Seq) []byte {
		if seq > written {
			return fmt.Appendf(nil, "appended after the crash as %d", seq)
		}
		return lifetimePayload(seq, o.incs[seq])
	}
	state, seq := uint64(0), r.SnapshotSeq
	if seq < o.snapshot {
		return 0, 0, fmt.Errorf("the newest snapshot is of event %d, and a lifetime began with that of "+
			"event %d", seq, o.snapshot)
	}
	if err := r.Restore(func(in io.Reader) error { return binary.Read(in, binary.LittleEndian, &state) }); err != nil {
		return 0, 0, err
	}
	if seq > written || state != o.states[seq] {
		return 0, 0, fmt.Errorf("the snapshot of event %d is wrong", seq)
	}
	for e, err := range r.Events() {
		if err != nil {
			return 0, 0, err
		}
		if seq++; e.Seq != seq || !bytes.Equal(e.Payload, want(seq)) {
			return 0, 0, fmt.Errorf("event %d (want %d) has other bytes than were written", e.Seq, seq)
		}
	}
	if seq != r.Last {
		return 0, 0, fmt.Errorf("events end at %d, want %d", seq, r.Last)
	}
	if more == 0 {
		return r.Last, r.Incarnation, nil
	}
	written = min(written, r.Last) // an event that was tried and not found is lost
	for seq := r.Last + 1; seq <= r.Last+durability.Seq(more); seq++ {
		if _, err := j.Writer().Append(want(seq)); err != nil {
			return 0, 0, err
		}
	}
	_, err = j.Writer().Commit()
	return r.Last, r.Incarnation, err
}
