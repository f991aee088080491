package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/transport/wire"
)

const patience = time.Minute

// serve runs the server's side of one connection and returns its address. An error that side
// returns fails the test.
func serve(t *testing.T, network string, side func(net.Conn) error) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if err := side(c); err != nil {
			t.Error("server:", err)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// ready does the server's side of a handshake without a key.
func ready(c net.Conn) error { return begin(c, nil) }

// begin does the same and sends more in the same write as ServerReady.
func begin(c net.Conn, more []byte) error {
	hello, err := challenge(c, &wire.Challenge{})
	if err == nil && hello.Signature != nil {
		err = errors.New("Hello is signed, and nothing asked for that")
	}
	if err != nil {
		return err
	}
	_, err = c.Write(append(wire.AppendServerReady(nil, &wire.ServerReady{Version: 1}), more...))
	return err
}

// challenge sends a Challenge and reads the Hello.
func challenge(c net.Conn, challenge *wire.Challenge) (hello wire.Hello, err error) {
	if _, err := c.Write(wire.AppendChallenge(nil, challenge)); err != nil {
		return hello, err
	}
	frame := make([]byte, wire.PrefixSize, wire.MaxHandshake)
	if _, err = io.ReadFull(c, frame); err != nil {
		return hello, err
	}
	frame = frame[:wire.PrefixSize+int(frame[0])]
	if _, err = io.ReadFull(c, frame[wire.PrefixSize:]); err != nil {
		return hello, err
	}
	r, _, err := wire.NextRequest(frame, wire.MaxHandshake)
	hello, ok := wire.DecodeHello(r.Body)
	if err != nil || !ok || r.Tag != wire.TagHello || r.Seq != 0 {
		err = fmt.Errorf("% x is not a Hello: %v", frame, err)
	}
	return hello, err
}

// batchEnd is the frame that ends a response.
func batchEnd(request byte) []byte {
	return wire.AppendResponse(nil, wire.TagBatchEnd, []byte{request, 0, 0, 0, 0, 0, 0, 0})
}

func dial(t *testing.T, network, address string, o Options) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Dial(ctx, network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func TestChallengeIsSigned(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	server := wire.ServerReady{Version: 1, Leads: true, Conn: 7, MaxRequest: 1024, Rate: 3, Name: "seven"}
	for _, network := range []string{"tcp", "unix"} {
		address := serve(t, network, func(c net.Conn) error {
			nonce := [wire.NonceSize]byte{1, 2, 3}
			hello, err := challenge(c, &wire.Challenge{Nonce: nonce, Sign: true})
			if err != nil {
				return err
			}
			message := wire.Signed(&nonce, nil)
			if !ed25519.Verify(hello.Key, message, hello.Signature) || hello.Heartbeat != time.Second ||
				!key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(hello.Key)) {
				t.Errorf("%+v", hello)
			}
			_, err = c.Write(wire.AppendServerReady(nil, &server))
			return err
		})
		c := dial(t, network, address, Options{Key: key, Heartbeat: time.Second})
		if got := c.Server(); got != server {
			t.Errorf("%+v, want %+v", got, server)
		}
		c.Close()
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	address := serve(t, "tcp", func(c net.Conn) error {
		cancel() // while the client waits for the first frame
		_, err := io.Copy(io.Discard, c)
		return err
	})
	if _, err := Dial(ctx, "tcp", address, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel = context.WithCancel(context.Background())
	_, err := New(ctx, interrupted{near, cancel}, Options{})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNoChallenge) {
		t.Errorf("canceled while it waits for a Challenge: %v", err)
	}
}

// interrupted is a connection that ends a context when it is read from.
type interrupted struct {
	net.Conn
	cancel func()
}

func (c interrupted) Read(b []byte) (int, error) {
	c.cancel()
	return c.Conn.Read(b)
}

func TestHandshakeErrorsNameTheCause(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	open := string(wire.AppendChallenge(nil, new(wire.Challenge)))
	signed := string(wire.AppendChallenge(nil, &wire.Challenge{Sign: true}))
	ready := string(wire.AppendServerReady(nil, &wire.ServerReady{Version: 1}))
	newer := string(wire.AppendServerReady(nil, &wire.ServerReady{Version: 2}))
	end := func(reason wire.CloseReason) string { return string(wire.AppendClose(nil, wire.Close{Reason: reason})) }
	for _, v := range []struct {
		name, sent, want string
		key              ed25519.PrivateKey
		silent           bool // perhaps a server with TLS
	}{
		{"closed at once", "", "the server closed the connection", nil, true},
		{"refused at once", end(wire.CloseLimit), "limit (come back at once)", nil, false},
		{"silence ended by the server", end(wire.CloseHandshakeTimeout), "handshake_timeout", nil, true},
		{"refused", signed + end(wire.CloseUnauthorized), "unauthorized", key, false},
		{"challenged without a key", signed, ErrNoKey.Error(), nil, false},
		{"not challenged with a key", open + ready, ErrNotChallenged.Error(), key, false},
		{"no challenge", ready, "sent tag 0x08, want a Challenge", nil, false},
		{"no challenge with a key", ready, "sent tag 0x08, want a Challenge", key, false},
		{"two challenges", signed + signed, ErrChallengedTwice.Error(), key, false},
		{"two challenges without a signature", open + open, ErrChallengedTwice.Error(), nil, false},
		{"a later version", open + newer, "that version 1 does not have", nil, false},
		{"short challenge", string(wire.AppendResponse(nil, wire.TagChallenge, nil)),
			"Challenge of 0 bytes", nil, false},
		{"short close", open + string(wire.AppendResponse(nil, wire.TagClose, nil)), "Close of 0 bytes", nil, false},
		{"application frame", string(batchEnd(1)), "sent tag 0x02", nil, false},
		{"another protocol", "HTTP/1.1 400 Bad Request", "frame length", nil, true},
		{"half a frame", open[:3], "unexpected EOF", nil, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			address := serve(t, "tcp", func(c net.Conn) error {
				if _, err := io.WriteString(c, v.sent); err != nil {
					return err
				}
				err := c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c) // closing with unread bytes would be a reset
				return err
			})
			_, err := Dial(context.Background(), "tcp", address, Options{Key: v.key})
			if err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%v, want %q", err, v.want)
			}
			if errors.Is(err, ErrNoChallenge) != v.silent {
				t.Errorf("%v is ErrNoChallenge: %t", err, !v.silent)
			}
			if errors.Is(err, ErrAuthFailed) != (v.name == "refused") {
				t.Errorf("%v is ErrAuthFailed: %t", err, errors.Is(err, ErrAuthFailed))
			}
		})
	}
	if _, err := Dial(context.Background(), "unix", "/does/not/exist", Options{}); err == nil {
		t.Error("connected to a socket that does not exist")
	}
	address := serve(t, "tcp", func(c net.Conn) error { return nil })
	if _, err := Dial(context.Background(), "tcp", address, Options{Key: make([]byte, 5)}); err == nil ||
		!strings.Contains(err.Error(), "5 bytes") {
		t.Error(err)
	}
}

func TestFramesOfAllSizesArriveWholeAndInOrder(t *testing.T) {
	sizes := []int{0, 1, 254, 255, 256, 257, 5000, 0, 70000, 3}
	address := serve(t, "tcp", func(c net.Conn) error {
		if err := ready(c); err != nil {
			return err
		}
		var stream []byte
		for i, n := range sizes {
			stream = wire.AppendResponse(stream, 0x30+uint8(i), bytes.Repeat([]byte{byte(i)}, n))
			stream = append(stream, wire.Heartbeat...)
		}
		for len(stream) > 0 {
			n := min(len(stream), 1+len(stream)%97)
			if _, err := c.Write(stream[:n]); err != nil {
				return err
			}
			stream = stream[n:]
		}
		return nil
	})
	c := dial(t, "tcp", address, Options{ReadBuffer: 1})
	for i, n := range sizes {
		tag, body, err := c.Next()
		if err != nil || tag != 0x30+uint8(i) || !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("frame %d: tag %#x, %d bytes, error %v", i, tag, len(body), err)
		}
	}
	if _, _, err := c.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestOversizedAndTruncatedFramesAreErrors(t *testing.T) {
	address := serve(t, "tcp", func(c net.Conn) error {
		return begin(c, []byte("\x33\x00\x00\x00"))
	})
	c := dial(t, "tcp", address, Options{MaxFrame: 50})
	var frame *wire.FrameError
	if _, _, err := c.Next(); !errors.As(err, &frame) || frame.Length != 51 {
		t.Error(err)
	}
	address = serve(t, "tcp", func(c net.Conn) error {
		return begin(c, []byte("\x32\x00\x00\x00\x30"))
	})
	c = dial(t, "tcp", address, Options{MaxFrame: 50})
	if _, _, err := c.Next(); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

func TestNextContinuesAfterADeadline(t *testing.T) {
	proceed := make(chan struct{})
	address := serve(t, "tcp", func(c net.Conn) error {
		frame := wire.AppendResponse(nil, 0x30, []byte("abc"))
		if err := begin(c, frame[:4]); err != nil {
			return err
		}
		<-proceed
		_, err := c.Write(frame[4:])
		return err
	})
	c := dial(t, "tcp", address, Options{})
	c.SetReadDeadline(time.Unix(1, 0))
	var timeout net.Error
	if _, _, err := c.Next(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatal(err)
	}
	close(proceed)
	c.SetReadDeadline(time.Now().Add(patience))
	if tag, body, err := c.Next(); err != nil || tag != 0x30 || string(body) != "abc" {
		t.Fatalf("%#x %q %v", tag, body, err)
	}
}

func TestRequestsAreBufferedUntilFlushOrCloseWrite(t *testing.T) {
	received := make(chan []byte, 1)
	address := serve(t, "unix", func(c net.Conn) error {
		if err := ready(c); err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		received <- b
		_, writeErr := c.Write(batchEnd(2))
		return errors.Join(err, writeErr)
	})
	c := dial(t, "unix", address, Options{})
	c.Send(1, 0x10, []byte("a"))
	c.Heartbeat()
	c.Send(2, 0x11, nil)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	want := wire.AppendRequest(nil, 1, 0x10, []byte("a"))
	want = append(want, wire.ClientHeartbeat...)
	want = wire.AppendRequest(want, 2, 0x11, nil)
	if got := <-received; !bytes.Equal(got, want) {
		t.Errorf("received % x, want % x", got, want)
	}
	if tag, _, err := c.Next(); err != nil || tag != wire.TagBatchEnd {
		t.Errorf("after the half-close: %#x, %v", tag, err)
	}
	if err := c.Send(3, 0x10, nil); err != nil {
		t.Errorf("Send failed before any write failed: %v", err)
	}
	if c.Flush() == nil || c.Send(4, 0x10, nil) == nil {
		t.Error("a request after CloseWrite was accepted")
	}
}

func TestAutomaticHeartbeatsAreSentWithoutRequests(t *testing.T) {
	address := serve(t, "tcp", func(c net.Conn) error {
		if err := ready(c); err != nil {
			return err
		}
		b := make([]byte, 3*len(wire.ClientHeartbeat))
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if string(b) != strings.Repeat(wire.ClientHeartbeat, 3) {
			t.Errorf("received % x", b)
		}
		_, err := c.Write(append([]byte(wire.Heartbeat), batchEnd(1)...))
		return err
	})
	c := dial(t, "tcp", address, Options{HeartbeatEvery: time.Millisecond, ShowHeartbeats: true})
	for _, want := range []uint8{wire.TagHeartbeat, wire.TagBatchEnd} {
		if tag, _, err := c.Next(); err != nil || tag != want {
			t.Errorf("tag %#x, error %v, want %#x", tag, err, want)
		}
	}
	c.Close()
	c.Close()
}

func TestNextReturnsWhyTheServerClosed(t *testing.T) {
	address := serve(t, "tcp", func(c net.Conn) error {
		stream := append(batchEnd(1), wire.Heartbeat...)
		return begin(c, wire.AppendClose(stream, wire.Close{Reason: wire.CloseKicked, RetryAfter: time.Minute}))
	})
	c := dial(t, "tcp", address, Options{})
	if tag, _, err := c.Next(); err != nil || tag != wire.TagBatchEnd {
		t.Fatalf("%#x, %v", tag, err)
	}
	for range 2 {
		_, _, err := c.Next()
		var end *CloseError
		if !errors.As(err, &end) || end.Reason != wire.CloseKicked || end.RetryAfter != time.Minute {
			t.Fatal(err)
		}
	}
}

func TestSendingAndReceivingDoNotAllocate(t *testing.T) {
	address := serve(t, "unix", func(c net.Conn) error {
		if err := ready(c); err != nil {
			return err
		}
		b, answer := make([]byte, 23), batchEnd(1)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return nil
			}
			if _, err := c.Write(answer); err != nil {
				return nil
			}
		}
	})
	c := dial(t, "unix", address, Options{})
	body := []byte("0123456789")
	if n := testing.AllocsPerRun(100, func() {
		c.Send(1, 0x10, body)
		c.Flush()
		if tag, _, err := c.Next(); err != nil || tag != wire.TagBatchEnd {
			t.Fatal(tag, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	c.Close()
}
