package observe

import "time"

// periodic calls a function at an interval, on a goroutine of its own, until close.
type periodic struct{ quit, done chan struct{} }

func every(interval time.Duration, do func(now time.Time)) *periodic {
	p := &periodic{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.quit:
				return
			case now := <-tick.C:
				do(now)
			}
		}
	}()
	return p
}

// close returns once the last call has returned. It is called once.
func (p *periodic) close() {
	close(p.quit)
	<-p.done
}
