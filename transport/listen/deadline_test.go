package listen

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

const second = int64(time.Second)

// stepped is a reader without its goroutine: the test collects events and advances the clock.
type stepped struct {
	*reader
	h   *shard
	now int64
}

func newStepped(t *testing.T, cfg Config) *stepped {
	t.Helper()
	noLeak(t)
	h := newShard(t)
	cfg.Refused = func(c Conn, reason transport.Reason) { h.refused <- gone{conn: c, reason: reason} }
	s, err := New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newReader(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.closeAll(); r.file.Close() })
	return &stepped{reader: r, h: h}
}

// connect hands the reader one end of a socket pair and returns the other. If the endpoint is open, it
// does the handshake.
func (s *stepped) connect(t *testing.T) *os.File {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.server.counters.handshakes.Add(1)
	s.begin(arrival{fd: int32(pair[0])}, s.now)
	peer := os.NewFile(uintptr(pair[1]), "peer")
	t.Cleanup(func() { peer.Close() })
	if s.server.cfg.Endpoints[0].Open {
		peer.Write(plainHello())
		s.advance(0)
		challenged(t, peer)
		admitted(t, peer)
	}
	return peer
}

// advance advances the clock and runs one round of the reader.
func (s *stepped) advance(d time.Duration) {
	s.now += int64(d)
	s.collect()
	s.step(s.now)
}

func (s *stepped) over() bool { return len(s.h.refused)+len(s.h.ended) > 0 }

func TestHandshakeTimesOutAfterFiveSecondsInTotal(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s"}}, Keys: keyring(t)})
	peer := s.connect(t)
	for i := range 9 { // one byte every half second; with a deadline per read this would go on for ever
		peer.Write([]byte{0x69, 0, 0, 0, 0, 0, 0, 0, 0}[i : i+1])
		s.advance(time.Second / 2)
		if s.over() {
			t.Fatalf("ended after %v", time.Duration(s.now))
		}
	}
	peer.Write([]byte{0})
	s.advance(time.Second/2 - 1)
	if s.over() {
		t.Fatalf("ended after %v", time.Duration(s.now))
	}
	if next := s.nextDeadline(); next != 5*second {
		t.Errorf("the reader would wake at %v", time.Duration(next))
	}
	peer.Write([]byte{0})
	s.advance(1)
	if g := await(t, "refusal", s.h.refused); g.reason != transport.ReasonHandshakeTimeout {
		t.Errorf("refused with %v", g.reason)
	}
	challenged(t, peer)
	rejected(t, peer, wire.Close{Reason: wire.CloseHandshakeTimeout, RetryAfter: time.Second})
	if s.table.used != 0 || len(s.nonces) != 0 {
		t.Errorf("%d records and %d nonces are left", s.table.used, len(s.nonces))
	}
}

func TestHelloThatIsReadLateIsAccepted(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s"}}, Keys: keyring(t)})
	_, key := keyPair(0)
	peer := s.connect(t)
	c := fileConn(t, peer)
	write(t, c, answer(t, c, key))
	s.now = 60 * second // the handler held the reader up
	s.expire(s.now)
	await(t, "connection", s.h.connected)
}

func TestHandshakeTimeoutIsShorterWhileAllPlacesAreTaken(t *testing.T) {
	s := newStepped(t, Config{
		Endpoints: []Endpoint{{Network: "unix", Address: "s"}}, Keys: keyring(t),
		MaxHandshakes: 2, HandshakeTimeout: 8 * time.Second,
	})
	s.connect(t)
	s.advance(5 * time.Second)
	if s.over() {
		t.Fatal("ended while a place was free")
	}
	s.connect(t)
	s.advance(0)
	if g := await(t, "refusal", s.h.refused); g.reason != transport.ReasonTooManyHandshakes {
		t.Errorf("refused with %v", g.reason)
	}
	s.advance(3 * time.Second)
	if s.over() {
		t.Error("the second handshake was ended although a place was free")
	}
}

func TestSilentClientIsDisconnectedAndHeartbeatsPreventIt(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	alive, _ := s.connect(t), s.connect(t) // the older one stays alive
	second, first := await(t, "connection", s.h.connected), await(t, "connection", s.h.connected)
	s.advance(20 * time.Second)
	alive.Write([]byte(wire.ClientHeartbeat))
	s.advance(10*time.Second - 1)
	if s.over() {
		t.Fatal("ended early")
	}
	s.advance(1)
	if g := await(t, "end", s.h.ended); g.reason != transport.ReasonSilent ||
		g.conn.ID != first.ID || g.requests != 0 {
		t.Fatalf("ended with %+v", g)
	}
	s.advance(30*time.Second - 2)
	if s.over() {
		t.Fatal("the second client was ended early")
	}
	s.advance(1)
	if g := await(t, "end", s.h.ended); g.reason != transport.ReasonSilent || g.conn.ID != second.ID {
		t.Fatalf("ended with %+v", g)
	}
}

func TestClientWithUnreadBytesIsNotSilent(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	peer := s.connect(t)
	peer.Write([]byte(wire.ClientHeartbeat)[:5])
	s.now = 31 * second
	s.expire(s.now) // without collecting events: the deadline is handled first
	if s.over() {
		t.Fatal("ended although its bytes were not read yet")
	}
	s.advance(30 * time.Second)
	if !s.over() {
		t.Fatal("never ended")
	}
}

func TestBufferOfAnIncompleteFrameIsFreedWithItsConnection(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	for range 10 {
		peer := s.connect(t)
		peer.Write([]byte(wire.ClientHeartbeat)[:5])
		s.advance(0)
		peer.Close()
		s.advance(0)
		if g := await(t, "end", s.h.ended); g.reason != transport.ReasonPeerClosed {
			t.Errorf("ended with %v", g.reason)
		}
	}
	if all, unused := len(s.leftovers.bufs), len(s.leftovers.free); all != 1 || unused != 1 {
		t.Errorf("%d buffers, %d of them unused", all, unused)
	}
	if n := s.server.counters.truncated.Load(); n != 10 {
		t.Errorf("%d truncated frames counted", n)
	}
}

func TestSignatureChecksPerRoundAreBounded(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s"}}, Keys: keyring(t)})
	_, key := keyPair(0)
	for range 2 * signaturesPerRun {
		peer := s.connect(t)
		c := fileConn(t, peer)
		write(t, c, answer(t, c, key))
	}
	for round := 1; round <= 2; round++ {
		s.advance(0)
		if n := len(s.h.connected); n != round*signaturesPerRun {
			t.Fatalf("round %d: %d connections", round, n)
		}
	}
}

func TestExpiredConnectionsPerRoundAreBounded(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	for range 2*expiriesPerRun + 1 {
		s.connect(t)
	}
	for round := 1; round <= 3; round++ {
		s.advance(time.Minute)
		if n := len(s.h.ended); n != min(round*expiriesPerRun, 2*expiriesPerRun+1) {
			t.Fatalf("round %d: %d ended", round, n)
		}
	}
}
