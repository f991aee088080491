package listen

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/secure"
	"sluice/transport/wire"
)

// certificate is one for 127.0.0.1, and what a client pins.
func certificate(t testing.TB) (tls.Certificate, *client.TLS) {
	t.Helper()
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return pair, &client.TLS{Pin: secure.FingerprintOf(pair.Leaf)}
}

// startTLS serves one endpoint with TLS.
func startTLS(t testing.TB, cfg Config, h *shard, open bool) (*Server, string, *client.TLS) {
	t.Helper()
	pair, pinned := certificate(t)
	cfg.Endpoints = []Endpoint{{Network: "tcp", Address: "127.0.0.1:0", Name: "tls", Open: open, TLS: true}}
	cfg.TLS = secure.Config(pair)
	if !open {
		cfg.Keys = keyring(t)
	}
	s, at := start(t, cfg, h)
	return s, at, pinned
}

func tryDial(t testing.TB, at string, o client.Options) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", at, o)
	if err == nil {
		c.Close()
	}
	return err
}

func TestRequestsAndHalfCloseOverTLS(t *testing.T) {
	h := newShard(t)
	_, at, pinned := startTLS(t, Config{MaxRequest: 40 << 10}, h, false)
	_, key := keyPair(0)
	c := dial(t, "tcp", at, client.Options{TLS: pinned, Key: key})
	body := bytes.Repeat([]byte("b"), 30<<10) // of two records
	for i := range uint64(20) {
		c.Send(2*i+1, 0x10, []byte("small"))
		c.Send(2*i+2, 0x10, body)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 40 {
		expect(t, c, wire.TagBatchEnd)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	end := await(t, "end", h.ended)
	if end.reason != transport.ReasonPeerClosed || end.requests != 40 || end.conn.Role != Trader {
		t.Errorf("%+v, want 40 requests and the end of the client's direction", end)
	}
	for i, r := range h.requests() {
		if want := [][]byte{[]byte("small"), body}[i%2]; !bytes.Equal(r.Body, want) {
			t.Errorf("request %d has %d bytes", r.Seq, len(r.Body))
		}
	}
}

// cork holds back what a client sends over TCP, or sends it, tcp(7).
func cork(t testing.TB, c *client.Conn, on int) {
	t.Helper()
	socket, err := c.NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// While the handler has no room, what was decrypted is kept, and so is the end behind it.
func TestPausedConnectionOverTLSKeepsItsEnd(t *testing.T) {
	h := newShard(t)
	room := make(chan struct{})
	h.request = func(Conn, wire.Request) error {
		select {
		case <-room:
			return nil
		default:
			return ErrBusy
		}
	}
	s, at, pinned := startTLS(t, Config{}, h, true)
	c := dial(t, "tcp", at, client.Options{TLS: pinned})
	cork(t, c, 1) // requests and end arrive together, before the connection is paused
	for i := range uint64(100) {
		c.Send(i, 0x10, []byte("request"))
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	cork(t, c, 0)
	for s.Counters().Paused == 0 {
		runtime.Gosched()
	}
	close(room)
	s.Resume()
	if end := await(t, "end", h.ended); end.requests != 100 || end.reason != transport.ReasonPeerClosed {
		t.Errorf("%d requests, reason %v", end.requests, end.reason)
	}
}

func TestOtherCertificateThanExpectedIsRefusedByTheClient(t *testing.T) {
	h := newShard(t)
	_, at, pinned := startTLS(t, Config{}, h, true)
	_, other := certificate(t)
	for name, o := range map[string]*client.TLS{"another one is pinned": other, "no authority issued it": {}} {
		err := tryDial(t, at, client.Options{TLS: o})
		if !errors.Is(err, client.ErrServerCertificate) {
			t.Errorf("%s: %v", name, err)
		}
		if end := await(t, "refusal", h.refused); end.reason != transport.ReasonTLSFailed ||
			end.conn.Secure.Err() == nil {
			t.Errorf("%s: the server refused it as %v", name, end.reason)
		}
	}
	if err := tryDial(t, at, client.Options{TLS: pinned}); err != nil {
		t.Error(err)
	}
}

// relay accepts clients with a certificate of its own and passes their bytes on to a server.
func relay(t testing.TB, own tls.Certificate, dial func() (net.Conn, error)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", secure.Config(own))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
		}
	}()
	return l.Addr().String()
}

// A relay that a client trusts by mistake cannot use the client's signature: it covers the connection.
func TestRelayedSignatureIsRefused(t *testing.T) {
	h := newShard(t)
	s, at, pinned := startTLS(t, Config{}, h, false)
	_, key := keyPair(0)
	own, trusted := certificate(t)
	over := relay(t, own, func() (net.Conn, error) {
		return tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	})
	err := tryDial(t, over, client.Options{TLS: trusted, Key: key})
	if !errors.Is(err, client.ErrAuthFailed) {
		t.Errorf("relayed to TLS: %v", err)
	}
	if end := await(t, "refusal", h.refused); end.reason != transport.ReasonBadSignature {
		t.Errorf("it was refused as %v", end.reason)
	}
	plain := endpoint(t, "tcp", false)
	_, clear := start(t, Config{Endpoints: []Endpoint{plain}, Keys: keyring(t)}, h)
	over = relay(t, own, func() (net.Conn, error) { return net.Dial("tcp", clear) })
	if err := tryDial(t, over, client.Options{TLS: trusted, Key: key}); !errors.Is(err, client.ErrAuthFailed) {
		t.Errorf("relayed to a plain endpoint: %v", err)
	}
	if err := tryDial(t, at, client.Options{TLS: pinned, Key: key}); err != nil {
		t.Errorf("without a relay: %v", err)
	}
	eventually(t, "the end of all handshakes", func() bool { return s.Counters().Handshakes == 0 })
}

func TestReplacedCertificateIsForLaterConnections(t *testing.T) {
	h := newShard(t)
	s, at, pinned := startTLS(t, Config{}, h, true)
	before := dial(t, "tcp", at, client.Options{TLS: pinned})
	pair, renewed := certificate(t)
	s.SetTLS(secure.Config(pair))
	if err := tryDial(t, at, client.Options{TLS: pinned}); !errors.Is(err, client.ErrServerCertificate) {
		t.Errorf("the old certificate is still presented: %v", err)
	}
	after := dial(t, "tcp", at, client.Options{TLS: renewed})
	for _, c := range []*client.Conn{before, after} {
		c.Send(1, 0x10, nil)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, wire.TagBatchEnd)
	}
}

// Both sides say what is wrong if one of them speaks TLS and the other does not.
func TestTLSAtAPlainEndpointAndTheReverse(t *testing.T) {
	h := newShard(t)
	_, plain := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", true)}}, h)
	_, pinned := certificate(t)
	if err := tryDial(t, plain, client.Options{TLS: pinned}); !errors.Is(err, client.ErrNotTLS) {
		t.Errorf("TLS at a plain endpoint: %v", err)
	}
	if end := await(t, "refusal", h.refused); end.reason != transport.ReasonTLSMismatch {
		t.Errorf("it was refused as %v", end.reason)
	}

	_, at, _ := startTLS(t, Config{HandshakeTimeout: 200 * time.Millisecond}, h, true)
	err := tryDial(t, at, client.Options{}) // it waits for a Challenge
	var end *client.CloseError
	if !errors.Is(err, client.ErrNoChallenge) || !errors.As(err, &end) || end.Reason != wire.CloseHandshakeTimeout {
		t.Errorf("a silent client at an endpoint with TLS: %v", err)
	}
	await(t, "refusal", h.refused)
	_, at, _ = startTLS(t, Config{HandshakeTimeout: time.Hour}, h, true)
	c := raw(t, "tcp", at)
	write(t, c, wire.AppendHello(nil, &wire.Hello{Version: 1}))
	if tag, body := receive(t, c); tag != wire.TagClose || wire.CloseReason(body[0]) != wire.CloseProtocolError {
		t.Errorf("a plain Hello is answered with tag %#x, % x", tag, body)
	}
	if end := await(t, "refusal", h.refused); end.reason != transport.ReasonTLSMismatch {
		t.Errorf("it was refused as %v", end.reason)
	}
}

func TestOlderVersionOfTLSIsRefused(t *testing.T) {
	h := newShard(t)
	_, at, _ := startTLS(t, Config{}, h, true)
	_, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.2: %v", err)
	}
	if end := await(t, "refusal", h.refused); end.reason != transport.ReasonTLSFailed {
		t.Errorf("it was refused as %v", end.reason)
	}
}

// Clients that begin a TLS handshake and go on no further hold nothing up, and are ended at their deadline, without a
// byte that is not TLS.
func TestStalledTLSHandshakesDelayNoOther(t *testing.T) {
	h := newShard(t)
	s, at, pinned := startTLS(t, Config{HandshakeTimeout: 5 * time.Second}, h, true)
	var stalled []net.Conn
	for range 50 {
		c := raw(t, "tcp", at)
		write(t, c, []byte{22, 3, 1, 2, 0, 1})
		stalled = append(stalled, c)
	}
	eventually(t, "50 handshakes", func() bool { return s.Counters().Handshakes == 50 })
	for range 5 {
		c := dial(t, "tcp", at, client.Options{TLS: pinned})
		c.Send(1, 0x10, nil)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, wire.TagBatchEnd)
	}
	for _, c := range stalled {
		if n, err := io.Copy(io.Discard, c); n != 0 || err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("a stalled client got %d bytes, %v", n, err)
		}
		if end := await(t, "refusal", h.refused); end.reason != transport.ReasonHandshakeTimeout {
			t.Errorf("it was refused as %v", end.reason)
		}
	}
	eventually(t, "the end of all handshakes", func() bool { return s.Counters().Handshakes == 0 })
	if live := s.Counters().Live; live != 5 {
		t.Errorf("%d connections", live)
	}
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// A server that ends in the middle of TLS handshakes leaves no goroutine, which start checks.
func TestCloseEndsTLSHandshakes(t *testing.T) {
	h := newShard(t)
	s, at, _ := startTLS(t, Config{}, h, true)
	for range 20 {
		write(t, raw(t, "tcp", at), []byte{22, 3, 1})
	}
	for s.Counters().Handshakes < 20 {
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if end := await(t, "refusal", h.refused); end.reason != transport.ReasonShutdown {
			t.Errorf("it was refused as %v", end.reason)
		}
	}
}

// A client that sends garbage in place of a record is ended, as one whose framing is lost.
func TestGarbageInsteadOfARecordEndsTheConnection(t *testing.T) {
	h := newShard(t)
	_, at, pinned := startTLS(t, Config{}, h, true)
	c := dial(t, "tcp", at, client.Options{TLS: pinned})
	c.Send(1, 0x10, nil)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, wire.TagBatchEnd)
	if _, err := c.NetConn().Write(append([]byte{23, 3, 3, 0, 20}, make([]byte, 20)...)); err != nil {
		t.Fatal(err)
	}
	if end := await(t, "end", h.ended); end.reason != transport.ReasonRecordMalformed || end.requests != 1 {
		t.Errorf("%d requests, reason %v", end.requests, end.reason)
	}
}

// A key that was made for plain connections is used over TLS, and a signature without the binding is not.
func TestSignatureWithoutBindingIsRefusedOverTLS(t *testing.T) {
	h := newShard(t)
	_, at, _ := startTLS(t, Config{}, h, false)
	_, key := keyPair(0)
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	_, body := receive(t, c)
	challenge, ok := wire.DecodeChallenge(body)
	if !ok {
		t.Fatalf("Challenge % x", body)
	}
	hello := wire.Hello{Version: 1, Signature: ed25519.Sign(key, wire.Signed(&challenge.Nonce, nil)),
		Key: key.Public().(ed25519.PublicKey)}
	if _, err := c.Write(wire.AppendHello(nil, &hello)); err != nil {
		t.Fatal(err)
	}
	if tag, body := receive(t, c); tag != wire.TagClose || wire.CloseReason(body[0]) != wire.CloseUnauthorized {
		t.Errorf("tag %#x, % x; want Close with the reason unauthorized", tag, body)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("behind it %v, want the end", err)
	}
}
