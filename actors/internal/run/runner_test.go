package run

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/telemetry"
)

// scripted is an actor whose methods a test provides.
type scripted struct {
	name   string
	step   func(now int64) int
	done   func() bool
	close  func() error
	closed atomic.Int32 // written by its group, read by the test
	parked atomic.Int32 // parks minus unparks; written by its group, read by the test
	parks  atomic.Int32 // written by its group, read by the test
}

func (s *scripted) Name() string { return s.name }
func (s *scripted) Step(now int64) int {
	if s.step == nil {
		return 0
	}
	return s.step(now)
}
func (s *scripted) Done() bool { return s.done != nil && s.done() }
func (s *scripted) Close() error {
	s.closed.Add(1)
	if s.close != nil {
		return s.close()
	}
	return nil
}
func (s *scripted) Park()   { s.parked.Add(1); s.parks.Add(1) }
func (s *scripted) Unpark() { s.parked.Add(-1) }

func (s *scripted) Recorder() *telemetry.Recorder { return nil }

func startRunner(onFail func(error), groups ...*Group) (*Runner, chan error) {
	var clock atomic.Int64
	r := NewRunner(func() int64 { return clock.Add(1) }, onFail, groups...)
	ended := make(chan error, 1)
	r.Start()
	go func() { ended <- r.Wait() }()
	return r, ended
}

func idles() map[string]func() Idle {
	return map[string]func() Idle{"adaptive": func() Idle { return NewAdaptive() },
		"spin": NewSpin}
}

func TestRunnerStepsUntilDoneAndClosesOnce(t *testing.T) {
	for name, idle := range idles() {
		t.Run(name, func(t *testing.T) {
			left := 1000
			a := &scripted{name: "a"}
			a.step = func(int64) int { left--; return max(0, min(1, left)) }
			a.done = func() bool { return left <= 0 }
			// b is done once a is closed: the runner closes an actor as soon as it is done,
			// inside a group too.
			b := &scripted{name: "b", done: func() bool { return a.closed.Load() == 1 }}
			_, ended := startRunner(nil, NewGroup("g", idle(), a, b))
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if a.closed.Load() != 1 || b.closed.Load() != 1 {
				t.Errorf("closed %d and %d times, want once each", a.closed.Load(), b.closed.Load())
			}
		})
	}
}

func TestRunnerParksAndIsWokenBySignal(t *testing.T) {
	var work, seen atomic.Int64
	a := &scripted{name: "a", done: func() bool { return seen.Load() == 1000 }}
	a.step = func(int64) int {
		if w := work.Load(); w > seen.Load() {
			seen.Store(w)
			return 1
		}
		return 0
	}
	g := NewGroup("g", NewAdaptive(), a)
	_, ended := startRunner(nil, g)
	for i := int64(1); i <= 1000; i++ {
		work.Store(i) // publish, then wake
		g.Signal().Wake()
		eventually(t, "the work is seen", func() bool { return seen.Load() == i })
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a.parks.Load() == 0 || a.parked.Load() != 0 {
		t.Errorf("%d parks, %d without Unpark", a.parks.Load(), a.parked.Load())
	}
}

func TestRunnerEndsEveryGroupOnPanic(t *testing.T) {
	for name, idle := range idles() {
		t.Run(name, func(t *testing.T) {
			told := make(chan error, 2)
			sick := &scripted{name: "sick", step: func(int64) int { panic("planted") }}
			mate, other := &scripted{name: "mate"}, &scripted{name: "other"}
			_, ended := startRunner(func(err error) { told <- err },
				NewGroup("first", idle(), mate, sick), NewGroup("second", idle(), other))
			err := <-ended
			var panicked *PanicError
			if !errors.As(err, &panicked) || panicked.Actor != "sick" ||
				panicked.Value != "planted" {
				t.Fatalf("ended with %v, want the panic of sick", err)
			}
			if !strings.Contains(string(panicked.Stack), "runner_test.go") ||
				!strings.Contains(err.Error(), "runner_test.go") {
				t.Errorf("the stack does not show the panic:\n%s", panicked.Stack)
			}
			if mate.closed.Load() != 1 || other.closed.Load() != 1 || sick.closed.Load() != 0 {
				t.Errorf("closed %d, %d, %d times; want the two others once", mate.closed.Load(),
					other.closed.Load(), sick.closed.Load())
			}
			if len(told) != 1 {
				t.Errorf("onFail was called %d times, want once", len(told))
			}
		})
	}
}

// runtime.Goexit cannot be recovered, but the runner still ends in order.
func TestRunnerEndsEveryGroupOnGoexit(t *testing.T) {
	for name, idle := range idles() {
		t.Run(name, func(t *testing.T) {
			told := make(chan error, 2)
			sick := &scripted{name: "sick", step: func(int64) int { runtime.Goexit(); return 0 }}
			mate, other := &scripted{name: "mate"}, &scripted{name: "other"}
			worse := &scripted{name: "worse", close: func() error { runtime.Goexit(); return nil }}
			r, ended := startRunner(func(err error) { told <- err },
				NewGroup("first", idle(), mate, sick, worse, &scripted{name: "last"}),
				NewGroup("second", idle(), other))
			err := <-ended
			var panicked *PanicError
			if !errors.As(err, &panicked) || panicked.Actor != "sick" || panicked.Value != ErrGoexit ||
				!strings.Contains(string(panicked.Stack), "runner_test.go") ||
				!strings.Contains(err.Error(), "worse") {
				t.Fatalf("ended with %v, want the Goexit of sick with its stack", err)
			}
			if mate.closed.Load() != 1 || other.closed.Load() != 1 || sick.closed.Load() != 0 {
				t.Errorf("closed %d, %d, %d times; want the two others once", mate.closed.Load(),
					other.closed.Load(), sick.closed.Load())
			}
			if len(told) != 1 || len(r.Running()) != 0 {
				t.Errorf("onFail was called %d times, want once; running: %q", len(told), r.Running())
			}
		})
	}
}

func TestRunnerNamesRunningGroups(t *testing.T) {
	release := make(chan struct{})
	busy := &scripted{name: "busy", step: func(int64) int { <-release; return 0 },
		done: func() bool { return true }}
	r, ended := startRunner(nil, NewGroup("first", NewAdaptive(), busy, &scripted{name: "mate",
		done: func() bool { return true }}),
		NewGroup("second", NewAdaptive(), &scripted{name: "a", done: func() bool { return true }}))
	eventually(t, "only the first runs", func() bool { return len(r.Running()) == 1 })
	if got := r.Running()[0]; got != "first (busy, mate)" {
		t.Errorf("running: %q", got)
	}
	close(release)
	if err := <-ended; err != nil || len(r.Running()) != 0 {
		t.Errorf("ended with %v, running: %q", err, r.Running())
	}
}

func TestRunnerReportsFailedCloseAndPanicInClose(t *testing.T) {
	broken := errors.New("planted")
	a := &scripted{name: "a", done: func() bool { return true },
		close: func() error { return broken }}
	_, ended := startRunner(nil, NewGroup("g", NewAdaptive(), a, &scripted{name: "b"}))
	if err := <-ended; !errors.Is(err, broken) || !strings.Contains(err.Error(), "closing a") {
		t.Errorf("ended with %v, want the error of a's Close", err)
	}
	c := &scripted{name: "c", done: func() bool { return true },
		close: func() error { panic("in Close") }}
	_, ended = startRunner(nil, NewGroup("g", NewAdaptive(), c, &scripted{name: "d"}))
	var panicked *PanicError
	if err := <-ended; !errors.As(err, &panicked) || panicked.Actor != "c" {
		t.Errorf("ended with %v, want the panic in c's Close", err)
	}
}

func TestPanicInCloseClosesNoActorTwice(t *testing.T) {
	sick := &scripted{name: "sick", step: func(int64) int { panic("planted") }}
	before, after := &scripted{name: "before"}, &scripted{name: "after"}
	worse := &scripted{name: "worse", close: func() error { panic("in Close") }}
	_, ended := startRunner(nil, NewGroup("g", NewAdaptive(), before, sick, worse, after))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "planted") ||
		!strings.Contains(err.Error(), "in Close") {
		t.Errorf("ended with %v, want both panics", err)
	}
	if before.closed.Load() != 1 || worse.closed.Load() != 1 || after.closed.Load() != 1 {
		t.Errorf("closed %d, %d, %d times, want once", before.closed.Load(), worse.closed.Load(),
			after.closed.Load())
	}
}

func TestWakeBeforeSleepEndsIt(t *testing.T) {
	a := NewAdaptive()
	a.Wake()
	a.Wake()
	a.Sleep(time.Hour) // returns at once, or the test hangs
	woken := make(chan struct{})
	go func() { a.Sleep(time.Hour); close(woken) }()
	a.Wake()
	<-woken
	a.Sleep(time.Nanosecond) // and without a wake it ends by time
}

func TestOnlyAdaptiveParks(t *testing.T) {
	if !NewAdaptive().Pause(1) || NewSpin().Pause(1<<30) {
		t.Error("adaptive parks after a round without work, spin never does")
	}
}

func eventually(t *testing.T, fact string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", fact)
		}
	}
}
