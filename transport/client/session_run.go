package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
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
		address := plan.address
		s.options.OnState(State{Phase: Connecting, Address: address})
		began, err := time.Now(), error(nil)
		conn, err := s.connect(ctx, address)
		if err == nil {
			err = s.serve(ctx, conn, address)
		}
		if ctx.Err() != nil {
			err = ErrSessionClosed
		}
		to, served := s.destination(address, err), time.Duration(0)
		if conn != nil {
			served = time.Since(began)
		}
		if final(err) || ctx.Err() != nil || s.options.Once && (conn != nil || to == "") {
			s.end(address, err)
			return
		}
		wait := plan.failed(err, to, time.Now(), served)
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
		s.options.OnState(State{Phase: Disconnected, Address: address, Err: err, Next: plan.address,
			In: wait, Directed: to != ""})
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
	for _, b := range s.topics {
		b.end(err)
	}
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
	conn, err := New(ctx, &watchedConn{Conn: raw}, s.options.Conn.named(network(address), address))
	if err == nil && !conn.Server().Leads {
		err = whereTo(ctx, conn)
	}
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// whereTo waits for the Close of a server that does not lead. No request is sent to it.
func whereTo(ctx context.Context, conn *Conn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		tag, _, err := conn.Next()
		switch {
		case err == nil && tag == wire.TagHeartbeat:
		case err == nil:
			return fmt.Errorf("client: protocol error: tag %#02x from a server that does not lead", tag)
		case ctx.Err() != nil:
			return fmt.Errorf("client: the server does not lead, and has not said where to go: %w",
				context.Cause(ctx))
		default:
			return err
		}
	}
}

// destination returns where the server at an address has sent the client, if the client may follow.
func (s *Session) destination(from string, err error) string {
	var end *CloseError
	if !errors.As(err, &end) || end.Address == "" || s.options.checkAddress(end.Address) != nil {
		return ""
	}
	known := slices.Contains(s.addresses, end.Address)
	if !known && (s.options.Pinned || network(end.Address) == "unix" && network(from) != "unix") {
		return ""
	}
	return end.Address
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
	s.resubscribe()
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
