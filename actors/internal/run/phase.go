package run

import (
	"sync/atomic"
	"time"
)

// Phase is how far a pipeline has come in its life. It only advances. The methods of the pipeline
// write it, on any goroutine; the actors read it every step.
type Phase struct {
	state    atomic.Uint32 // PhaseRunning to PhaseFenced
	deadline atomic.Int64  // when shards end by force, monotonic ns; 0 if there is no deadline
}

const (
	PhaseRunning  = iota
	PhaseDraining // the producer closed the ring; all that becomes durable is delivered
	PhaseStopping // what was released is sent once more, nothing else
	PhaseFenced   // nothing is sent (R15)
)

// Advance moves to state if that is later than the current one, and sets the deadline if it is
// earlier.
func (p *Phase) Advance(state uint32, deadline int64) {
	for {
		old := p.state.Load()
		if old >= state || p.state.CompareAndSwap(old, state) {
			break
		}
	}
	for deadline != 0 {
		old := p.deadline.Load()
		if old != 0 && old <= deadline || p.deadline.CompareAndSwap(old, deadline) {
			break
		}
	}
}

// Over reports that the gate releases nothing more.
func (p *Phase) Over() bool { return p.state.Load() >= PhaseStopping }

// Ending reports that connections are to be closed once they are served.
func (p *Phase) Ending() bool { return p.state.Load() >= PhaseDraining }

// Fenced reports that no further byte may be sent.
func (p *Phase) Fenced() bool { return p.state.Load() == PhaseFenced }

// Spread is how long closing in a drain may take, in ns: the configured time, or a third of the
// time that is left if that is less.
func (p *Phase) Spread(configured, now int64) int64 {
	if d := p.deadline.Load(); d != 0 {
		return min(configured, max(d-now, 0)/3)
	}
	return configured
}

// NearDeadline reports that at most a quarter of the time that was left at since remains, and at most
// a second: clients are no longer awaited.
func (p *Phase) NearDeadline(since, now int64) bool {
	d := p.deadline.Load()
	return d != 0 && d-now <= min(int64(time.Second), max(d-since, 0)/4)
}

// Expired reports that the deadline has passed.
func (p *Phase) Expired(now int64) bool {
	d := p.deadline.Load()
	return d != 0 && now >= d
}
