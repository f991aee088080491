package trials

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// between carries the connections of the nodes of a cluster to one another, and disturbs them. The address
// of each node in the membership leads here. It knows from the hello of a connection whose it is.
//
//	node 1 ── hello: 1 to 2, append ──> between ══ bytes from 1 to 2 ══> node 2
//	       <══ bytes from 2 to 1 ══════         <── hello ────────────
type between struct {
	listeners []net.Listener
	done      sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	weather map[route]weather
	open    map[net.Conn]route // every connection, and the node that sends to it
	closed  bool
	cuts    int
}

// route is a direction: from a node to another one, on a lane.
type route struct {
	from, to int
	lane     int // 1 to lanes
}

// lanes is the number of connections that each node has to each other one.
const lanes = 3

// weather is what happens to the bytes of a route. The zero value: nothing.
type weather struct {
	held bool          // nothing arrives before it ends; no connection notices
	late time.Duration // each piece arrives up to this time later
	cut  float64       // probability that the connection breaks at a piece, in the midst of it
}

func newBetween(t testing.TB) *between {
	b := &between{weather: make(map[route]weather), open: make(map[net.Conn]route)}
	b.changed = sync.NewCond(&b.mu)
	t.Cleanup(b.end)
	return b
}

// lead returns an address that leads to a node, which listens on another one.
func (b *between) lead(_ int, listen string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	b.listeners = append(b.listeners, l)
	b.done.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				b.done.Go(func() { b.carry(conn, listen) })
			}
		}
	})
	return l.Addr().String(), nil
}

// end closes everything, and returns when nothing is left.
func (b *between) end() {
	for _, l := range b.listeners {
		_ = l.Close()
	}
	b.mu.Lock()
	b.closed = true
	for c := range b.open {
		_ = c.Close()
	}
	b.changed.Broadcast()
	b.mu.Unlock()
	b.done.Wait()
}

// The head of a hello, see transport/peer: a frame's length, kind and sum; magic, two protocols, the identity
// of the cluster; then from, to and lane.
const (
	helloFrom  = 4 + 1 + 4 + 8 + 2 + 16
	helloBytes = helloFrom + 3
)

// carry carries a connection until it ends.
func (b *between) carry(dialler net.Conn, listen string) {
	defer dialler.Close()
	head := make([]byte, helloBytes)
	if !b.enter(dialler, route{}) {
		return
	}
	defer b.leave(dialler)
	if _, err := io.ReadFull(dialler, head); err != nil || binary.LittleEndian.Uint32(head) > 16<<10 {
		return
	}
	there := route{int(head[helloFrom]), int(head[helloFrom+1]), int(head[helloFrom+2])}
	back := route{there.to, there.from, there.lane}
	acceptor, err := net.Dial("tcp", listen)
	if err != nil {
		return
	}
	defer acceptor.Close()
	if !b.enter(dialler, there) || !b.enter(acceptor, back) {
		return
	}
	defer b.leave(acceptor)
	var both sync.WaitGroup
	both.Go(func() { b.pass(acceptor, dialler, there, head) })
	both.Go(func() { b.pass(dialler, acceptor, back, nil) })
	both.Wait()
}

// enter notes a connection, unless everything has ended.
func (b *between) enter(c net.Conn, of route) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[c] = of
	}
	return !b.closed
}

func (b *between) leave(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}

// pass carries one direction. first has arrived already.
func (b *between) pass(to, from net.Conn, r route, first []byte) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	n := copy(buf, first)
	for {
		if n == 0 {
			var err error
			if n, err = from.Read(buf); err != nil {
				return
			}
		}
		late, cut := b.wait(r)
		if cut {
			_, _ = to.Write(buf[:n/2])
			return
		}
		if late > 0 {
			<-time.After(late) // what arrives meanwhile is later, too
			b.wait(r)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		n = 0
	}
}

// wait waits while a route is held, and draws what happens to a piece.
func (b *between) wait(r route) (late time.Duration, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.weather[r].held && !b.closed {
		b.changed.Wait()
	}
	w := b.weather[r]
	if w.late > 0 {
		late = rand.N(w.late)
	}
	if cut = w.cut > 0 && rand.Float64() < w.cut; cut {
		b.cuts++
	}
	return late, cut
}

// set sets the weather of all routes for which it is called with true.
func (b *between) set(w weather, which func(r route) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.listeners)
	for from := 1; from <= n; from++ {
		for to := 1; to <= n; to++ {
			for lane := 1; lane <= lanes; lane++ {
				if r := (route{from, to, lane}); from != to && which(r) {
					b.weather[r] = w
				}
			}
		}
	}
	b.changed.Broadcast()
}

// clear ends all weather.
func (b *between) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.weather)
	b.changed.Broadcast()
}

// breakAll breaks the connections that carry bytes on the routes, at the same time.
func (b *between) breakAll(which func(r route) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, r := range b.open {
		if r.from != 0 && which(r) {
			_ = c.Close()
			b.cuts++
		}
	}
}
