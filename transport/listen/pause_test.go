package listen

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// filling is the tag of a request that needs room; others do not.
const filling = 0x20

// crowded is a handler with room for a number of filling requests.
type crowded struct {
	*shard
	room atomic.Int64
}

func newCrowded(t testing.TB) *crowded {
	h := &crowded{shard: newShard(t)}
	h.request = func(_ Conn, r wire.Request) error {
		if r.Tag == filling && h.room.Add(-1) < 0 {
			h.room.Add(1)
			return ErrBusy
		}
		return nil
	}
	return h
}

// fill sends n filling requests, numbered from first.
func fill(t testing.TB, c net.Conn, first, n uint64) {
	t.Helper()
	write(t, c, appendFilling(nil, first, n))
}

func appendFilling(frames []byte, first, n uint64) []byte {
	for i := range n {
		frames = wire.AppendRequest(frames, first+i, filling, make([]byte, 100))
	}
	return frames
}

// eventually waits for something that a reader does.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func paused(t testing.TB, s *Server, n int64) {
	t.Helper()
	eventually(t, "paused connections", func() bool { return s.Counters().Paused == n })
}

// While the handler has no room for the requests of one connection, everything else of its reader is
// served; with room, each of its requests is delivered once and in order.
func TestBusyHandlerPausesOneConnection(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newCrowded(t)
		s, address := openServer(t, network, h.shard, func(c *Config) { c.ReadBuffer = 4096; c.MaxRequest = 256 })
		full := greeted(t, network, address)
		const n = 200 // whose responses fit in the socket
		fill(t, full, 1, n)
		paused(t, s, 1)
		other := greeted(t, network, address)
		write(t, other, wire.AppendRequest(nil, 0, wire.TagHeartbeat, nil))
		write(t, other, wire.AppendRequest(nil, 7, 0x10, nil))
		expectEnd(t, other, 7)
		other.(interface{ CloseWrite() error }).CloseWrite()
		if g := await(t, "end", h.ended); g.requests != 1 || g.reason != transport.ReasonPeerClosed {
			t.Errorf("%d requests, %v", g.requests, g.reason)
		}
		if c := s.Counters(); c.Heartbeats != 1 || c.Requests != 1 || c.Paused != 1 || c.Live != 1 {
			t.Errorf("%+v", c)
		}
		for range n / 10 { // with little room at a time
			h.room.Add(10)
			s.Resume()
		}
		for i := range uint64(n) {
			expectEnd(t, full, 1+i)
		}
		paused(t, s, 0)
		full.Close()
		if g := await(t, "end", h.ended); g.requests != n {
			t.Errorf("%d requests were delivered", g.requests)
		}
	})
}

// What was decrypted before a pause can be longer than the read buffer. All of it is delivered, in order, also if
// the handler is full again in the middle.
func TestPausedConnectionOverTLSKeepsMoreThanAReadBuffer(t *testing.T) {
	h := newShard(t)
	var room, delivered atomic.Int64
	h.request = func(_ Conn, r wire.Request) error {
		if room.Add(-1) < 0 {
			room.Add(1)
			return ErrBusy
		}
		if n := uint64(delivered.Add(1)); r.Seq != n || binary.LittleEndian.Uint64(r.Body) != n || len(r.Body) != 100 {
			t.Errorf("request %d of %d bytes, which begin with % x, came as number %d", r.Seq, len(r.Body), r.Body[:8], n)
		}
		return nil
	}
	s, at, pinned := startTLS(t, Config{ReadBuffer: 1 << 10, MaxRequest: 256}, h, true)
	c := dial(t, "tcp", at, client.Options{TLS: pinned})
	cork(t, c, 1) // they arrive together
	const n = 100
	body := make([]byte, 100)
	for i := range uint64(n) {
		binary.LittleEndian.PutUint64(body, i+1)
		c.Send(i+1, 0x10, body)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	cork(t, c, 0)
	paused(t, s, 1)
	for range n / 10 {
		room.Add(10)
		s.Resume()
		eventually(t, "room to be used", func() bool { return room.Load() == 0 })
	}
	eventually(t, "all requests", func() bool { return delivered.Load() == n })
}

// Paused connections are tried again in the order in which they were paused. One that is above its
// room keeps its turn until what was read from it is delivered.
func TestPausedConnectionsTakeTurns(t *testing.T) {
	h := newCrowded(t)
	s, address := openServer(t, "tcp", h.shard, nil)
	const conns, n = 5, 40
	var clients [conns]net.Conn
	for i := range clients {
		clients[i] = greeted(t, "tcp", address)
		fill(t, clients[i], uint64(1000*i), n)
		paused(t, s, int64(i+1))
	}
	for i := range clients {
		h.room.Add(n)
		s.Resume()
		for k := range uint64(n) {
			expectEnd(t, clients[i], uint64(1000*i)+k)
		}
		paused(t, s, int64(conns-1-i))
	}
}

// A paused connection that ends is released, and what was not delivered is not executed.
func TestPausedConnectionEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(s *Server, c net.Conn, fd int32)
		reason transport.Reason
	}{
		"reset": {func(_ *Server, c net.Conn, _ int32) { c.(*net.TCPConn).SetLinger(0); c.Close() }, transport.ReasonPeerReset},
		"kick":  {func(_ *Server, _ net.Conn, fd int32) { unix.Shutdown(int(fd), unix.SHUT_RDWR) }, transport.ReasonLocalShutdown},
		"close": {func(s *Server, _ net.Conn, _ int32) { s.Close() }, transport.ReasonShutdown},
	} {
		t.Run(name, func(t *testing.T) {
			h := newCrowded(t)
			h.room.Store(3)
			s, address := openServer(t, "tcp", h.shard, nil)
			c := greeted(t, "tcp", address)
			fill(t, c, 1, 10)
			paused(t, s, 1)
			for i := range uint64(3) {
				expectEnd(t, c, 1+i)
			}
			test.end(s, c, await(t, "connection", h.connected).FD)
			if g := await(t, "end", h.ended); g.requests != 3 || g.reason != test.reason {
				t.Errorf("%d requests, %v; want 3, %v", g.requests, g.reason, test.reason)
			}
			paused(t, s, 0)
		})
	}
}

// A client that closes its side, or its whole socket, after its requests gets all of them executed.
func TestPausedConnectionHalfCloses(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		for name, end := range map[string]func(net.Conn) error{
			"half": func(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() },
			"full": net.Conn.Close,
		} {
			t.Run(name, func(t *testing.T) {
				h := newCrowded(t)
				h.request = func(_ Conn, r wire.Request) error {
					if h.room.Load() == 0 {
						return ErrBusy
					}
					return nil
				}
				s, address := openServer(t, network, h.shard, nil)
				c := greeted(t, network, address)
				fill(t, c, 1, 10)
				paused(t, s, 1)
				if err := end(c); err != nil {
					t.Fatal(err)
				}
				rounds := s.Rounds()[0]
				greeted(t, network, address) // so that the reader has seen the end
				before := rounds()
				for range 10 {
					greeted(t, network, address)
				}
				if n := rounds() - before; n > 200 { // it is not reported in every round
					t.Errorf("%d rounds of the reader for ten handshakes", n/2)
				}
				h.room.Store(1)
				s.Resume()
				if g := await(t, "end", h.ended); g.requests != 10 {
					t.Errorf("%d requests were delivered, %v", g.requests, g.reason)
				}
			})
		}
	})
}

// The deadline of a silent client does not run while its connection is paused, and its rate is not
// charged for a request that is tried again.
func TestPausedConnectionIsNotSilentAndNotCharged(t *testing.T) {
	h := newCrowded(t)
	const n = 5
	s, address := openServer(t, "tcp", h.shard, func(c *Config) {
		c.IdleTimeout = 100 * time.Millisecond
		c.RequestRate = Rate{PerSecond: 0.001, Burst: n}
	})
	c := raw(t, "tcp", address)
	challenged(t, c)
	write(t, c, appendFilling(plainHello(), 1, n)) // at once: it must not be silent before
	admitted(t, c)
	paused(t, s, 1)
	idle := greeted(t, "tcp", address)
	if g := await(t, "end of the idle connection", h.ended); g.reason != transport.ReasonSilent {
		t.Fatalf("%v", g.reason)
	}
	idle.Close()
	for range 3 * n {
		before := s.Rounds()[0]()
		s.Resume()
		eventually(t, "another round", func() bool { return s.Rounds()[0]() > before })
	}
	if s.Counters().Paused != 1 {
		t.Fatal("the paused connection has ended")
	}
	h.room.Add(n)
	s.Resume()
	for i := range uint64(n) {
		expectEnd(t, c, 1+i)
	}
	if g := await(t, "end", h.ended); g.reason != transport.ReasonSilent || g.requests != n {
		t.Errorf("%v after %d requests", g.reason, g.requests)
	}
}
