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

// answer returns the ChallengeResponse of a client with the given key to the challenge that it
// reads.
func answer(t *testing.T, c net.Conn, key ed25519.PrivateKey) []byte {
	t.Helper()
	challenge := make([]byte, wire.ChallengeFrameSize)
	if _, err := io.ReadFull(c, challenge); err != nil {
		t.Fatal(err)
	}
	tag, nonce, _, err := wire.NextResponse(challenge, wire.MaxHandshake)
	if err != nil || tag != wire.TagChallenge {
		t.Fatalf("challenge is % x, error %v", challenge, err)
	}
	signature := [64]byte(ed25519.Sign(key, nonce))
	return wire.AppendChallengeResponse(nil, &signature, (*[32]byte)(key[32:]))
}

func TestBadChallengeResponsesAreRejectedWithAuthFailed(t *testing.T) {
	_, known := keyPair(0)
	_, unknown := keyPair(2)
	for _, v := range []struct {
		name   string
		reason transport.Reason
		frame  func(t *testing.T, c net.Conn) []byte
	}{
		{"unknown key", transport.ReasonUnknownKey,
			func(t *testing.T, c net.Conn) []byte { return answer(t, c, unknown) }},
		{"wrong signature", transport.ReasonBadSignature, func(t *testing.T, c net.Conn) []byte {
			b := answer(t, c, known)
			b[20] ^= 1
			return b
		}},
		{"signature of another key", transport.ReasonBadSignature, func(t *testing.T, c net.Conn) []byte {
			b := answer(t, c, unknown)
			copy(b[len(b)-32:], known[32:])
			return b
		}},
		{"request instead of a ChallengeResponse", transport.ReasonHandshakeMalformed,
			func(t *testing.T, c net.Conn) []byte {
				answer(t, c, known)
				return wire.AppendRequest(nil, 1, 0x10, nil)
			}},
		{"ChallengeResponse one byte short", transport.ReasonHandshakeMalformed,
			func(t *testing.T, c net.Conn) []byte {
				answer(t, c, known)
				return wire.AppendRequest(nil, 0, wire.TagChallengeResponse, make([]byte, 95))
			}},
		{"frame of 257 bytes", transport.ReasonHandshakeMalformed, func(t *testing.T, c net.Conn) []byte {
			answer(t, c, known)
			return wire.AppendRequest(nil, 0, wire.TagChallengeResponse, make([]byte, 257-13))[:4]
		}},
		{"frame of 256 bytes that is not a ChallengeResponse", transport.ReasonHandshakeMalformed,
			func(t *testing.T, c net.Conn) []byte {
				answer(t, c, known)
				return wire.AppendRequest(nil, 0, wire.TagChallengeResponse, make([]byte, 256-13))
			}},
	} {
		t.Run(v.name, func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				h := newShard(t)
				s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
					Keys: keyring(t)}, h)
				c := raw(t, network, address)
				write(t, c, v.frame(t, c))
				if got, err := io.ReadAll(c); string(got) != wire.AuthFailed || err != nil {
					t.Errorf("received % x, error %v", got, err)
				}
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
			"within its ChallengeResponse": func(c net.Conn) { write(t, c, answer(t, c, key)[:50]) },
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
		got := make([]byte, len(wire.ReadyFrame)+2*len(wire.BatchEnd))
		if _, err := io.ReadFull(c, got); err != nil ||
			string(got) != wire.ReadyFrame+wire.BatchEnd+wire.BatchEnd {
			t.Fatalf("received % x, error %v", got, err)
		}
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
		HandshakeTimeout: 4 * timeoutDivisor * 100 * time.Millisecond,
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
		if !errors.Is(err, client.ErrAuthFailed) {
			t.Fatal(err)
		}
	}
	if c := s.Counters(); c.Ended[transport.ReasonTooManyHandshakes] == 0 || c.HandshakePauses == 0 {
		t.Errorf("no handshake was ended early: %+v", c)
	}
}

func TestPermitsAreTakenAfterTheHandshakeAndReleasedOnce(t *testing.T) {
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
		Endpoints: []Endpoint{endpoint(t, "tcp", false)}, Keys: keyring(t),
		Reserve: func() bool {
			mu.Lock()
			defer mu.Unlock()
			if taken == 2 {
				return false
			}
			taken++
			most = max(most, taken)
			return true
		},
		Release: func() { mu.Lock(); taken--; mu.Unlock() },
	}, h)
	_, trader := keyPair(0)
	_, operator := keyPair(1)
	dial(t, "tcp", address, client.Options{Key: trader})
	refused := raw(t, "tcp", address)
	write(t, refused, answer(t, refused, operator)) // Connect fails: its permit is released
	if got, _ := io.ReadAll(refused); string(got) != wire.ReadyFrame {
		t.Errorf("received % x", got)
	}
	if g := await(t, "refusal", h.refused); g.reason != transport.ReasonConnectFailed {
		t.Errorf("refused with %v", g.reason)
	}
	dial(t, "tcp", address, client.Options{Key: trader})
	if _, err := client.Dial(context.Background(), "tcp", address, client.Options{Key: trader}); err == nil {
		t.Error("a third connection was accepted")
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
