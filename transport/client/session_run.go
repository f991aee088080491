package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"sluice/transport/wire"
)

// run connects, serves the connection and starts over, until the session ends.
func (s *Session) run(ctx context.Context) {
	defer close(s.done)
	defer s.cancel()
	plan := newPlan(s.addresses, s.options.MinBackoff, s.options.MaxBackoff, rand.Float64)
	for {
		address := plan.address()
		s.options.OnState(State{Phase: Connecting, Address: address})
		began, err := time.Now(), error(nil)
		conn, err := s.connect(ctx, address)
		if err == nil {
			err = s.serve(ctx, conn, address)
		}
		if ctx.Err() != nil {
			err = ErrSessionClosed
		}
		if s.options.Once || final(err) || ctx.Err() != nil {
			s.end(address, err)
			return
		}
		wait := plan.failed(err, time.Now(), conn != nil && time.Since(began) >= s.options.MaxBackoff)
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
		s.options.OnState(State{Phase: Disconnected, Address: address, Err: err, Next: plan.address(),
			In: wait})
		if !pause(ctx, wait) {
			s.end(address, ErrSessionClosed)
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// end makes the error final, for all requests that wait and that come.
func (s *Session) end(address string, err error) {
	s.mu.Lock()
	s.ended = err
	for _, c := range s.waiting {
		c.err = fmt.Errorf("%w: %w", ErrNotSent, err)
		close(c.placed)
	}
	s.waiting = nil
	s.announce()
	s.mu.Unlock()
	s.options.OnState(State{Phase: Ended, Address: address, Err: err})
}

// announce wakes Ready. The caller holds the mutex.
func (s *Session) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// network is that of an address: "unix" for a path or an abstract name, else "tcp".
func network(address string) string {
	if strings.ContainsAny(address, `/\@`) {
		return "unix"
	}
	return "tcp"
}

// connect makes a connection and does the handshake.
func (s *Session) connect(ctx context.Context, address string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.DialTimeout)
	defer cancel()
	dial := s.options.Dial
	if dial == nil {
		dial = s.options.Conn.dialer(network(address)).DialContext
	}
	raw, err := dial(ctx, network(address), address)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	conn, err := New(ctx, &watchedConn{Conn: raw}, s.options.Conn)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// serve uses a connection until it ends, and returns why.
func (s *Session) serve(ctx context.Context, conn *Conn, address string) error {
	s.options.OnState(State{Phase: Ready, Address: address, Server: conn.Server()})
	l := newLink(s, conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go l.write()
	s.mu.Lock()
	s.link, s.failure = l, nil
	s.announce()
	s.place()
	s.mu.Unlock()

	err := l.read()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = fmt.Errorf("client: the connection to %s ended without a reason: %w", address, err)
	}
	s.mu.Lock()
	s.link = nil
	s.mu.Unlock()
	close(l.stop)
	_ = conn.Close() // ends a write that is in progress
	<-l.stopped
	if ctx.Err() != nil {
		err = ErrSessionClosed
	}
	l.fail(err)
	return err
}

// final reports whether another attempt is pointless or unwanted.
func final(err error) bool {
	if errors.Is(err, ErrNoKey) || errors.Is(err, ErrNotChallenged) {
		return true
	}
	var end *CloseError
	if !errors.As(err, &end) {
		return false
	}
	switch end.Reason {
	case wire.CloseUnauthorized, wire.CloseProtocolError, wire.CloseRevoked:
		return true
	}
	return end.RetryAfter < 0
}

// plan chooses the address and the time of the next attempt.
//
// The next address is the next in order, except those that a server asked not to be visited yet.
// Until every address has failed once, the next one is tried at once; after that the delay doubles
// with each round. Half of each delay is random, so that the clients of a server that restarts do
// not come back together.
type plan struct {
	addresses []string
	earliest  []time.Time // by address: not before, as a Close asked
	at        int         // index of the next address
	failures  int         // since a connection that lasted
	min, max  time.Duration
	random    func() float64 // in [0, 1)
}

func newPlan(addresses []string, least, most time.Duration, random func() float64) *plan {
	return &plan{addresses: addresses, earliest: make([]time.Time, len(addresses)), min: least, max: most,
		random: random}
}

func (p *plan) address() string { return p.addresses[p.at] }

// failed records the end of a connection or of an attempt, and returns the delay before the next.
func (p *plan) failed(err error, now time.Time, lasted bool) time.Duration {
	if lasted {
		p.failures = 0
	}
	p.failures++
	p.earliest[p.at] = now
	var end *CloseError
	if errors.As(err, &end) {
		p.earliest[p.at] = now.Add(end.RetryAfter)
	}
	next := -1
	for i := range p.addresses { // the first in order of those that may be visited soonest
		k := (p.at + 1 + i) % len(p.addresses)
		if p.earliest[k].Before(now) {
			p.earliest[k] = now
		}
		if next < 0 || p.earliest[k].Before(p.earliest[next]) {
			next = k
		}
	}
	p.at = next
	return max(p.backoff(), p.earliest[next].Sub(now))
}

// backoff is the delay of the round of attempts.
func (p *plan) backoff() time.Duration {
	round := p.failures / len(p.addresses)
	if round == 0 {
		return 0
	}
	delay := p.max
	if shift := round - 1; shift < 32 && p.min<<shift>>shift == p.min {
		delay = min(p.max, p.min<<shift)
	}
	return delay/2 + time.Duration(p.random()*float64(delay)/2)
}
