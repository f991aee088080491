package run

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/mailbox"
	"sluice/telemetry"
)

// SleepMax bounds how long a parked group sleeps without being woken. Timers (heartbeats,
// slow-client limits) are this precise when nothing else happens.
const SleepMax = 50 * time.Millisecond

// Group is a set of actors that share one goroutine, one idle strategy and one parking signal.
// Which actors share a group is configuration; the actors do not depend on it.
type Group struct {
	Name   string
	Actors []Actor
	Idle   Idle
	Lock   bool // keep the goroutine on one OS thread, for placements with a core per group
	CPU    int  // with Lock: pin the thread to this CPU; -1 leaves it to the scheduler

	signal *mailbox.Signal
	ended  atomic.Bool // its goroutine has returned
}

// NewGroup makes a group and its signal. Signal belongs to the mailboxes that the actors read or
// wait for room in.
func NewGroup(name string, idle Idle, a ...Actor) *Group {
	return &Group{Name: name, Actors: a, Idle: idle, CPU: -1, signal: mailbox.NewSignal(idle)}
}

// Signal is the parking flag of the group's goroutine.
func (g *Group) Signal() *mailbox.Signal { return g.signal }

// Runner owns the goroutines: it loops, reads the clock, idles, recovers panics and stops. The
// actors only step.
type Runner struct {
	clock  func() int64
	groups []*Group
	ended  sync.WaitGroup

	failed atomic.Bool // written by the first failing group, read by all groups every round
	mu     sync.Mutex  // guards err and onFail
	err    error
	onFail func(error)

	panicked func(actor string, value any, stack []byte) error // makes the error of a panic
}

// PanicError is the end of a runner whose actor panicked (R32).
type PanicError struct {
	Actor string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("%s panicked: %v\n%s", e.Actor, e.Value, strings.TrimSpace(string(e.Stack)))
}

func newPanicError(actor string, value any, stack []byte) error {
	return &PanicError{Actor: actor, Value: value, Stack: stack}
}

// NewRunner makes a runner. clock returns monotonic ns. onFail is called once, on the failing
// goroutine, with the first error; by then every group has been told to end.
func NewRunner(clock func() int64, onFail func(error), groups ...*Group) *Runner {
	return &Runner{clock: clock, groups: groups, onFail: onFail, panicked: newPanicError}
}

// SetPanicError replaces the function that makes the error of a panic, which is a *PanicError by
// default. Call it before Start.
func (r *Runner) SetPanicError(
	f func(actor string, value any, stack []byte) error,
) {
	r.panicked = f
}

// Start starts one goroutine for each group.
func (r *Runner) Start() {
	for _, g := range r.groups {
		r.ended.Add(1)
		go pprof.Do(context.Background(), pprof.Labels("sluice", g.Name), func(context.Context) {
			defer r.ended.Done()
			defer g.ended.Store(true)
			r.run(g)
		})
	}
}

// Wait returns after every group has ended, with the first error.
func (r *Runner) Wait() error {
	r.ended.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Running names the groups whose goroutines have not returned, with their actors. Any goroutine.
func (r *Runner) Running() (names []string) {
	for _, g := range r.groups {
		if g.ended.Load() {
			continue
		}
		var actors []string
		for _, a := range g.Actors {
			actors = append(actors, a.Name())
		}
		names = append(names, fmt.Sprintf("%s (%s)", g.Name, strings.Join(actors, ", ")))
	}
	return names
}

// Wake makes every group check its inboxes and flags. Any goroutine.
func (r *Runner) Wake() {
	for _, g := range r.groups {
		g.Idle.Wake()
	}
}

// run runs rounds of one group until no actor is left.
func (r *Runner) run(g *Group) {
	if g.Lock {
		runtime.LockOSThread()
		unpin, err := pin(g.CPU)
		if err != nil {
			r.fail(fmt.Errorf("group %s cannot be pinned to CPU %d: %w", g.Name, g.CPU, err))
		}
		defer func() {
			if unpin() == nil {
				runtime.UnlockOSThread()
			} // else no other goroutine may get the thread: it ends with this one
		}()
	}
	live := Members(g.Actors)
	empty := 0
	for now := r.clock(); len(live) > 0; {
		var work int
		live, work, now = r.Round(live, now)
		if work > 0 {
			empty = 0
			continue
		}
		empty++
		sleepy := g.Idle.Pause(empty)
		then := r.clock()
		for i := range live {
			live[i].count(telemetry.RunnerIdle, telemetry.RunnerSpinTime, 0, then-now)
		}
		now = then
		if sleepy && len(live) > 0 {
			live = r.park(g, live)
			now = r.clock()
		}
	}
}

// park sleeps unless a last round finds work. The order matters: set the flag, run a round, then
// sleep. A producer publishes, then reads the flag; so either the round sees what was published, or
// the producer sees the flag. What a ring completes between that round and the sleep is reported by
// Ring.Park, which wakes at once if something can be reaped.
func (r *Runner) park(g *Group, live []Member) []Member {
	g.signal.Prepare()
	var work int
	live, work, _ = r.Round(live, r.clock())
	if work == 0 && len(live) > 0 && !r.failed.Load() {
		for i := range live {
			live[i].Park()
		}
		began := r.clock()
		g.Idle.Sleep(SleepMax)
		slept := r.clock() - began
		for i := range live {
			live[i].Unpark()
			live[i].count(telemetry.RunnerParks, telemetry.RunnerParkedTime, 1, slept)
		}
	}
	g.signal.Cancel()
	return live
}

// passes bounds how often a round gathers: a slot ring of the usual size is emptied in half of
// them.
const passes = 64

// ErrGoexit is the value of the panic error of an actor that called runtime.Goexit, as FailNow of a
// test does. It cannot be recovered: the goroutine ends after the other actors of its group were
// closed.
var ErrGoexit = errors.New("runtime.Goexit was called, perhaps by FailNow of a test")

// Round steps every live actor at least once and closes those that are done. After a failure it
// closes all of them. now is the current time; the time that it returns is close to the current one
// if there was work.
func (r *Runner) Round(live []Member, now int64) (left []Member, work int, then int64) {
	turn := turn{runner: r, live: live, now: now}
	returned := false
	defer func() {
		v := recover()
		if v == nil && !returned {
			v = ErrGoexit
		}
		if v != nil {
			r.fail(r.panicked(turn.live[turn.current].Name(), v, debug.Stack()))
			turn.remove()
			turn.work++
		}
		for v == ErrGoexit && len(turn.live) > 0 { // no round follows: close them here
			turn.live, _, _ = r.Round(turn.live, turn.now)
		}
		left, work, then = turn.live, turn.work, turn.now
	}()
	if r.failed.Load() {
		// One by one: after a Close that panics, those after it are closed in the next round.
		for turn.work = 1; len(turn.live) > 0; turn.remove() {
			r.close(turn.live[turn.current].Actor)
		}
		returned = true
		return
	}
	for pass, before := 0, -1; pass < passes && turn.work > before; pass++ {
		before = turn.work
		if turn.gather() {
			break
		}
	}
	turn.flush()
	returned = true
	return
}

// turn is one round in progress.
type turn struct {
	runner  *Runner
	live    []Member
	current int // index in live of the actor that runs
	now     int64
	work    int
}

// gather steps the actors that pass their work on at once, and lets the others gather. It reports
// whether one of those has enough.
func (t *turn) gather() (enough bool) {
	for t.current = 0; t.current < len(t.live); {
		a := &t.live[t.current]
		if a.gatherer == nil {
			t.step(a)
			continue
		}
		n, full := a.gatherer.Gather(t.now)
		if n > 0 {
			t.worked(a, n)
		}
		enough = enough || full
		t.current++
	}
	return enough
}

// flush steps the actors that gathered.
func (t *turn) flush() {
	for t.current = 0; t.current < len(t.live); {
		if a := &t.live[t.current]; a.gatherer == nil {
			t.current++
		} else {
			t.step(a)
		}
	}
}

// step steps the current actor and moves on to the next one.
func (t *turn) step(a *Member) {
	n := a.Step(t.now)
	if n > 0 {
		t.worked(a, n)
	} else {
		a.count(telemetry.RunnerIdle, telemetry.RunnerSpinTime, 1, 0)
		if a.Done() {
			t.runner.close(a.Actor)
			t.remove()
			t.work++ // what it closed may end another actor
			return
		}
	}
	t.current++
}

// worked counts work that took time: the next actor gets a new time.
func (t *turn) worked(a *Member, n int) {
	t.work += n
	began := t.now
	t.now = t.runner.clock()
	a.count(telemetry.RunnerBusy, telemetry.RunnerBusyTime, 1, t.now-began)
}

// remove removes the current actor.
func (t *turn) remove() {
	t.live = append(t.live[:t.current:t.current], t.live[t.current+1:]...)
}

// Member is an actor of a group with its optional abilities, determined once because a round needs
// them several times.
type Member struct {
	Actor
	gatherer Gatherer            // nil if it passes its work on in Step
	rec      *telemetry.Recorder // nil if its steps are not counted
}

// Members determines what each actor can do.
func Members(actors []Actor) []Member {
	all := make([]Member, len(actors))
	for i, a := range actors {
		all[i].Actor = a
		all[i].gatherer, _ = a.(Gatherer)
		all[i].rec = a.Recorder()
	}
	return all
}

func (m *Member) count(steps, spent telemetry.Counter, n uint64, ns int64) {
	if m.rec != nil {
		b := m.rec.B
		b.C[steps] += n
		b.C[spent] += uint64(max(ns, 0))
	}
}

func (r *Runner) close(a Actor) {
	if err := a.Close(); err != nil {
		r.fail(fmt.Errorf("closing %s: %w", a.Name(), err))
	}
}

// fail records the first error and tells every group to end.
func (r *Runner) fail(err error) {
	r.mu.Lock()
	first := r.err == nil
	if first {
		r.err = err
	} else {
		r.err = errors.Join(r.err, err)
	}
	r.mu.Unlock()
	r.failed.Store(true)
	r.Wake()
	if first && r.onFail != nil {
		r.onFail(err)
	}
}
