package sequencer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/actors"
	"sluice/durability"
)

// alive is the script with every optional ability. A request may ask for a tick: its first body byte
// is the connection that the tick reports to, which comes 10 ns later.
type alive struct {
	*script
	tickAt  int64
	tickTo  uint64
	version uint32
	rules   []uint32 // UseRules was called with
	refuses uint32   // version that UseRules refuses
	ticks   int64    // further ticks at the same time
}

const tagTick = 0x14

func newAlive(s *script) *alive { return &alive{script: s, version: 1, refuses: ^uint32(0)} }

func (a *alive) Requests() []RequestType {
	return append(a.script.Requests(), RequestType{Tag: tagTick, Name: "tick", Size: -1, Role: RoleTrader})
}

func (a *alive) Apply(ev *Event, out Emitter[report, report]) {
	if ev.Tag == tagTick {
		a.tickAt, a.tickTo = ev.Time+10, uint64(ev.Body[0])
		return
	}
	a.sum ^= uint64(ev.Time) + uint64(ev.Identity.Number)<<32 + uint64(ev.Identity.Key[0])
	a.script.Apply(ev, out)
}

func (a *alive) Connected(ev *Event, out Emitter[report, report]) { a.observe(ev, out) }

func (a *alive) Disconnected(ev *Event, out Emitter[report, report]) { a.observe(ev, out) }

// observe reports to the connection and to the one before it.
func (a *alive) observe(ev *Event, out Emitter[report, report]) {
	a.seq = ev.Seq
	a.sum = a.sum*31 + ev.Conn + uint64(ev.Kind) + uint64(ev.Time) + uint64(ev.Identity.Key[0])
	*out.Report(ev.Conn) = report{ev.Seq, a.sum, ev.Conn}
	if ev.Conn > 1 {
		*out.Report(ev.Conn - 1) = report{ev.Seq, a.sum, ev.Conn}
	}
}

func (a *alive) NextTick() int64 { return a.tickAt }

func (a *alive) Tick(ev *Event, out Emitter[report, report]) {
	if ev.Time < a.tickAt {
		panic("the tick is early")
	}
	a.seq = ev.Seq
	*out.Report(a.tickTo) = report{ev.Seq, a.sum, uint64(ev.Time)}
	if a.ticks--; a.ticks <= 0 {
		a.tickAt = 0
	}
}

func (a *alive) Version() uint32 { return a.version }

func (a *alive) UseRules(v uint32) error {
	if v == a.refuses {
		return errors.New("rules are gone")
	}
	a.rules = append(a.rules, v)
	return nil
}

func (a *alive) Snapshot(w io.Writer) error {
	if err := a.script.Snapshot(w); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, []uint64{uint64(a.tickAt), a.tickTo})
}

func (a *alive) Restore(r io.Reader) error {
	var v [2]uint64
	if err := errors.Join(a.script.Restore(r), binary.Read(r, binary.LittleEndian, &v)); err != nil {
		return err
	}
	a.tickAt, a.tickTo = int64(v[0]), v[1]
	return nil
}

// newLife is a stage with an application that is alive, after its version was journaled.
func newLife(t testing.TB, change func(*Config[report, report])) (*stage, *alive) {
	var app *alive
	st := newStage(t, 1<<12, func(c *Config[report, report]) {
		app = newAlive(c.Application.(*script))
		c.Application = app
		if change != nil {
			change(c)
		}
	})
	return st, app
}

// settle steps until there is nothing to do.
func (st *stage) settle() {
	for st.seq.Step(st.now) > 0 {
	}
	st.take()
}

// journaled describes the events after the first skip ones: kind, and connection if there is one.
func (st *stage) journaled(skip int) string {
	st.t.Helper()
	var out []string
	var ev Event
	for _, raw := range st.events[skip:] {
		if err := DecodeEvent(raw, &ev); err != nil {
			st.t.Fatal(err)
		}
		text := ev.Kind.String()
		if ev.Conn != 0 {
			text += fmt.Sprint(" ", ev.Conn)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func trader(number uint32) Identity { return Identity{Number: number, Role: RoleTrader} }

// The state of a replay of what was journaled, and its application.
func (st *stage) replay(skip ...durability.Seq) (*alive, *State, error) {
	app := newAlive(&script{})
	state, _, err := Replay[report, report](st.t.Context(), app, scriptEncoder{},
		recovered{nil, 0, st.events}, skip)
	return app, state, err
}

// equal compares a replay with the run, byte for byte.
func (st *stage) equal(app *alive, state *State) {
	st.t.Helper()
	var got, want bytes.Buffer
	if err := errors.Join(state.write(&got), app.Snapshot(&got), st.seq.WriteSnapshot(&want)); err != nil {
		st.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		st.t.Errorf("the replay gives\n%x, the run gave\n%x", got.Bytes(), want.Bytes())
	}
}

func TestOutputsOfEventsWithoutRequest(t *testing.T) {
	st, _ := newLife(t, nil)
	for _, err := range []error{st.queue.Connected(3, trader(0)), st.queue.Connected(4, trader(0))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	st.queue.Disconnected(4, trader(0))
	st.put(3, tagTick, 9)
	st.settle()
	st.wall += 10
	st.settle()
	if got, want := st.journaled(0), "version, connected 3, connected 4, disconnected 4, request 3, tick"; got != want {
		t.Fatalf("journaled %s, want %s", got, want)
	}
	// No event but the request ends a response, and nothing is sent to the connection that is gone.
	if got, want := describe(st.pass()), "3:R@2 2:R@2 4:R@3 3:R@3 3:R@4 3:B@5! 9:R@6"; got != want {
		t.Errorf("slots %s, want %s", got, want)
	}
	app, state, err := st.replay()
	if err != nil {
		t.Fatal(err)
	}
	st.equal(app, state)
}

// Ends of connections of earlier runs come before anything else, in the order of connections.
func TestConnectionsOfEarlierRunsEndFirst(t *testing.T) {
	before, _ := newLife(t, nil)
	for _, id := range []uint64{7, 5, 6} {
		if err := before.queue.Connected(id, trader(0)); err != nil {
			t.Fatal(err)
		}
	}
	before.queue.Disconnected(6, trader(0))
	before.settle()
	app, state, err := before.replay()
	if err != nil {
		t.Fatal(err)
	}
	last := len(before.events)
	st := newStage(t, 1<<12, func(c *Config[report, report]) { c.Application, c.State = app, state })
	st.events = before.events
	st.put(8, tagEvent, 8)
	select {
	case <-st.seq.Opened():
		t.Error("opened before the first step")
	default:
	}
	st.settle()
	if got, want := st.journaled(last), "disconnected 5, disconnected 7, request 8"; got != want {
		t.Errorf("journaled %s, want %s", got, want)
	}
	<-st.seq.Opened()
	again, state, err := st.replay()
	if err != nil {
		t.Fatal(err)
	}
	st.equal(again, state)
	if first, err := opening(again, state); len(first) > 0 || err != nil {
		t.Errorf("the next run journals %v, %v first", first, err)
	}
}

func TestTicksComeInTime(t *testing.T) {
	st, app := newLife(t, nil)
	st.wall = 1000
	st.put(1, tagTick, 2)
	st.settle()
	st.pass()
	st.wall = 1009
	st.settle()
	if got := st.journaled(2); got != "" {
		t.Fatalf("journaled %s before the time", got)
	}
	app.ticks = 3
	st.put(1, tagEvent, 1) // in the queue when the ticks are due
	st.wall = 1010
	st.settle()
	if got, want := st.journaled(2), "tick, tick, tick, request 1"; got != want {
		t.Errorf("journaled %s, want %s", got, want)
	}
	if got, want := describe(st.pass()), "2:R@3 2:R@4 2:R@5 1:R@6!"; got != want {
		t.Errorf("slots %s, want %s", got, want)
	}
	var ev Event
	if err := DecodeEvent(st.events[2], &ev); err != nil || ev.Time != 1010 {
		t.Errorf("the tick has time %d, %v", ev.Time, err)
	}
	st.wall = 2000
	if st.settle(); len(st.events) != 6 {
		t.Errorf("journaled %s although no tick was asked for", st.journaled(6))
	}
}

// A tick that was due while the node was down is the first thing of the next run.
func TestTickIsDueAfterRestart(t *testing.T) {
	before, _ := newLife(t, nil)
	before.put(1, tagTick, 2)
	before.settle()
	app, state, err := before.replay()
	if err != nil {
		t.Fatal(err)
	}
	st := newStage(t, 64, func(c *Config[report, report]) { c.Application, c.State = app, state })
	st.wall = 1e12
	st.put(1, tagEvent, 1)
	st.settle()
	if got, want := st.journaled(0), "tick, request 1"; got != want {
		t.Errorf("journaled %s, want %s", got, want)
	}
}

func TestSlotsWithoutRequestAreNoResponse(t *testing.T) {
	st, _ := newLife(t, nil)
	if err := st.queue.Connected(3, trader(0)); err != nil {
		t.Fatal(err)
	}
	st.settle()
	for _, s := range st.pass() {
		if s.Request != 0 || s.Last || s.Kind != actors.KindReport {
			t.Errorf("slot %+v", s)
		}
	}
}
