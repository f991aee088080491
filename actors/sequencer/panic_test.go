package sequencer

import (
	"errors"
	"strings"
	"testing"

	"sluice/encode"
)

// brittle is the script with methods that panic.
type brittle struct {
	script
	check, admit bool   // on a request that begins with 9
	tick, use    uint64 // NextTick and Use panic after this event
}

func (b *brittle) NextTick() int64 {
	if b.tick > 0 && b.seq == b.tick {
		panic("planted in NextTick")
	}
	return 0
}

func (b *brittle) Connected(ev *Event, _ Emitter[report, report]) { b.seq = ev.Seq }

func (*brittle) Disconnected(*Event, Emitter[report, report]) {}

func (*brittle) Limits() []string { return nil }

func (b *brittle) Use([]Use) {
	if b.use > 0 && b.seq == b.use {
		panic("planted in Use")
	}
}

func (*brittle) Tick(*Event, Emitter[report, report]) {}

func (b *brittle) Check(ev *Event) error { return b.judge(ev, b.check) }

func (b *brittle) Admit(ev *Event) error { return b.judge(ev, b.admit) }

func (b *brittle) judge(ev *Event, panics bool) error {
	if panics && len(ev.Body) > 0 && ev.Body[0] == 9 {
		panic("planted")
	}
	return nil
}

// newBrittle is a stage with a brittle application.
func newBrittle(t *testing.T, app *brittle, poisoned map[uint64]struct{}) *stage {
	return newStage(t, 16, func(c *Config[report, report]) { c.Application, c.Poisoned = app, poisoned })
}

// fails steps the sequencer and returns the panic that ends it.
func (st *stage) fails() *PanicError {
	st.t.Helper()
	st.seq.Step(st.now)
	err, ok := st.seq.Close().(*PanicError)
	if !ok {
		st.t.Fatal("the sequencer goes on")
	}
	return err
}

// A request that panics before Apply is refused in the next run, like one that panics in it.
func TestPoisonedRequestIsNotJudgedAgain(t *testing.T) {
	for name, app := range map[string]*brittle{"Check": {check: true}, "Admit": {admit: true}} {
		t.Run(name, func(t *testing.T) {
			st := newBrittle(t, app, nil)
			st.put(5, tagEvent, 9)
			err := st.fails()
			st = newBrittle(t, app, map[uint64]struct{}{err.Hash: {}})
			st.put(5, tagEvent, 9)
			st.put(5, tagEvent, 5)
			st.settle()
			if got := st.pass(); len(got) != 2 || got[0].Refusal != encode.RefusedMalformed || got[1].Refusal != 0 {
				t.Errorf("answered by %+v, want a refusal and a report", got)
			}
			if err := st.seq.Close(); err != nil {
				t.Errorf("the next run ends with %v", err)
			}
		})
	}
}

// An event after which NextTick panics is not journaled, whatever its kind, and neither are its outputs.
func TestPanicOfNextTickIsNotJournaled(t *testing.T) {
	for kind, next := range map[Kind]func(*stage){
		KindRequest: func(st *stage) { st.put(5, tagEvent, 5) },
		KindConnected: func(st *stage) {
			if err := st.queue.Connected(6, trader(0)); err != nil {
				st.t.Fatal(err)
			}
		},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			st := newBrittle(t, &brittle{tick: 2}, nil)
			st.put(1, tagEvent, 1)
			next(st)
			if err := st.fails(); err.Seq != 2 || err.Kind != kind {
				t.Errorf("error of event %d (%s), want event 2 (%s)", err.Seq, err.Kind, kind)
			}
			st.take()
			if got := describe(st.slots.Batch(16)); len(st.events) != 1 || got != "1:R@1!" {
				t.Errorf("%d events and slots %s, want those of event 1", len(st.events), got)
			}
		})
	}
}

// An application that panics on the state of a replay is an error of New, not its panic.
func TestPanicAtStartIsError(t *testing.T) {
	cfg := newBrittle(t, &brittle{}, nil).seq.cfg
	app := &brittle{tick: 3}
	app.seq = 3
	cfg.Application, cfg.State.last = app, 3
	_, err := New(cfg)
	var p *PanicError
	if !errors.As(err, &p) || p.Seq != 3 || p.Hash != 0 || !strings.Contains(err.Error(), "brittle).NextTick") {
		t.Errorf("error %v, want a PanicError after event 3 that names NextTick", err)
	}
}

// A panic of Use is not that of the request before it, which must not be refused from then on.
func TestPanicOfUseIsOfNoRequest(t *testing.T) {
	st := newBrittle(t, &brittle{use: 1}, nil)
	st.put(1, tagEvent, 1)
	if err := st.fails(); err.Seq != 1 || err.Kind != 0 || err.Hash != 0 {
		t.Errorf("error after event %d of a %s with hash %x, want event 1 and no hash", err.Seq, err.Kind, err.Hash)
	}
}
