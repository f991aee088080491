package sequencer

import (
	"sync/atomic"
	"time"
)

// useEvery is the least time between two looks at what an application uses of its limits.
const useEvery = 100 * time.Millisecond

// uses is what an application uses of its limits. The zero value is for one without limits.
type uses struct {
	app    Limited
	names  []string
	due    int64 // of the next look, monotonic ns
	events uint64
	last   []Use
	shared []atomic.Uint64 // used and limit, in turn; read by any goroutine
}

func usesOf(app any) (u uses) {
	if limited, ok := app.(Limited); ok {
		u.app, u.names = limited, limited.Limits()
		u.last, u.shared = make([]Use, len(u.names)), make([]atomic.Uint64, 2*len(u.names))
		u.look()
	}
	return u
}

// step looks, if it is time and there were events since the last look.
func (u *uses) step(now int64, events uint64) {
	if u.app == nil || now < u.due || events == u.events {
		return
	}
	u.due, u.events = now+int64(useEvery), events
	u.look()
}

func (u *uses) look() {
	u.app.Use(u.last)
	for i, use := range u.last {
		u.shared[2*i].Store(use.Used)
		u.shared[2*i+1].Store(use.Limit)
	}
}

// Limits names the limits of the application; empty if it has none. Any goroutine.
func (s *Sequencer[R, Q]) Limits() []string { return s.uses.names }

// Use is what the application used, at most a moment ago, of the limit with an index of Limits. Any goroutine.
func (s *Sequencer[R, Q]) Use(limit int) Use {
	return Use{s.uses.shared[2*limit].Load(), s.uses.shared[2*limit+1].Load()}
}
