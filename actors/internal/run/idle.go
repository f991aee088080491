package run

import "time"

// Idle is how a group's goroutine spends the time between rounds that found no work. It is also the
// Waker behind the group's parking signal. Wake may be called from any goroutine and never blocks;
// the other methods belong to the group.
type Idle interface {
	// Wake ends the current or the next Sleep.
	Wake()
	// Pause is called after each round without work; empty counts those rounds since the last work.
	// It returns true if the runner should park.
	Pause(empty int) bool
	// Sleep waits for Wake, at most for max.
	Sleep(max time.Duration)
}

// NewSpin returns an idle strategy that never sleeps. It needs a core for every group; with more
// groups than cores it starves them.
func NewSpin() Idle { return spin{} }

type spin struct{}

func (spin) Wake()                {}
func (spin) Pause(empty int) bool { return false }
func (spin) Sleep(time.Duration)  {}

// NewAdaptive returns an idle strategy that sleeps on a channel token until it is woken. A goroutine
// that sleeps this way gives up its core at once, which a raw futex or eventfd wait does not
// (docs/decisions/0010). Further rounds before the sleep cost CPU and save no time (0045).
func NewAdaptive() Idle {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &adaptive{token: make(chan struct{}, 1), timer: t}
}

type adaptive struct {
	token chan struct{}
	timer *time.Timer
}

func (a *adaptive) Wake() {
	select {
	case a.token <- struct{}{}:
	default: // the sleeper will find the token that is already there
	}
}

func (*adaptive) Pause(int) bool { return true }

func (a *adaptive) Sleep(max time.Duration) {
	select {
	case <-a.token:
		return
	default:
	}
	a.timer.Reset(max)
	select {
	case <-a.token:
		a.timer.Stop()
	case <-a.timer.C:
	}
}
