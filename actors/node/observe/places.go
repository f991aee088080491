package observe

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// places limits the open connections of an HTTP endpoint. If all places are taken, the connection that
// has waited longest for a request of its client is closed for the new one, so connections that are
// only kept open never keep a probe out. Beyond that, clients wait: one accepted, others in the backlog.
//
// What was accepted is served, including at the end: another observer may have the same sockets, and
// answers what this one leaves in the backlog.
type places struct {
	net.Listener
	most int

	mu     sync.Mutex // guards all below, and the fields of placed
	free   sync.Cond  // a place may be free
	taken  map[*placed]struct{}
	closed bool
}

// placed is a connection that has a place.
type placed struct {
	net.Conn
	of    *places
	waits bool      // the client has sent nothing of a request
	since time.Time // if waits
	fresh bool      // the handler has not got its first request yet
}

func newPlaces(l net.Listener, most int) *places {
	p := &places{Listener: l, most: most, taken: make(map[*placed]struct{})}
	p.free.L = &p.mu
	return p
}

// Accept implements net.Listener.
func (p *places) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &placed{Conn: conn, of: p, waits: true, since: time.Now(), fresh: true}
	p.place(c)
	return c, nil
}

// place waits until a connection has a place, or the listener is closed: no further one comes then.
func (p *places) place(c *placed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.taken) >= p.most && !p.closed {
		if longest := p.longest(); longest != nil {
			delete(p.taken, longest)
			_ = longest.Conn.Close() // wakes its server, which closes it again
			continue
		}
		p.free.Wait()
	}
	p.taken[c] = struct{}{}
}

// first notes that the handler has the first request of a connection.
func (p *places) first(c *placed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.fresh = false
	p.free.Broadcast()
}

// settle waits, once nothing is accepted any more, until the handler has a request of each connection, or
// ctx ends. An http.Server that is shut down drops the first request of a connection.
func (p *places) settle(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil && slices.ContainsFunc(slices.Collect(maps.Keys(p.taken)),
		func(c *placed) bool { return c.fresh }) {
		p.free.Wait()
	}
}

// longest returns the connection that has waited longest for a request, nil if none waits.
func (p *places) longest() (longest *placed) {
	for c := range p.taken {
		if c.waits && (longest == nil || c.since.Before(longest.since)) {
			longest = c
		}
	}
	return longest
}

// placedOf is the connection that has the place, which may be below TLS.
func placedOf(conn net.Conn) (c *placed, ok bool) {
	if t, secure := conn.(*tls.Conn); secure {
		conn = t.NetConn()
	}
	c, ok = conn.(*placed)
	return c, ok
}

// state is the ConnState hook of the endpoint's http.Server.
func (p *places) state(conn net.Conn, state http.ConnState) {
	c, ok := placedOf(conn)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.waits = state == http.StateNew || state == http.StateIdle; c.waits {
		c.since = time.Now()
		p.free.Signal()
	}
}

// Close implements net.Listener.
func (p *places) Close() error {
	p.mu.Lock()
	p.closed = true
	p.free.Broadcast()
	p.mu.Unlock()
	return p.Listener.Close()
}

// Close implements net.Conn. It frees the place.
func (c *placed) Close() error {
	c.of.mu.Lock()
	delete(c.of.taken, c)
	c.of.free.Signal()
	c.of.mu.Unlock()
	return c.Conn.Close()
}
