package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/transport/wire"
)

const patience = 30 * time.Second

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

func ready(c net.Conn) error {
	_, err := io.WriteString(c, wire.ReadyFrame)
	return err
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
	for _, network := range []string{"tcp", "unix"} {
		address := serve(t, network, func(c net.Conn) error {
			nonce := [wire.NonceSize]byte{1, 2, 3}
			if _, err := c.Write(wire.AppendNonce(nil, &nonce)); err != nil {
				return err
			}
			b := make([]byte, wire.ChallengeResponseFrameSize)
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
			r, _, err := wire.NextRequest(b, wire.MaxHandshake)
			signature, public, ok := wire.ChallengeResponse(r.Body)
			if err != nil || !ok || !ed25519.Verify(public, nonce[:], signature) ||
				!key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(public)) {
				t.Errorf("answer % x, error %v", b, err)
			}
			return ready(c)
		})
		dial(t, network, address, Options{Key: key}).Close()
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
}

func TestHandshakeErrorsNameTheCause(t *testing.T) {
	nonce := [wire.NonceSize]byte{}
	for _, v := range []struct{ name, sent, want string }{
		{"closed at once", "", "the server closed the connection"},
		{"refused", wire.AuthFailed, ErrAuthFailed.Error()},
		{"challenged without a key", string(wire.AppendNonce(nil, &nonce)), ErrNoKey.Error()},
		{"application frame", wire.BatchEnd, "unexpected tag 0x02"},
		{"another protocol", "HTTP/1.1 400 Bad Request", "frame length"},
		{"half a frame", wire.ReadyFrame[:3], "unexpected EOF"},
	} {
		t.Run(v.name, func(t *testing.T) {
			address := serve(t, "tcp", func(c net.Conn) error {
				_, err := io.WriteString(c, v.sent)
				return err
			})
			if _, err := Dial(context.Background(), "tcp", address, Options{}); err == nil ||
				!strings.Contains(err.Error(), v.want) {
				t.Errorf("%v, want %q", err, v.want)
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
		stream := []byte(wire.ReadyFrame)
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
		_, err := io.WriteString(c, wire.ReadyFrame+"\x12\x00\x00\x00")
		return err
	})
	c := dial(t, "tcp", address, Options{MaxFrame: 17})
	var frame *wire.FrameError
	if _, _, err := c.Next(); !errors.As(err, &frame) || frame.Length != 18 {
		t.Error(err)
	}
	address = serve(t, "tcp", func(c net.Conn) error {
		_, err := io.WriteString(c, wire.ReadyFrame+"\x11\x00\x00\x00\x30")
		return err
	})
	c = dial(t, "tcp", address, Options{MaxFrame: 17})
	if _, _, err := c.Next(); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

func TestNextContinuesAfterADeadline(t *testing.T) {
	proceed := make(chan struct{})
	address := serve(t, "tcp", func(c net.Conn) error {
		frame := wire.AppendResponse([]byte(wire.ReadyFrame), 0x30, []byte("abc"))
		if _, err := c.Write(frame[:9]); err != nil {
			return err
		}
		<-proceed
		_, err := c.Write(frame[9:])
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
		_, writeErr := io.WriteString(c, wire.BatchEnd)
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
		_, err := io.WriteString(c, wire.Heartbeat+wire.BatchEnd)
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

func TestSendingAndReceivingDoNotAllocate(t *testing.T) {
	address := serve(t, "unix", func(c net.Conn) error {
		if err := ready(c); err != nil {
			return err
		}
		b, answer := make([]byte, 23), []byte(wire.BatchEnd)
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
