package sequencer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"testing"
	"time"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/mailbox"
)

const patience = time.Minute

// Tags of the script application.
const (
	tagEvent = 0x10 // one report to each connection in the body, one byte each; an empty body reports to none
	tagQuery = 0x11 // the same with answers
	tagPanic = 0x12
	tagSized = 0x13 // two bytes, of an operator

	malformed = 0xFF // begins a body that Check refuses
)

// script is an application whose requests say what to emit. Its state is a sum that depends on
// every event and its order.
type script struct {
	seq, sum uint64
}

type report struct{ Seq, Sum, N uint64 }

func (*script) Requests() []RequestType {
	return []RequestType{
		{Tag: tagEvent, Name: "event", Size: -1, Role: RoleTrader},
		{Tag: tagQuery, Name: "query", Size: -1, Role: RoleReadonly, Query: true},
		{Tag: tagPanic, Name: "panic", Size: -1, Role: RoleTrader},
		{Tag: tagSized, Name: "sized", Size: 2, Role: RoleOperator},
	}
}

var errMalformed = errors.New("malformed")

func (*script) Check(req *Event) error {
	if req.Seq != 0 || req.Time != 0 {
		panic("a request that is checked has no place and no time")
	}
	if len(req.Body) > 0 && req.Body[0] == malformed {
		return errMalformed
	}
	return nil
}

func (s *script) Apply(req *Event, out Emitter[report, report]) {
	seq := req.Seq
	if req.Tag == tagPanic {
		panic("planted")
	}
	s.seq = seq
	s.sum = (s.sum^seq^req.Conn^req.Request<<8)*0x9E3779B97F4A7C15 + uint64(len(req.Body))
	for i, conn := range req.Body {
		r := out.Report(uint64(conn))
		if *r != (report{}) {
			panic("the slot is not empty")
		}
		*r = report{seq, s.sum, uint64(i)}
	}
}

func (s *script) Query(req *Event, out Emitter[report, report]) {
	for i, conn := range req.Body {
		*out.Query(uint64(conn)) = report{s.seq, s.sum, uint64(i)}
	}
}

func (s *script) Snapshot(w io.Writer) error {
	return binary.Write(w, binary.LittleEndian, [2]uint64{s.seq, s.sum})
}

func (s *script) Restore(r io.Reader) error {
	var v [2]uint64
	if err := binary.Read(r, binary.LittleEndian, &v); err != nil {
		return err
	}
	s.seq, s.sum = v[0], v[1]
	return nil
}

// stage is a sequencer with the other ends of all its rings. The test plays the journal and the
// gate.
type stage struct {
	t     testing.TB
	app   *script
	queue *Queue
	seq   *Sequencer[report, report]
	log   *mailbox.BytesReader
	slots *mailbox.Reader[actors.Slot[report, report]]
	group *run.Group // runs seq, if the test calls run

	clock  int64
	wall   int64    // ns since 1970
	now    int64    // monotonic ns
	events [][]byte // taken from the journal's ring so far
}

func newStage(t testing.TB, slots int, change func(*Config[report, report])) *stage {
	st := &stage{t: t, app: &script{}, group: run.NewGroup("sequencer", run.NewAdaptive())}
	w, r := mailbox.NewSPSC[actors.Slot[report, report]](slots)
	ring, log := mailbox.NewBytes(1 << 16)
	queue, requests := NewQueue(1 << 16)
	st.queue, st.log, st.slots = queue, log, r
	cfg := Config[report, report]{
		Application: st.app, Requests: requests, Journal: ring, Slots: w, Signal: st.group.Signal(),
		Now: func() int64 { st.clock++; return st.clock }, Wall: func() int64 { return st.wall },
		State: NewState(), Encoder: scriptEncoder{}, MaxFrame: 64,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if st.seq, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return st
}

// scriptEncoder writes a report as a frame.
type scriptEncoder struct{}

func (scriptEncoder) AppendReport(dst []byte, r *report) ([]byte, error) {
	le := binary.LittleEndian
	dst = append(le.AppendUint32(dst, 25), 0x30)
	return le.AppendUint64(le.AppendUint64(le.AppendUint64(dst, r.Seq), r.Sum), r.N), nil
}

func (e scriptEncoder) AppendQuery(dst []byte, r *report) ([]byte, error) {
	return e.AppendReport(dst, r)
}

// replayOf replays a journal into a new application.
func replayOf(from recovered, skip ...durability.Seq) (*script, *State, uint64, error) {
	app := &script{}
	state, n, err := Replay(context.Background(), app, scriptEncoder{}, from, skip)
	return app, state, n, err
}

// trades is a request of a trader.
func trades(conn uint64, tag uint8, to ...byte) Event {
	return Event{Kind: KindRequest, Conn: conn, Request: 7, Tag: tag, Body: to,
		Identity: Identity{Role: RoleTrader}}
}

func (st *stage) put(conn uint64, tag uint8, to ...byte) {
	st.t.Helper()
	req := trades(conn, tag, to...)
	if err := st.queue.Put(&req, nil, 5); err != nil {
		st.t.Fatal(err)
	}
}

// take moves what is in the journal's ring to events.
func (st *stage) take() {
	for ev, ok := st.log.Next(); ok; ev, ok = st.log.Next() {
		st.events = append(st.events, bytes.Clone(ev))
	}
	st.log.Release()
}

// pass releases the slots that the events taken so far allow, as the gate does, and returns copies.
func (st *stage) pass() []actors.Slot[report, report] {
	var out []actors.Slot[report, report]
	for {
		b := st.slots.Batch(1)
		if len(b) == 0 || !b[0].Bypass && int(b[0].Seq) > len(st.events) {
			return out
		}
		out = append(out, b[0])
		st.slots.Release(1)
	}
}

// recovered is a journal in memory.
type recovered struct {
	snapshot []byte
	after    durability.Seq
	events   [][]byte // all, from event 1
}

func (r recovered) Restore(read func(io.Reader) error) error {
	if r.snapshot == nil {
		return nil
	}
	return read(bytes.NewReader(r.snapshot))
}

func (r recovered) Events() iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for i := int(r.after); i < len(r.events); i++ {
			if !yield(journal.Event{Seq: durability.Seq(i + 1), Payload: r.events[i]}, nil) {
				return
			}
		}
	}
}

func snapshotOf(t testing.TB, app *script) []byte {
	var b bytes.Buffer
	if err := app.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sectionOf(t testing.TB, s *State) []byte {
	var b bytes.Buffer
	if err := s.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run runs the sequencer on a goroutine of its own and returns how to wait for its end.
func (st *stage) run() (wait func() error) {
	st.group.Actors = append(st.group.Actors, st.seq)
	runner := run.NewRunner(func() int64 { return 0 }, nil, st.group)
	runner.Start()
	done := make(chan error, 1)
	go func() { done <- runner.Wait() }()
	return func() error {
		st.t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			st.t.Fatal("the sequencer does not end")
			return nil
		}
	}
}
