package run

// This file holds what simulators, benchmarks and tests use to run groups without the runner's
// goroutines.

// Groups are the groups of the runner.
func (r *Runner) Groups() []*Group { return r.groups }

// SetClock replaces the clock of a runner that has not been started.
func (r *Runner) SetClock(clock func() int64) { r.clock = clock }

// RunGroup runs a group on the calling goroutine until no actor is left.
func (r *Runner) RunGroup(g *Group) { r.run(g) }

// Failure is the first error so far.
func (r *Runner) Failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Token is the channel that wakes an idle strategy of NewAdaptive.
func Token(idle Idle) chan struct{} { return idle.(*adaptive).token }
