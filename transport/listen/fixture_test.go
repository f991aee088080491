package listen

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/secure"
	"sluice/transport/wire"
)

// patience bounds waits for events that must happen. Reaching it is a failure, so it is generous.
const patience = time.Minute

// gone is one Disconnect.
type gone struct {
	conn     Conn
	requests uint64
	reason   transport.Reason
}

// shard stands for the egress shard. It owns the sockets between Connect and Disconnect, responds
// to every request with a BatchEnd, and closes the descriptor in Disconnect.
type shard struct {
	t         testing.TB
	connect   func(Conn) error // nil: accepts every connection
	request   func(Conn, wire.Request) error
	connected chan Conn
	ended     chan gone
	refused   chan gone

	mu       sync.Mutex
	open     map[uint64]Conn
	secure   map[uint64]*secure.Session // of connections with TLS
	shed     []uint64                   // request numbers
	sheds    int                        // calls of Shed
	received []wire.Request             // with a copy of the body
}

func newShard(t testing.TB) *shard {
	return &shard{
		t: t, connected: make(chan Conn, 20000), ended: make(chan gone, 20000),
		refused: make(chan gone, 20000),
		open:    map[uint64]Conn{}, secure: map[uint64]*secure.Session{},
	}
}

func (s *shard) Connect(c Conn) error {
	if s.connect != nil {
		if err := s.connect(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c.ID]; ok || c.ID == 0 {
		s.t.Errorf("%v connected twice or has no id", c)
	}
	s.secure[c.ID], c.Secure = c.Secure, nil // later calls do without it
	s.open[c.ID] = c
	s.connected <- c
	return nil
}

func (s *shard) Request(c Conn, r wire.Request) error {
	if s.request != nil {
		if err := s.request(c, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[c.ID] != c {
		s.t.Errorf("request for %v, which is %v here", c, s.open[c.ID])
	}
	s.received = append(s.received,
		wire.Request{Seq: r.Seq, Tag: r.Tag, Body: append([]byte(nil), r.Body...)})
	s.send(c, batchEnd(r.Seq))
	return nil
}

func (s *shard) Shed(c Conn, requests []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(requests) < 1 || len(requests) > 64 {
		s.t.Errorf("%d requests are reported as shed at once", len(requests))
	}
	s.shed = append(s.shed, requests...)
	s.sheds++
	for _, n := range requests {
		s.send(c, wire.AppendResponse(nil, wire.TagServerBusy, binary.LittleEndian.AppendUint64(nil, n)))
	}
}

func (s *shard) Disconnect(c Conn, requests uint64, reason transport.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[c.ID] != c {
		s.t.Errorf("disconnect of %v, which is %v here", c, s.open[c.ID])
	}
	delete(s.open, c.ID)
	if err := unix.Close(int(c.FD)); err != nil {
		s.t.Errorf("closing %v: %v", c, err)
	}
	s.ended <- gone{c, requests, reason}
}

// send writes to a connection. The caller holds mu.
func (s *shard) send(c Conn, frame []byte) {
	if t := s.secure[c.ID]; t != nil {
		var err error
		if frame, err = t.Seal(nil, frame); err != nil {
			s.t.Errorf("sealing for %v: %v", c, err)
		}
	}
	sendAll(c.FD, frame)
}

func (s *shard) requests() []wire.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]wire.Request(nil), s.received...)
}

// await receives from a channel, for at most patience.
func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s after %v", what, patience)
		panic("unreachable")
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// noLeak checks at the end of the test that there are no more descriptors and goroutines than
// before.
func noLeak(t testing.TB) {
	t.Helper()
	fds, routines := descriptors(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for descriptors(t) > fds || runtime.NumGoroutine() > routines {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d descriptors and %d goroutines, before: %d and %d\n%s", descriptors(t),
					runtime.NumGoroutine(), fds, routines, stacks[:runtime.Stack(stacks, true)])
				return
			}
			runtime.Gosched()
		}
	})
}

// keyPair returns a key that depends only on the seed.
func keyPair(seed byte) (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
	return private.Public().(ed25519.PublicKey), private
}

func keyring(t testing.TB) *Keyring {
	t.Helper()
	public, _ := keyPair(0)
	operator, _ := keyPair(1)
	text := AppendKeyLine(AppendKeyLine(nil, Trader, public, "desk 1"), Operator, operator, "")
	keys, err := ParseKeys("test", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var networks = [...]string{"tcp", "unix"} // read only

func endpoint(t testing.TB, network string, open bool) Endpoint {
	e := Endpoint{Network: network, Address: "127.0.0.1:0", Name: network, Open: open}
	if network == "unix" {
		e.Address = filepath.Join(t.TempDir(), "s")
	}
	return e
}

// start serves cfg until the end of the test and returns the address of its first endpoint.
func start(t testing.TB, cfg Config, h *shard) (*Server, string) {
	t.Helper()
	noLeak(t)
	if cfg.Refused == nil {
		cfg.Refused = func(c Conn, reason transport.Reason) { h.refused <- gone{conn: c, reason: reason} }
	}
	s, err := New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if c := s.Counters(); c.Live != 0 || c.Handshakes != 0 {
			t.Errorf("after Close %d connections and %d handshakes are left", c.Live, c.Handshakes)
		}
	})
	return s, s.Addresses()[0]
}

// raw dials without a handshake. Its reads fail after patience.
func raw(t testing.TB, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// dial connects with package client.
func dial(t testing.TB, network, address string, o client.Options) *client.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// expect reads one frame and checks its tag.
func expect(t testing.TB, c *client.Conn, tag uint8) {
	t.Helper()
	got, _, err := c.Next()
	if err != nil || got != tag {
		t.Fatalf("received tag %#x, error %v; want tag %#x", got, err, tag)
	}
}

// expectEnd reads the BatchEnd of a request.
func expectEnd(t testing.TB, c io.Reader, request uint64) {
	t.Helper()
	tag, body := receive(t, c)
	if got, ok := wire.DecodeBatchEnd(body); tag != wire.TagBatchEnd || !ok || got != request {
		t.Fatalf("received tag %#02x, body % x; want the BatchEnd of %d", tag, body, request)
	}
}

// each runs a test over both networks.
func each(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

// fileConn returns a net.Conn on a duplicate of the file's descriptor.
func fileConn(t testing.TB, f *os.File) net.Conn {
	t.Helper()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// signedHello returns a good Hello with a signature.
func signedHello(key ed25519.PrivateKey, nonce [wire.NonceSize]byte) wire.Hello {
	message := wire.Signed(&nonce, nil)
	return wire.Hello{Version: wire.Version, Signature: ed25519.Sign(key, message), Key: key[32:]}
}

// plainHello is the Hello of a client without a key.
func plainHello() []byte { return wire.AppendHello(nil, &wire.Hello{Version: wire.Version}) }

// receive reads one frame of the server.
func receive(t testing.TB, c io.Reader) (tag uint8, body []byte) {
	t.Helper()
	frame := make([]byte, wire.PrefixSize, 512)
	_, err := io.ReadFull(c, frame)
	if err == nil {
		frame = frame[:wire.PrefixSize+binary.LittleEndian.Uint32(frame)]
		_, err = io.ReadFull(c, frame[wire.PrefixSize:])
	}
	if err != nil {
		t.Fatal(err)
	}
	tag, body, _, err = wire.NextResponse(frame, wire.MaxResponse)
	if err != nil {
		t.Fatal(err)
	}
	return tag, body
}

// challenged reads the Challenge.
func challenged(t testing.TB, c io.Reader) wire.Challenge {
	t.Helper()
	tag, body := receive(t, c)
	challenge, ok := wire.DecodeChallenge(body)
	if tag != wire.TagChallenge || !ok {
		t.Fatalf("the first frame has tag %#02x and body % x", tag, body)
	}
	return challenge
}

// greet does the handshake of a client without a key.
func greet(t testing.TB, c io.ReadWriter) wire.ServerReady {
	t.Helper()
	challenged(t, c)
	if _, err := c.Write(plainHello()); err != nil {
		t.Fatal(err)
	}
	return admitted(t, c)
}

// admitted reads the ServerReady.
func admitted(t testing.TB, c io.Reader) wire.ServerReady {
	t.Helper()
	tag, body := receive(t, c)
	ready, ok := wire.DecodeServerReady(body)
	if tag != wire.TagServerReady || !ok {
		t.Fatalf("received tag %#02x and body % x, want ServerReady", tag, body)
	}
	return ready
}

// rejected reads Close and the end of the stream.
func rejected(t testing.TB, c io.Reader, want wire.Close) {
	t.Helper()
	if tag, body := receive(t, c); tag != wire.TagClose {
		t.Fatalf("received tag %#02x and body % x, want Close", tag, body)
	} else if got, ok := wire.DecodeClose(body); !ok || got != want {
		t.Errorf("closed with %+v, want %+v", got, want)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind Close: %d bytes, %v", n, err)
	}
}

// greeted dials and does the handshake without a key.
func greeted(t testing.TB, network, address string) net.Conn {
	t.Helper()
	c := raw(t, network, address)
	greet(t, c)
	return c
}

// sendAll sends bytes on a descriptor, as a shard does.
func sendAll(fd int32, b []byte) bool { return new(Server).send(fd, b) }

// batchEnd is the frame that ends a response.
func batchEnd(request uint64) []byte {
	return wire.AppendResponse(nil, wire.TagBatchEnd, binary.LittleEndian.AppendUint64(nil, request))
}
