package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

func openServer(t testing.TB, network string, h *shard, change func(*Config)) (*Server, string) {
	cfg := Config{Endpoints: []Endpoint{endpoint(t, network, true)}}
	if change != nil {
		change(&cfg)
	}
	return start(t, cfg, h)
}

func TestRequestsSentByteByByteAreDelivered(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := openServer(t, network, h, nil)
		c := greeted(t, network, address)
		var stream []byte
		for i := range 5 {
			stream = wire.AppendRequest(stream, uint64(i), 0x10, []byte(fmt.Sprint("body ", i)))
			stream = append(stream, wire.ClientHeartbeat...)
		}
		for i := range stream {
			write(t, c, stream[i:i+1])
		}
		for i := range 5 {
			expectEnd(t, c, uint64(i))
		}
		for i, r := range h.requests() {
			if r.Seq != uint64(i) || string(r.Body) != fmt.Sprint("body ", i) {
				t.Errorf("request %d was delivered as %+v", i, r)
			}
		}
		c.Close()
		if g := await(t, "end", h.ended); g.requests != 5 || g.reason != transport.ReasonPeerClosed {
			t.Errorf("ended with %+v", g)
		}
	})
}

func TestFramesOutsideTheLimitsEndTheConnection(t *testing.T) {
	for _, v := range []struct {
		name   string
		limit  int
		stream []byte
		reason transport.Reason
		taken  uint64
	}{
		{"a request at the limit is delivered", 0,
			wire.AppendRequest(nil, 1, 0x10, make([]byte, 1015)), transport.ReasonPeerClosed, 1},
		{"one byte above the limit", 0, wire.AppendRequest(nil, 1, 0x10, make([]byte, 1016)),
			transport.ReasonFrameTooLong, 0},
		{"10,000 bytes", 0, wire.AppendRequest(nil, 1, 0x10, make([]byte, 10000)),
			transport.ReasonFrameTooLong, 0},
		{"10,000 bytes where they are allowed", 10009,
			wire.AppendRequest(nil, 1, 0x10, make([]byte, 10000)), transport.ReasonPeerClosed, 1},
		{"200,000 bytes, above the read buffer, where they are allowed", 1 << 18,
			wire.AppendRequest(nil, 1, 0x10, make([]byte, 200000)), transport.ReasonPeerClosed, 1},
		{"a length without room for the tag", 0, []byte{8, 0, 0, 0}, transport.ReasonFrameMalformed, 0},
		{"a heartbeat with a body", 0, wire.AppendRequest(nil, 0, wire.TagHeartbeat, []byte{1}),
			transport.ReasonFrameMalformed, 0},
		{"a good request before a bad length", 0,
			append(wire.AppendRequest(nil, 1, 0x10, nil), 0xff, 0xff, 0xff, 0xff),
			transport.ReasonFrameTooLong, 1},
		{"an end within a frame", 0, wire.AppendRequest(nil, 1, 0x10, make([]byte, 50))[:20],
			transport.ReasonPeerClosed, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				h := newShard(t)
				_, address := openServer(t, network, h, func(c *Config) { c.MaxRequest = v.limit })
				c := greeted(t, network, address)
				_, _ = c.Write(v.stream) // fails if the server has closed already
				c.(interface{ CloseWrite() error }).CloseWrite()
				if g := await(t, "end", h.ended); g.reason != v.reason || g.requests != v.taken {
					t.Errorf("ended with %v after %d requests, want %v after %d", g.reason,
						g.requests, v.reason, v.taken)
				}
			})
		})
	}
}

// Wherever the malformed frame is, the requests before it are delivered and those behind it are not.
func TestRequestsBeforeAMalformedFrameAreDelivered(t *testing.T) {
	tooLong := binary.LittleEndian.AppendUint32(nil, wire.DefaultMaxRequest+1)
	bad := map[string][]byte{
		"a length above the limit": tooLong,
		"a length below 9":         {8, 0, 0, 0},
		"a heartbeat with a body":  wire.AppendRequest(nil, 0, wire.TagHeartbeat, []byte{0}),
		"a second Hello":           plainHello(),
	}
	for tag := wire.TransportFirst; tag <= wire.TransportLast; tag++ {
		switch tag {
		case wire.TagHeartbeat, wire.TagAdminCommand, wire.TagTraced, wire.TagExtended:
		default:
			bad[fmt.Sprintf("tag %#02x", tag)] = wire.AppendRequest(nil, 0, tag, nil)
		}
	}
	good := func(from, to int) (frames []byte) {
		for i := from; i < to; i++ {
			frames = wire.AppendRequest(frames, uint64(i), 0x10, []byte("good"))
		}
		return frames
	}
	for name, frame := range bad {
		reason := transport.ReasonFrameMalformed
		if bytes.Equal(frame, tooLong) {
			reason = transport.ReasonFrameTooLong
		}
		for way, read := range map[string]func(c net.Conn){
			"in one read": func(c net.Conn) {
				write(t, c, slices.Concat(good(0, 5), frame, good(5, 9)))
			},
			"in a later read": func(c net.Conn) {
				write(t, c, good(0, 5))
				for i := range uint64(5) {
					expectEnd(t, c, i)
				}
				write(t, c, append(frame, good(5, 9)...))
			},
			"behind half a request": func(c net.Conn) {
				half := good(0, 5)
				write(t, c, half[:len(half)-3])
				for i := range uint64(4) {
					expectEnd(t, c, i)
				}
				write(t, c, slices.Concat(half[len(half)-3:], frame, good(5, 9)))
			},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				h := newShard(t)
				_, address := openServer(t, "unix", h, nil)
				read(greeted(t, "unix", address))
				if g := await(t, "end", h.ended); g.reason != reason || g.requests != 5 || len(h.requests()) != 5 {
					t.Errorf("ended with %v after %d requests; delivered %+v", g.reason, g.requests, h.requests())
				}
			})
		}
	}
}

// Shed requests before a malformed frame are reported, too.
func TestRequestsShedBeforeAMalformedFrameAreReported(t *testing.T) {
	h := newShard(t)
	_, address := openServer(t, "tcp", h,
		func(c *Config) { c.RequestRate = Rate{PerSecond: 0.001, Burst: 1} })
	c := greeted(t, "tcp", address)
	var frames []byte
	for i := range 4 {
		frames = wire.AppendRequest(frames, uint64(i), 0x10, nil)
	}
	write(t, c, append(frames, plainHello()...))
	if g := await(t, "end", h.ended); g.requests != 1 || !slices.Equal(h.shed, []uint64{1, 2, 3}) {
		t.Errorf("%d requests were delivered, %d shed", g.requests, h.shed)
	}
}

// The application's answer to a tag that it does not know covers tags that clients may come to send.
func TestTagsThatClientsMaySendReachTheHandler(t *testing.T) {
	h := newShard(t)
	_, address := openServer(t, "tcp", h, nil)
	c := greeted(t, "tcp", address)
	for i, tag := range []uint8{0, wire.TagAdminCommand, wire.TagTraced, wire.TagExtended, 0x10, 0xFF} {
		write(t, c, wire.AppendRequest(nil, uint64(i), tag, nil))
		expectEnd(t, c, uint64(i))
	}
}

// A subscription is a request like any other, and so is one with a sub-tag of a later version.
func TestSubTagsReachTheHandler(t *testing.T) {
	h := newShard(t)
	_, address := openServer(t, "tcp", h, nil)
	c := greeted(t, "tcp", address)
	bodies := [][]byte{wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: 7, Epoch: 1, After: 2}),
		wire.AppendUnsubscribeBody(nil, 7), {wire.SubSubscribe}, {wire.SubTopicData, 1, 2, 3}, {0x03}, {}}
	for i, body := range bodies {
		write(t, c, wire.AppendRequest(nil, uint64(i), wire.TagExtended, body))
		expectEnd(t, c, uint64(i))
	}
	for i, r := range h.requests() {
		if r.Seq != uint64(i) || r.Tag != wire.TagExtended || !bytes.Equal(r.Body, bodies[i]) {
			t.Errorf("request %d was delivered as %+v, want the body % x", i, r, bodies[i])
		}
	}
}

// The responses are sent only after the reader has reported the end, as a shard behind a durability
// gate would.
func TestHalfClosedClientReceivesAllResponses(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		var kept = make(chan int, 1)
		h.request = func(c Conn, _ wire.Request) error {
			if len(kept) == 0 {
				fd, err := unix.Dup(int(c.FD)) // stays open after the close in Disconnect
				kept <- fd
				return err
			}
			return nil
		}
		_, address := openServer(t, network, h, nil)
		c := dial(t, network, address, client.Options{})
		const sent = 100
		for i := range sent {
			c.Send(uint64(i), 0x10, []byte("0123456789"))
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		g := await(t, "end", h.ended)
		if g.reason != transport.ReasonPeerClosed || g.requests != sent {
			t.Errorf("ended with %v after %d requests", g.reason, g.requests)
		}
		for range sent {
			expect(t, c, wire.TagBatchEnd)
		}
		fd := <-kept
		if !sendAll(int32(fd), wire.AppendResponse(nil, wire.TagEngineError, make([]byte, 9))) {
			t.Error("sending failed after the half-close")
		}
		unix.Close(fd)
		expect(t, c, wire.TagEngineError)
	})
}

func TestErrorOfTheHandlerEndsTheConnection(t *testing.T) {
	h := newShard(t)
	h.request = func(_ Conn, r wire.Request) error {
		if r.Seq == 3 {
			return errors.New("stopping")
		}
		return nil
	}
	_, address := openServer(t, "tcp", h, nil)
	c := dial(t, "tcp", address, client.Options{})
	for i := range 5 {
		c.Send(uint64(i+1), 0x10, nil)
	}
	c.Flush()
	if g := await(t, "end", h.ended); g.reason != transport.ReasonRequestFailed || g.requests != 2 {
		t.Errorf("ended with %v after %d requests", g.reason, g.requests)
	}
}

// A shard that drops a client shuts its socket down. Requests that the client sent before and that
// the reader has not read must not be executed.
func TestRequestsAfterALocalShutdownAreNotExecuted(t *testing.T) {
	h := newShard(t)
	more := make(chan struct{})
	h.request = func(c Conn, r wire.Request) error {
		if r.Seq == 1 {
			unix.Shutdown(int(c.FD), unix.SHUT_RDWR)
			<-more
		}
		return nil
	}
	_, address := openServer(t, "tcp", h, nil)
	c := dial(t, "tcp", address, client.Options{})
	c.Send(1, 0x10, nil)
	c.Flush()
	if _, _, err := c.Next(); err != io.EOF {
		t.Errorf("the client read %v", err)
	}
	c.Send(2, 0x10, nil)
	c.Flush()
	close(more)
	if g := await(t, "end", h.ended); g.requests != 1 ||
		g.reason != transport.ReasonLocalShutdown && g.reason != transport.ReasonPeerReset {
		t.Errorf("ended with %v after %d requests", g.reason, g.requests)
	}
}

func TestResetIsReportedAsReset(t *testing.T) {
	h := newShard(t)
	_, address := openServer(t, "tcp", h, nil)
	c := greeted(t, "tcp", address)
	await(t, "connection", h.connected)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if g := await(t, "end", h.ended); g.reason != transport.ReasonPeerReset {
		t.Errorf("ended with %v", g.reason)
	}
}

func TestRequestsAboveTheRateAreShed(t *testing.T) {
	h := newShard(t)
	s, address := openServer(t, "tcp", h,
		func(c *Config) { c.RequestRate = Rate{PerSecond: 0.001, Burst: 3} })
	c := dial(t, "tcp", address, client.Options{})
	for i := range 5 {
		c.Send(uint64(i), 0x10, nil)
		c.Flush()
	}
	for i := range uint64(5) {
		tag := wire.TagBatchEnd
		if i >= 3 {
			tag = wire.TagServerBusy
		}
		got, body, err := c.Next()
		if request, ok := wire.DecodeServerBusy(body); err != nil || got != tag || !ok || request != i {
			t.Fatalf("received tag %#x of request %d, error %v; want %#x of %d", got, request, err, tag, i)
		}
	}
	c.Close()
	if g := await(t, "end", h.ended); g.requests != 3 {
		t.Errorf("%d requests were delivered", g.requests)
	}
	if n := s.Counters().Shed; n != 2 || !slices.Equal(h.shed, []uint64{3, 4}) {
		t.Errorf("%d requests were shed; reported %d", n, h.shed)
	}
}

// For requests of one read that are shed, the handler is called once, not once a request.
func TestRequestsOfOneReadAreShedTogether(t *testing.T) {
	h := newShard(t)
	s, address := openServer(t, "tcp", h,
		func(c *Config) { c.RequestRate = Rate{PerSecond: 0.001, Burst: 1} })
	c := dial(t, "tcp", address, client.Options{})
	const n = 1000 // 13 kB, in one segment
	for i := range n {
		c.Send(uint64(i), 0x10, nil)
	}
	c.Flush()
	expect(t, c, wire.TagBatchEnd)
	for range n - 1 {
		expect(t, c, wire.TagServerBusy)
	}
	c.Close()
	await(t, "end", h.ended)
	if len(h.shed) != n-1 || s.Counters().Shed != n-1 || h.sheds > n/20 {
		t.Errorf("%d and %d requests were shed in %d calls; want %d in a few calls", len(h.shed),
			s.Counters().Shed, h.sheds, n-1)
	}
	for i, number := range h.shed {
		if number != uint64(i+1) {
			t.Fatalf("number %d is %d", i, number)
		}
	}
}

// A handler that blocks makes its client wait through the socket, and no request is lost.
func TestBlockedHandlerPushesBack(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		entered, room := make(chan struct{}, 1), make(chan struct{})
		h.request = func(_ Conn, r wire.Request) error {
			if r.Seq == 1 {
				entered <- struct{}{}
				<-room
			}
			return nil
		}
		s, address := openServer(t, network, h, nil)
		c := greeted(t, network, address)
		write(t, c, wire.AppendRequest(nil, 1, 0x10, nil))
		await(t, "request", entered)
		frame := wire.AppendRequest(nil, 2, 0x10, make([]byte, 500))
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		sent := 0
		for {
			n, err := c.Write(frame[sent%len(frame):])
			sent += n
			if err != nil {
				break // the socket is full: the deadline passed
			}
		}
		if n := s.Counters().Requests; n != 0 {
			t.Errorf("%d requests counted before the handler accepted one", n)
		}
		close(room)
		go io.Copy(io.Discard, c)
		c.(interface{ CloseWrite() error }).CloseWrite()
		if g := await(t, "end", h.ended); g.requests != 1+uint64(sent/len(frame)) {
			t.Errorf("%d requests delivered, %d sent", g.requests, 1+sent/len(frame))
		}
	})
}
