package observe

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// places limits the open connections of an HTTP endpoint. If all places are taken, the connection that
// has waited longest for a request of its client is closed for the new one, so connections that are
// only kept open never keep a probe out. Beyond that, clients wait: one accepted, others in the backlog.
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
	c := &placed{Conn: conn, of: p, waits: true, since: time.Now()}
	if !p.place(c) {
		_ = conn.Close() // nothing was sent
		return nil, net.ErrClosed
	}
	return c, nil
}

// place waits until a connection has a place. It returns false if the listener is closed.
func (p *places) place(c *placed) bool {
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
	if p.closed {
		return false
	}
	p.taken[c] = struct{}{}
	return true
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

// state is the ConnState hook of the endpoint's http.Server.
func (p *places) state(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*placed)
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
