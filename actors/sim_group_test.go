package actors

import (
	"iter"
	"slices"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
)

// simGroup is one goroutine of the real Runner, run as a coroutine: it stops at every look at the
// clock, between rounds, when it would sleep, and inside the application's encoder, and the world
// decides which one continues. It is the group's Idle.
type simGroup struct {
	w       *world
	group   *run.Group
	resume  func() (struct{}, bool)
	yield   func(struct{}) bool
	token   chan struct{} // of the adaptive idle strategy that the mailboxes' signal wakes
	asleep  bool
	until   int64 // asleep at most until then
	over    bool
	starved int64 // gets no processor until then

	// After a sleep that was not ended by a wake the group runs one round without a stop. It must
	// find nothing: everything that makes work for a group wakes it.
	napped bool
	looks  int // at the clock, since the nap
}

// newGroup makes the coroutine of a group of the runner.
func (w *world) newGroup(r *run.Runner, g *run.Group) *simGroup {
	s := &simGroup{w: w, group: g, token: run.Token(g.Idle)}
	g.Idle = s
	s.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		r.RunGroup(g)
	})
	return s
}

// ready reports that the group can continue.
func (s *simGroup) ready() bool {
	return !s.over && s.w.now >= s.starved && (!s.asleep || len(s.token) > 0 || s.w.now >= s.until)
}

// step lets the group continue to its next stop.
func (s *simGroup) step() {
	s.w.current = s
	_, ok := s.resume()
	s.w.current = nil
	s.over = !ok
}

// stop hands over to the world.
func (s *simGroup) stop() {
	s.yield(struct{}{})
	s.w.current = s
}

// Wake implements Idle.
func (s *simGroup) Wake() {
	select {
	case s.token <- struct{}{}:
	default:
	}
}

// Pause implements Idle.
func (s *simGroup) Pause(empty int) bool {
	s.napped = false
	s.stop()
	return empty > s.w.swarm.spins
}

// Sleep implements Idle.
func (s *simGroup) Sleep(time.Duration) {
	s.w.stats.Parks++
	if len(s.token) == 0 && slices.Contains(s.group.Actors, run.Actor(s.w.p.gate)) {
		s.w.oracle.asleep()
	}
	s.asleep, s.until = true, s.w.now+1+int64(s.w.r.n(s.w.swarm.sleep))
	if len(s.token) == 0 {
		s.stop()
	}
	s.asleep = false
	select {
	case <-s.token:
	default:
		s.w.stats.Naps++
		s.napped, s.looks = !s.timers(), 0
	}
}

// timers reports that the group has work that time made, not another: a heartbeat went out in the
// last look before the sleep and awaits its entry in the ledger, or reports to the producer of topics
// found no room and are offered again.
func (s *simGroup) timers() bool {
	return s.has(func(e *shard.Shard) bool { return e.Unaccounted() > 0 || e.Untold() > 0 })
}

// has reports that a shard of the group is as f says.
func (s *simGroup) has(f func(*shard.Shard) bool) bool {
	return slices.ContainsFunc(s.group.Actors, func(a run.Actor) bool {
		e, ok := a.(*shard.Shard)
		return ok && f(e)
	})
}

// clock is what the Runner reads.
func (w *world) clock() int64 {
	s := w.current
	if !s.napped {
		s.stop()
		return w.now
	}
	// The first look ends the sleep, the second begins the round, a third follows a step that did
	// something. At the end connections are closed by the clock alone, and a tick may have sent
	// the first part of a tape.
	switch s.looks++; {
	case s.looks <= 2 || w.p.phase.Ending():
	case s.has((*shard.Shard).GoesOn):
		s.napped = false
	default:
		w.fail("%s had work when its sleep timed out, and it had not been woken: a lost wake-up (I12)", s.group.Name)
	}
	return w.now
}

// simSource is the cursors as the gate sees them: now and then a snapshot is refused because a
// writer is at work, which wakes the gate when done.
type simSource struct {
	*durability.Cursors
	w *world
}

// Snapshot implements durability.Source.
func (s simSource) Snapshot(v *durability.View) bool {
	if s.w.faults && s.w.r.oneIn(s.w.swarm.torn) {
		s.w.stats.Torn++
		s.w.current.Wake()
		v.Len = 0
		return false
	}
	return s.Cursors.Snapshot(v)
}
