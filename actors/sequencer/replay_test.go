package sequencer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice/durability"
)

// A replay ends while it restores the snapshot, which may be most of it, when its context ends.
func TestReplayIsCancelledInSnapshot(t *testing.T) {
	var before, after script
	before.seq, before.sum = 3, 5
	ctx, cancel := context.WithCancelCause(context.Background())
	from := recovered{snapshot: append(sectionOf(t, NewState()), snapshotOf(t, &before)...)}
	if _, _, err := Replay(ctx, &after, scriptEncoder{}, from, nil); err != nil || after != before {
		t.Fatalf("restored %+v of %+v: %v", after, before, err)
	}
	cause := errors.New("planted")
	cancel(cause)
	if _, _, err := Replay(ctx, &after, scriptEncoder{}, from, nil); !errors.Is(err, cause) {
		t.Errorf("a cancelled replay gives %v", err)
	}
}

// A replay of events ends when its context ends.
func TestReplayOfEventsIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("planted")
	cancel(cause)
	app := new(script)
	if _, read, err := Replay(ctx, app, scriptEncoder{}, raw(trades(1, tagEvent)), nil); !errors.Is(err, cause) || read != 0 {
		t.Errorf("a cancelled replay read %d events: %v", read, err)
	}
}

// raw is a journal of events as they are.
func raw(events ...Event) (journal recovered) {
	for i := range events {
		journal.events = append(journal.events, AppendEvent(nil, &events[i]))
	}
	return journal
}

func TestReplayNamesWhatContradictsTheJournal(t *testing.T) {
	at := func(time int64, number uint32) Event {
		ev := trades(1, tagEvent)
		ev.Time, ev.Identity.Number = time, number
		return ev
	}
	introduce := func(number byte) Event {
		return Event{Kind: KindIdentity, Body: []byte{number, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}}
	}
	for _, c := range []struct {
		name, want string
		journal    recovered
	}{
		{"time that falls", "event 2 of the journal is of 4 ns since 1970, the one before it of 5",
			raw(at(5, 0), at(4, 0))},
		{"an identity without a key", "event 2 of the journal is of identity 2", raw(introduce(1), at(0, 2))},
		{"an identity out of turn", "event 1 of the journal (identity): it gives number 2", raw(introduce(2))},
		{"rules that the program has not", "event 2 of the journal was judged by version 7 of the " +
			"application's rules, and this program has only version 0",
			raw(Event{Kind: KindVersion, Body: []byte{7, 0, 0, 0}}, at(0, 0))},
		{"a skip whose event was applied", "event 2 of the journal (skip): an operator had event 1 left out",
			raw(at(0, 0), Event{Kind: KindSkip, Body: []byte{1, 0, 0, 0, 0, 0, 0, 0}})},
	} {
		if _, _, _, err := replayOf(c.journal); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	if _, _, _, err := replayOf(raw(introduce(1), at(3, 1), at(3, 0))); err != nil {
		t.Error(err)
	}
}

// The version of the rules is journaled at the first start and whenever it differs, and a replay
// follows those in force.
func TestReplayFollowsTheRulesInForce(t *testing.T) {
	var events [][]byte
	state := NewState()
	run := func(version uint32) {
		st := newStage(t, 64, func(c *Config[report, report]) {
			app := newAlive(&script{})
			app.version = version
			c.Application, c.State = app, state
		})
		st.put(1, tagEvent)
		st.settle()
		events = append(events, st.events...)
		state = st.seq.state
	}
	for _, version := range []uint32{3, 3, 4} {
		run(version)
	}
	whole := &stage{t: t, events: events}
	if got, want := whole.journaled(0), "version, request 1, request 1, version, request 1"; got != want {
		t.Fatalf("journaled %s, want %s", got, want)
	}
	for _, c := range []struct {
		version uint32
		want    []uint32
	}{{4, []uint32{3, 4}}, {3, []uint32{4, 3}}, {9, []uint32{3, 4, 9}}} {
		app := newAlive(&script{})
		app.version = c.version
		if _, _, err := Replay[report, report](t.Context(), app, scriptEncoder{},
			recovered{nil, 0, events}, nil); err != nil || !slices.Equal(app.rules, c.want) {
			t.Errorf("version %d used rules %v, %v; want %v", c.version, app.rules, err, c.want)
		}
	}
	app := newAlive(&script{})
	app.version, app.refuses = 9, 4
	_, _, err := Replay[report, report](t.Context(), app, scriptEncoder{}, recovered{nil, 0, events}, nil)
	if want := "event 5 of the journal was judged by version 4 of the application's rules, this program has version 9: rules are gone"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	// A program without versions cannot continue, even if no event is left to replay.
	_, err = New(Config[report, report]{Application: &script{}, State: state})
	if err == nil || !strings.Contains(err.Error(), "version 4 of the application's rules") {
		t.Errorf("error %v", err)
	}
}

// An older program does not continue from a snapshot of rules that it has not, as it does not continue
// from their events.
func TestOlderProgramRefusesSnapshotOfNewerRules(t *testing.T) {
	st, _ := newLife(t, nil)
	st.put(1, tagEvent)
	st.settle()
	var snapshot bytes.Buffer
	st.seq.state.rules = 2
	if err := st.seq.WriteSnapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	from := recovered{snapshot.Bytes(), st.seq.state.last, st.events}
	app := newAlive(&script{})
	app.refuses = 2
	_, _, err := Replay[report, report](t.Context(), app, scriptEncoder{}, from, nil)
	if want := "version 2 of the application's rules, this program has version 1: rules are gone"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	app = newAlive(&script{})
	if _, _, err := Replay[report, report](t.Context(), app, scriptEncoder{}, from, nil); err != nil ||
		!slices.Equal(app.rules, []uint32{2, 1}) {
		t.Errorf("a program that has them used rules %v, %v", app.rules, err)
	}
	app = newAlive(&script{})
	app.version, app.refuses = 3, 2 // a newer one needs the older rules for their events alone
	if _, _, err := Replay[report, report](t.Context(), app, scriptEncoder{}, from, nil); err != nil {
		t.Error(err)
	}
}

// An event that was skipped is left out of every replay, and the skip is journaled once. Checkpoints
// between the two are of a run that applied the event, so they are not compared; later ones are.
func TestSkippedEventIsLeftOut(t *testing.T) {
	run := func(events [][]byte, state *State, app Application[report, report]) *stage {
		st := newStage(t, 1<<12, func(c *Config[report, report]) {
			c.CheckpointEvents, c.State, c.Application = 5, state, app
		})
		st.events = events
		for range 7 {
			st.put(1, tagEvent, 1)
		}
		st.settle()
		st.pass()
		return st
	}
	before := run(nil, NewState(), &script{})
	poison := slices.Clone(before.events)
	poison[2] = bytes.Clone(poison[2])
	poison[2][4] = tagPanic
	var failed *ReplayError
	_, _, _, err := replayOf(recovered{nil, 0, poison})
	if !errors.As(err, &failed) || failed.Seq != 3 || failed.Kind != KindRequest {
		t.Fatalf("error %v, want a ReplayError of event 3", err)
	}
	app, state, n, err := replayOf(recovered{nil, 0, poison}, 3)
	if err != nil || n != uint64(len(poison)) {
		t.Fatalf("%d events, %v", n, err)
	}
	second := run(poison, state, app)
	last := len(poison)
	if got, want := second.journaled(last)[:len("skip, checkpoint")], "skip, checkpoint"; got != want {
		t.Fatalf("journaled %s, want %s first", second.journaled(last), want)
	}
	app, state, _, err = replayOf(recovered{nil, 0, second.events}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := second.seq.WriteSnapshot(&want); err != nil {
		t.Fatal(err)
	}
	if got := append(sectionOf(t, state), snapshotOf(t, app)...); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the replay gives %x, the run gave %x", got, want.Bytes())
	}
	if first, err := opening(app, state); len(first) > 0 || err != nil {
		t.Errorf("the next run journals %v, %v first", first, err)
	}
	_, _, err = Replay[report, report](t.Context(), &script{}, tampered{from: uint64(last + 3)},
		recovered{nil, 0, second.events}, []durability.Seq{3})
	if err == nil || !strings.Contains(err.Error(), "checkpoint event 15") {
		t.Errorf("other outputs after the skip: error %v, want one that names checkpoint 15", err)
	}
}

// The sequencer's own records of an event that is skipped stay: a connection whose end was poisonous
// does not end again.
func TestSkippedEndOfConnectionIsStillAnEnd(t *testing.T) {
	st, _ := newLife(t, nil)
	if err := st.queue.Connected(5, trader(0)); err != nil {
		t.Fatal(err)
	}
	st.queue.Disconnected(5, trader(0))
	st.settle()
	app, state, err := st.replay(3)
	if err != nil {
		t.Fatal(err)
	}
	first, err := opening(app, state)
	if err != nil || len(first) != 1 || first[0].Kind != KindSkip || first[0].Skipped() != 3 {
		t.Errorf("the next run journals %+v, %v first; want the skip of event 3", first, err)
	}
}
