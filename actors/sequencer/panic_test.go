package sequencer

import (
	"testing"

	"sluice/encode"
)

// brittle is the script with methods that panic.
type brittle struct {
	script
	check, admit bool // on a request that begins with 9
}

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
