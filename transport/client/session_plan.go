package client

import (
	"errors"
	"slices"
	"time"
)

// plan chooses the address and the time of the next attempt.
//
// The next address is the one that a server has sent the client to. Otherwise it is the next in order,
// except those that a server asked not to be visited yet. Until every address has failed once, the
// next one is tried at once; after that the delay doubles with each round. So it does with each
// direction in a row after the first, because servers may send a client to each other. Half of each
// delay is random, so that the clients of a server that restarts do not come back together.
type plan struct {
	addresses []string
	address   string               // the next; not one of addresses if a server named it
	earliest  map[string]time.Time // not before, as a Close asked; no entry: at any time
	last      int                  // index in addresses of the last one that was tried
	failures  int                  // since a connection that lasted
	hops      int                  // directions in a row, without a connection that lasted min
	min, max  time.Duration
	random    func() float64 // in [0, 1)
}

func newPlan(addresses []string, least, most time.Duration, random func() float64) *plan {
	return &plan{addresses: addresses, address: addresses[0], earliest: make(map[string]time.Time),
		min: least, max: most, random: random}
}

// failed records the end of a connection or of an attempt, and returns the delay before the next. to
// is where the server sent the client; empty: nowhere. served is how long the connection lasted; 0 if
// there was none.
func (p *plan) failed(err error, to string, now time.Time, served time.Duration) time.Duration {
	if served >= p.max {
		p.failures = 0
	}
	if served >= p.min || to == "" {
		p.hops = 0
	}
	var end *CloseError
	if errors.As(err, &end) && end.RetryAfter > 0 {
		p.earliest[p.address] = now.Add(end.RetryAfter)
	}
	for address, at := range p.earliest {
		if !at.After(now) {
			delete(p.earliest, address)
		}
	}
	if i := slices.Index(p.addresses, p.address); i >= 0 {
		p.last = i
	}
	if p.address = to; to != "" {
		p.hops++
		return max(p.backoff(p.hops-1), p.earliest[to].Sub(now))
	}
	p.failures++
	for i := range p.addresses { // the first in order of those that may be visited soonest
		next := p.addresses[(p.last+1+i)%len(p.addresses)]
		if i == 0 || p.earliest[next].Before(p.earliest[p.address]) {
			p.address = next
		}
	}
	return max(p.backoff(p.failures/len(p.addresses)), p.earliest[p.address].Sub(now))
}

// backoff is the delay of a round of attempts; none in round 0.
func (p *plan) backoff(round int) time.Duration {
	if round == 0 {
		return 0
	}
	delay := p.max
	if shift := round - 1; shift < 32 && p.min<<shift>>shift == p.min {
		delay = min(p.max, p.min<<shift)
	}
	return delay/2 + time.Duration(p.random()*float64(delay)/2)
}
