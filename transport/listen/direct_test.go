package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// notLeader is the Close of a directing server.
func notLeader(address string) wire.Close {
	return wire.Close{Reason: wire.CloseNotLeader, RetryAfter: 100 * time.Millisecond, Address: address}
}

func TestDirectedClientIsToldWhereToGo(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		for _, leader := range []string{"node-2:7000", ""} {
			h := newShard(t)
			cfg := Config{Endpoints: []Endpoint{endpoint(t, network, false), endpoint(t, network, true)},
				Keys: keyring(t), Direct: func() (string, bool) { return leader, true },
				Reserve: func(c Conn) transport.Reason { t.Errorf("a permit was taken for %v", c); return 0 },
				Release: func(Conn) {}}
			s, address := start(t, cfg, h)
			_, known := keyPair(0)
			_, unknown := keyPair(2)
			for _, v := range []struct {
				at     string
				hello  func(c net.Conn) []byte
				reason transport.Reason
			}{
				{address, func(c net.Conn) []byte { return answer(t, c, known) }, transport.ReasonNotLeader},
				{address, func(c net.Conn) []byte { return answer(t, c, unknown) }, transport.ReasonUnknownKey},
				{s.Addresses()[1], func(c net.Conn) []byte { challenged(t, c); return plainHello() },
					transport.ReasonNotLeader},
			} {
				c := raw(t, network, v.at)
				write(t, c, append(v.hello(c), wire.AppendRequest(nil, 1, 0x10, nil)...))
				want := wire.Close{Reason: wire.CloseUnauthorized, RetryAfter: wire.Never}
				if v.reason == transport.ReasonNotLeader {
					if ready := admitted(t, c); ready.Leads {
						t.Errorf("%+v", ready)
					}
					want = notLeader(leader)
				}
				rejected(t, c, want)
				if g := await(t, "refusal", h.refused); g.reason != v.reason {
					t.Errorf("refused with %v, want %v", g.reason, v.reason)
				}
			}
			if len(h.connected) != 0 || len(h.requests()) != 0 || s.Counters().Handshakes != 0 {
				t.Errorf("%d connections, %d requests, %d handshakes", len(h.connected), len(h.requests()),
					s.Counters().Handshakes)
			}
		}
	})
}

func TestClientReportsTheAddressOfTheLeader(t *testing.T) {
	_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", true)},
		Direct: func() (string, bool) { return "node-2:7000", true }}, newShard(t))
	c := dial(t, "tcp", address, client.Options{})
	_, _, err := c.Next()
	var end *client.CloseError
	if c.Server().Leads || !errors.As(err, &end) || end.Close != notLeader("node-2:7000") ||
		!strings.Contains(err.Error(), `not_leader (go to "node-2:7000")`) {
		t.Errorf("%+v, %v", c.Server(), err)
	}
}

// A server directs clients, leads, and directs again: connections that it served meanwhile stay.
func TestDirectingIsJudgedForEachClient(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		var direct atomic.Bool
		direct.Store(true)
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, true)},
			Direct: func() (string, bool) { return "b:1", direct.Load() }}, h)
		away := func() {
			c := raw(t, network, address)
			if greet(t, c).Leads {
				t.Error("a directing server leads")
			}
			rejected(t, c, notLeader("b:1"))
		}
		away()
		direct.Store(false)
		c := raw(t, network, address)
		if !greet(t, c).Leads {
			t.Error("the server does not lead")
		}
		direct.Store(true)
		away()
		write(t, c, wire.AppendRequest(nil, 9, 0x10, nil))
		expectEnd(t, c, 9)
	})
}

func TestHandshakesAreDirectedWhenTheServerEnds(t *testing.T) {
	h := newShard(t)
	var direct atomic.Bool
	s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", true)},
		Direct: func() (string, bool) { return "b:1", direct.Load() }}, h)
	c := raw(t, "tcp", address)
	challenged(t, c)
	direct.Store(true)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	rejected(t, c, notLeader("b:1"))
}

// Servers take turns at a socket of the caller, as a node does that gains and loses the lead. Every
// client that connects meanwhile gets an orderly answer.
func TestServersFollowOneAnotherAtASocket(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		socket, err := net.Listen(network, endpoint(t, network, true).Address)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		address := socket.Addr().String()
		h := newShard(t)
		serve := func(direct bool) *Server {
			s, err := New(Config{Endpoints: []Endpoint{{Socket: socket, Open: true}},
				Direct: func() (string, bool) { return "b:1", direct }}, h)
			if err == nil {
				err = s.Listen()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Addresses()[0]; got != address {
				t.Errorf("the address is %q, want %q", got, address)
			}
			s.Serve()
			return s
		}
		var clients sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					c, err := client.Dial(ctx, network, address, client.Options{})
					cancel()
					var end *client.CloseError
					if err != nil && !errors.As(err, &end) {
						t.Errorf("a client was refused: %v", err)
						return
					}
					if err == nil {
						c.Close()
					}
				}
			})
		}
		old := serve(true)
		for i := range 20 {
			next := serve(i%2 == 1) // both share the socket for a moment
			old.StopAccepting()
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			c := raw(t, network, address)
			if ready := greet(t, c); ready.Leads != (i%2 == 0) {
				t.Errorf("server %d: %+v", i, ready)
			}
			c.Close()
			old = next
		}
		close(stop)
		clients.Wait()
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		if network == "unix" {
			if _, err := os.Lstat(address); err != nil {
				t.Errorf("the caller's socket file: %v", err)
			}
		}
		raw(t, network, address) // the socket still listens
		if c, err := socket.Accept(); err != nil {
			t.Error(err)
		} else {
			c.Close()
		}
	})
}

// opaque is a listener without a descriptor.
type opaque struct{ net.Listener }

func TestUnusableSocketsOfCallersAreRejected(t *testing.T) {
	noLeak(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	everywhere, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	named, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	for name, v := range map[string]struct {
		socket     net.Listener
		congestion string
		want       string
	}{
		"closed":     {closed, "", "cannot be used"},
		"opaque":     {opaque{named}, "", "has no descriptor"},
		"congestion": {everywhere, "none-such", "congestion control"},
		"open":       {everywhere, "", "not a loopback address"},
	} {
		s, err := New(Config{Endpoints: []Endpoint{{Socket: v.socket, Open: true,
			ForceOpen: name == "congestion"}}, Sockets: Sockets{Congestion: v.congestion}}, newShard(t))
		if err == nil {
			err = s.Bind()
		}
		if err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %v, want %q", name, err, v.want)
		}
	}
}

// While another server is about to accept from the same sockets, clients stay in the backlog.
func TestClientsWaitForTheNextServer(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		held, release, err := Hold(Config{Endpoints: []Endpoint{endpoint(t, network, true)}})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		asked := make(chan struct{})
		first, address := start(t, Config{Endpoints: held, Wait: func() bool {
			select {
			case asked <- struct{}{}:
			default:
			}
			return true
		}}, newShard(t))
		c := raw(t, network, address)
		for range 3 { // at least two calls of Wait after the client came
			await(t, "call of Wait", asked)
		}
		if n := first.Counters().Accepted; n != 0 {
			t.Errorf("%d clients were accepted", n)
		}
		h := newShard(t)
		start(t, Config{Endpoints: held}, h)
		challenged(t, c)
		write(t, c, plainHello())
		admitted(t, c)
		await(t, "client of the next server", h.connected)
	})
}
