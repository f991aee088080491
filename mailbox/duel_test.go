package mailbox

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// duel runs n rounds of two concurrent steps: left in a goroutine of its own and right in this one.
// The functions before and after (nil for none) run before and after every round. The starts are
// staggered by a few nanoseconds, differently in each round, so that the steps overlap at every
// point. On a single core they cannot: only the model then detects a wrong order.
func duel(n int, before, left, right, after func()) {
	var started, ended atomic.Int64
	lefts, rights := newSleeper(), newSleeper()
	// await spins for about the duration of a step and then sleeps: on a busy machine the other
	// thread may not be running.
	await := func(v *atomic.Int64, round int64, s *sleeper) {
		reached := func() bool { return v.Load() == round }
		for range rounds(2000) {
			if reached() {
				return
			}
		}
		for !reached() {
			s.sleepUnless(reached)
		}
	}
	stagger := func(spins int64) {
		for range spins {
			started.Load()
		}
	}
	go func() {
		for round := range int64(n) {
			await(&started, round+1, lefts)
			stagger(round % 64)
			left()
			ended.Store(round + 1)
			rights.signal.Wake()
		}
	}()
	for round := range int64(n) {
		if before != nil {
			before()
		}
		started.Store(round + 1)
		lefts.signal.Wake()
		stagger(round / 64 % 64)
		right()
		await(&ended, round+1, rights)
		if after != nil {
			after()
		}
	}
}

// TestSleepRacingHandOverIsNotMissed lets a goroutine go to sleep at the moment at which something
// is handed over to it. Either its re-check finds it or the goroutine is woken; neither would be a
// lost wake-up.
func TestSleepRacingHandOverIsNotMissed(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("needs two cores: on one the two steps never overlap")
	}
	woken := false
	s := NewSignal(wakeFunc(func() { woken = true }))
	w, r := NewSPSC[int](1)
	r.SetSignal(s)
	w.SetSignal(s)
	send, receive := NewMPSC[int](2)
	receive.SetSignal(s)
	cases := []struct {
		name     string
		handOver func()
		recheck  func() bool
		undo     func()
	}{
		{"publish", func() { w.Commit(len(w.Claim(1))); w.Publish() },
			func() bool { return r.Batch(1) != nil }, func() { r.Release(1) }},
		{"send", func() { send.TrySend(1) }, func() bool { _, ok := receive.Recv(); return ok },
			func() { receive.Recv() }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			lost, found, n := 0, false, rounds(200_000)
			duel(n, func() { woken = false }, c.handOver, func() {
				s.Prepare()
				found = c.recheck()
			}, func() {
				if !found && !woken {
					lost++
				}
				s.Cancel()
				c.undo()
			})
			if lost != 0 {
				t.Errorf("%d of %d wake-ups lost", lost, n)
			}
		})
	}
}
