package listen

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

func TestKnownKeyGetsItsRole(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
			Keys: keyring(t)}, h)
		for seed, role := range []Role{Trader, Operator} {
			public, private := keyPair(byte(seed))
			c := dial(t, network, address, client.Options{Key: private})
			conn := await(t, "connection", h.connected)
			if conn.Role != role || conn.Key != FingerprintOf(public) || conn.Listener != network {
				t.Errorf("connected as %v, want role %v and key %v", conn, role, FingerprintOf(public))
			}
			if network == "unix" && (conn.UID != uint32(os.Getuid()) || conn.Remote.IsValid()) {
				t.Errorf("connected as %v, want uid %d and no address", conn, os.Getuid())
			}
			if local := c.NetConn().LocalAddr().String(); network == "tcp" &&
				(conn.UID != NoUID || conn.Remote.String() != local) {
				t.Errorf("connected as %v, want address %s and no uid", conn, local)
			}
			c.Close()
			if g := await(t, "end", h.ended); g.reason != transport.ReasonPeerClosed || g.requests != 0 {
				t.Errorf("ended with %+v", g)
			}
		}
	})
}

func TestOpenEndpointNeedsNoKey(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, true)}}, h)
		c := dial(t, network, address, client.Options{})
		if conn := await(t, "connection", h.connected); conn.Role != Trader || conn.Key != (Fingerprint{}) {
			t.Errorf("connected as %v", conn)
		}
		c.Send(1, 0x10, []byte("x"))
		c.Flush()
		expect(t, c, wire.TagBatchEnd)
	})
}

// answer returns the Hello of a client with the given key to the challenge that it reads.
func answer(t *testing.T, c io.Reader, key ed25519.PrivateKey) []byte {
	t.Helper()
	challenge := challenged(t, c)
	if !challenge.Sign {
		t.Error("the challenge needs no signature")
	}
	hello := signedHello(key, challenge.Nonce)
	return wire.AppendHello(nil, &hello)
}

func TestBadHellosAreRejectedWithTheirReason(t *testing.T) {
	_, known := keyPair(0)
	_, unknown := keyPair(2)
	unauthorized := wire.Close{Reason: wire.CloseUnauthorized, RetryAfter: wire.Never}
	malformed := wire.Close{Reason: wire.CloseProtocolError, RetryAfter: wire.Never}
	for _, v := range []struct {
		name   string
		reason transport.Reason
		end    wire.Close
		frame  func(c net.Conn) []byte
	}{
		{"unknown key", transport.ReasonUnknownKey, unauthorized,
			func(c net.Conn) []byte { return answer(t, c, unknown) }},
		{"wrong signature", transport.ReasonBadSignature, unauthorized, func(c net.Conn) []byte {
			b := answer(t, c, known)
			b[20] ^= 1
			return b
		}},
		{"signature of the nonce alone", transport.ReasonBadSignature, unauthorized, func(c net.Conn) []byte {
			nonce := challenged(t, c).Nonce
			return wire.AppendHello(nil, &wire.Hello{Version: 1, Signature: ed25519.Sign(known, nonce[:]),
				Key: known[32:]})
		}},
		{"signature of another key", transport.ReasonBadSignature, unauthorized, func(c net.Conn) []byte {
			b := answer(t, c, unknown)
			copy(b[len(b)-32:], known[32:])
			return b
		}},
		{"Hello of another connection", transport.ReasonBadSignature, unauthorized, func(c net.Conn) []byte {
			challenged(t, c)
			hello := signedHello(known, [wire.NonceSize]byte{1}) // recorded there
			return wire.AppendHello(nil, &hello)
		}},
		{"no signature", transport.ReasonNoSignature, unauthorized,
			func(c net.Conn) []byte { answer(t, c, known); return plainHello() }},
		{"request instead of a Hello", transport.ReasonHandshakeMalformed, malformed,
			func(c net.Conn) []byte { answer(t, c, known); return wire.AppendRequest(nil, 1, 0x10, nil) }},
		{"Hello one byte short", transport.ReasonHandshakeMalformed, malformed, func(c net.Conn) []byte {
			b := answer(t, c, known)
			return wire.AppendRequest(nil, 0, wire.TagHello, b[13:len(b)-1])
		}},
		{"version 0", transport.ReasonHandshakeMalformed, malformed, func(c net.Conn) []byte {
			b := answer(t, c, known)
			b[13] = 0
			return b
		}},
		{"frame of 257 bytes", transport.ReasonHandshakeMalformed, malformed, func(c net.Conn) []byte {
			answer(t, c, known)
			return wire.AppendRequest(nil, 0, wire.TagHello, make([]byte, 257-13))[:4]
		}},
		{"frame of 256 bytes that is not a Hello", transport.ReasonHandshakeMalformed, malformed,
			func(c net.Conn) []byte {
				answer(t, c, known)
				return wire.AppendRequest(nil, 0, 0x10, make([]byte, 256-13))
			}},
		{"bad Hello, then more than is read at once", transport.ReasonUnknownKey, unauthorized,
			func(c net.Conn) []byte {
				return append(answer(t, c, unknown), make([]byte, 100<<10)...)
			}},
	} {
		t.Run(v.name, func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				h := newShard(t)
				s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
					Keys: keyring(t)}, h)
				c := raw(t, network, address)
				// The server may end the connection before it has taken the last byte.
				if _, err := c.Write(v.frame(c)); err != nil && !errors.Is(err, syscall.EPIPE) {
					t.Fatal(err)
				}
				rejected(t, c, v.end)
				if g := await(t, "refusal", h.refused); g.reason != v.reason || g.conn.ID != 0 ||
					g.conn.FD != -1 {
					t.Errorf("refused with %+v, want %v", g, v.reason)
				}
				if n := s.Counters().Ended[v.reason]; n != 1 {
					t.Errorf("counted %d", n)
				}
			})
		})
	}
}

// Whether a peer closes or resets, before the challenge or after it: the handler never owned the
// connection.
func TestPeerThatLeavesDuringTheHandshakeHasItsOwnReason(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
			Keys: keyring(t)}, h)
		_, key := keyPair(0)
		const each = 20 // closing races with the challenge
		leave := map[string]func(c net.Conn){
			"at once":             func(net.Conn) {},
			"after the challenge": func(c net.Conn) { answer(t, c, key) },
			"with a reset": func(c net.Conn) {
				answer(t, c, key)
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.SetLinger(0)
				}
			},
			"within its Hello": func(c net.Conn) { write(t, c, answer(t, c, key)[:50]) },
		}
		for name, before := range leave {
			for range each {
				c := raw(t, network, address)
				before(c)
				c.Close()
				if g := await(t, "refusal", h.refused); g.reason != transport.ReasonHandshakeLost {
					t.Fatalf("%s: refused with %v", name, g.reason)
				}
			}
		}
		if n := s.Counters().Ended[transport.ReasonHandshakeLost]; n != each*uint64(len(leave)) {
			t.Errorf("counted %d", n)
		}
	})
}

func TestClientReportsWhyTheHandshakeFailed(t *testing.T) {
	h := newShard(t)
	_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", false)}, Keys: keyring(t)}, h)
	_, unknown := keyPair(2)
	if _, err := client.Dial(context.Background(), "tcp", address,
		client.Options{Key: unknown}); !errors.Is(err, client.ErrAuthFailed) {
		t.Errorf("unknown key: %v", err)
	}
	if _, err := client.Dial(context.Background(), "tcp", address,
		client.Options{}); !errors.Is(err, client.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestNewKeysApplyToLaterHandshakes(t *testing.T) {
	h := newShard(t)
	s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", false)}, Keys: keyring(t)}, h)
	public, private := keyPair(3)
	if _, err := client.Dial(context.Background(), "tcp", address,
		client.Options{Key: private}); !errors.Is(err, client.ErrAuthFailed) {
		t.Fatalf("before: %v", err)
	}
	keys, err := ParseKeys("new", bytes.NewReader(AppendKeyLine(nil, Readonly, public, "")))
	if err != nil {
		t.Fatal(err)
	}
	s.SetKeys(keys)
	dial(t, "tcp", address, client.Options{Key: private})
	if c := await(t, "connection", h.connected); c.Role != Readonly {
		t.Errorf("connected as %v", c)
	}
}

func TestRequestsSentBeforeServerReadyAreDelivered(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
			Keys: keyring(t)}, h)
		_, key := keyPair(0)
		c := raw(t, network, address)
		b := answer(t, c, key)
		b = wire.AppendRequest(b, 1, 0x10, make([]byte, 600)) // longer than the limit of a handshake frame
		b = wire.AppendRequest(b, 2, 0x11, []byte("two"))
		write(t, c, b)
		admitted(t, c)
		expectEnd(t, c, 1)
		expectEnd(t, c, 2)
		if r := h.requests(); len(r) != 2 || r[0].Seq != 1 || len(r[0].Body) != 600 ||
			string(r[1].Body) != "two" {
			t.Fatalf("delivered %+v", r)
		}
	})
}

func TestHandshakeThatNeverEndsDoesNotBlockOthers(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := start(t, Config{
			Endpoints: []Endpoint{endpoint(t, network, false)}, Keys: keyring(t),
			Readers: 2, HandshakeTimeout: time.Hour,
		}, h)
		_, key := keyPair(0)
		drip := raw(t, network, address)
		for _, b := range answer(t, drip, key)[:20] {
			write(t, drip, []byte{b})
		}
		var wait sync.WaitGroup
		for range 200 {
			wait.Go(func() {
				c, err := client.Dial(context.Background(), network, address, client.Options{Key: key})
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		wait.Wait()
		for range 200 {
			await(t, "end", h.ended)
		}
	})
}

// Four peers hold all four places for handshakes. While all are taken, the timeout is shorter, so
// other clients are admitted. A client whose own handshake timed out tries again.
func TestPlacesHeldBySlowHandshakesAreFreedForOthers(t *testing.T) {
	h := newShard(t)
	s, address := start(t, Config{
		Endpoints: []Endpoint{endpoint(t, "tcp", false)}, Keys: keyring(t), MaxHandshakes: 4,
		HandshakeTimeout: 4 * timeoutDivisor * 500 * time.Millisecond,
	}, h)
	_, key := keyPair(0)
	held := make([]net.Conn, 4)
	for i := range held {
		held[i] = raw(t, "tcp", address)
		answer(t, held[i], key)
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		c, err := client.Dial(ctx, "tcp", address, client.Options{Key: key})
		cancel()
		if err == nil {
			c.Close()
			break
		}
		var end *client.CloseError
		if !errors.As(err, &end) || end.Reason != wire.CloseLimit && end.Reason != wire.CloseHandshakeTimeout {
			t.Fatal(err)
		}
	}
	if c := s.Counters(); c.Ended[transport.ReasonTooManyHandshakes] == 0 || c.HandshakePauses == 0 {
		t.Errorf("no handshake was ended early: %+v", c)
	}
}

func TestPermitsAreTakenAfterTheHandshakeAndReleasedOnce(t *testing.T) {
	each(t, testPermits)
}

func testPermits(t *testing.T, network string) {
	h := newShard(t)
	fail := errors.New("no")
	h.connect = func(c Conn) error {
		if c.Role == Operator {
			return fail
		}
		return nil
	}
	var mu sync.Mutex
	taken, most := 0, 0
	_, address := start(t, Config{
		Endpoints: []Endpoint{endpoint(t, network, false)}, Keys: keyring(t),
		Reserve: func(c Conn) transport.Reason {
			if c.ID == 0 || c.Key == (Fingerprint{}) {
				t.Errorf("a permit is taken for %v", c)
			}
			mu.Lock()
			defer mu.Unlock()
			if taken == 2 {
				return transport.ReasonConnectionLimit
			}
			taken++
			most = max(most, taken)
			return 0
		},
		Release: func(Conn) { mu.Lock(); taken--; mu.Unlock() },
	}, h)
	_, trader := keyPair(0)
	_, operator := keyPair(1)
	dial(t, network, address, client.Options{Key: trader})
	refused := raw(t, network, address)
	write(t, refused, answer(t, refused, operator)) // Connect fails: its permit is released
	admitted(t, refused)
	rejected(t, refused, wire.Close{Reason: wire.CloseInternal, RetryAfter: time.Second})
	if g := await(t, "refusal", h.refused); g.reason != transport.ReasonConnectFailed {
		t.Errorf("refused with %v", g.reason)
	}
	dial(t, network, address, client.Options{Key: trader})
	var end *client.CloseError
	_, err := client.Dial(context.Background(), network, address, client.Options{Key: trader})
	if !errors.As(err, &end) || end.Reason != wire.CloseLimit || end.RetryAfter != time.Second {
		t.Errorf("the third connection got %v", err)
	}
	if g := await(t, "refusal", h.refused); g.reason != transport.ReasonConnectionLimit {
		t.Errorf("refused with %v", g.reason)
	}
	mu.Lock()
	defer mu.Unlock()
	if taken != 2 || most != 2 {
		t.Errorf("%d permits taken, at most %d", taken, most)
	}
}
