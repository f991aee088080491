package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/actors"
	"sluice/transport"
)

const patience = time.Minute

// start serves until the test ends, or stop is called, which returns the error of serve.
func start(t *testing.T, cfg actors.Config) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, cfg) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		select {
		case err := <-served:
			return err
		case <-time.After(patience):
			return fmt.Errorf("it does not end")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), stop
}

// guest is a minimal client of RFC 6455.
type guest struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// enter makes a connection. The key and the answer to it are those of RFC 6455, 1.3.
func enter(t *testing.T, address string) *guest {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	g := &guest{t, conn, bufio.NewReader(conn)}
	// The first message is sent with the request: the HTTP server may have read it already.
	request := fmt.Sprintf("GET /chat HTTP/1.1\r\nHost: %s\r\nOrigin: http://%[1]s\r\n"+
		"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", address)
	g.write(append([]byte(request), masked(opText, "hello")...))
	response, err := http.ReadResponse(g.in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols ||
		response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the upgrade: %+v, %v", response, err)
	}
	return g
}

// masked is a frame of a client.
func masked(opcode byte, text string) []byte {
	frame := appendFrame(nil, opcode, text)
	head := len(frame) - len(text)
	frame[1] |= 0x80
	mask := []byte{1, 2, 3, 4}
	out := append(append([]byte(nil), frame[:head]...), mask...)
	for i := range len(text) {
		out = append(out, text[i]^mask[i%4])
	}
	return out
}

func (g *guest) write(b []byte) {
	g.t.Helper()
	if _, err := g.conn.Write(b); err != nil {
		g.t.Fatal(err)
	}
}

// next reads a frame, which is not masked.
func (g *guest) next() (opcode byte, text string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(g.in, head[:]); err != nil {
		return 0, "", err
	}
	size := int(head[1])
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(g.in, long[:]); err != nil {
			return 0, "", err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	if head[0]&0xF0 != 0x80 || size > maxMessage+nameRoom {
		return 0, "", fmt.Errorf("a frame with head % x", head)
	}
	payload := make([]byte, size)
	_, err = io.ReadFull(g.in, payload)
	return head[0] & 0x0F, string(payload), err
}

// wants reads frames, of which each has that opcode and text.
func (g *guest) wants(opcode byte, texts ...string) {
	g.t.Helper()
	for _, want := range texts {
		if op, text, err := g.next(); err != nil || op != opcode || text != want {
			g.t.Fatalf("got opcode %#x, %q, %v; want %#x, %q", op, text, err, opcode, want)
		}
	}
}

// wantsClose reads the close frame and the end of the stream.
func (g *guest) wantsClose(status uint16) {
	g.t.Helper()
	g.wants(opClose, string(binary.BigEndian.AppendUint16(nil, status)))
	if op, text, err := g.next(); err != io.EOF {
		g.t.Errorf("after the close: opcode %#x, %q, %v", op, text, err)
	}
}

// eachEngine runs a test on every engine that is compiled in.
func eachEngine(t *testing.T, test func(t *testing.T, cfg actors.Config)) {
	for _, mode := range []transport.Mode{transport.ModePoll, transport.ModeUring} {
		t.Run(mode.String(), func(t *testing.T) {
			ring, diagnosis, err := transport.Open(mode, transport.RingConfig{Entries: 2, Wake: func() {}})
			if err != nil {
				t.Skip(diagnosis.Text)
			}
			ring.Close()
			test(t, actors.Config{IO: mode, Shards: 1})
		})
	}
}

func TestMessagesReachEveryClientInOrder(t *testing.T) {
	eachEngine(t, func(t *testing.T, cfg actors.Config) {
		address, _ := start(t, cfg)
		first := enter(t, address)
		first.wants(opText, "client 1 joined", "client 1: hello")
		second := enter(t, address)
		both := []*guest{first, second}
		for _, g := range both {
			g.wants(opText, "client 2 joined", "client 2: hello")
		}
		long := strings.Repeat("é", maxMessage/2)
		second.write(masked(opText, long))
		second.write(append(masked(opPing, "are you there?"), masked(opText, "done")...))
		first.wants(opText, "client 2: "+long, "client 2: done")
		got := map[string]bool{} // the pong may overtake
		for range 3 {
			op, text, err := second.next()
			if err != nil {
				t.Fatal(err)
			}
			got[fmt.Sprintf("%x %s", op, text)] = true
		}
		if !got["a are you there?"] || !got["1 client 2: "+long] || !got["1 client 2: done"] {
			t.Errorf("got %v", got)
		}
		second.write(masked(opClose, "\x03\xe8"))
		second.wantsClose(statusNormal)
		first.wants(opText, "client 2 left")
		first.conn.Close() // without a close frame
	})
}

func TestShutdownAndMistakesAreTold(t *testing.T) {
	eachEngine(t, func(t *testing.T, cfg actors.Config) {
		address, stop := start(t, cfg)
		for name, frame := range map[string][]byte{
			"not masked":       appendFrame(nil, opText, "x"),
			"in two parts":     {opText, 0x80, 0, 0, 0, 0},
			"too long":         masked(opText, strings.Repeat("x", maxMessage+1)),
			"of eight bytes":   {0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'},
			"a long ping":      masked(opPing, strings.Repeat("x", maxControl+1)),
			"not UTF-8":        masked(opText, "\xff"),
			"unknown":          masked(0x3, "x"),
			"a reserved bit":   {0xC1, 0x80, 0, 0, 0, 0},
			"binary, unwanted": masked(0x2, "x"),
		} {
			g := enter(t, address)
			for range 2 {
				g.next() // that it joined, and its hello
			}
			g.write(frame)
			if op, text, err := g.next(); err != nil || op != opClose || text != "\x03\xea" {
				t.Errorf("%s: opcode %#x, %q, %v; want close 1002", name, op, text, err)
			}
		}
		last := enter(t, address)
		for text := ""; !strings.Contains(text, "hello"); {
			var err error
			if _, text, err = last.next(); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		last.wantsClose(statusGoing)
	})
}

func TestHeartbeatIsAPing(t *testing.T) {
	cfg := actors.Config{IO: transport.ModePoll, Shards: 1, Heartbeat: 50 * time.Millisecond}
	address, _ := start(t, cfg)
	g := enter(t, address)
	next := func(want string) { // between any two texts there may be pings
		for op, text := byte(opPing), ""; op == opPing; {
			var err error
			if op, text, err = g.next(); err != nil || op != opPing && text != want {
				t.Fatalf("opcode %#x, %q, %v; want %q", op, text, err, want)
			}
		}
	}
	next("client 1 joined")
	next("client 1: hello")
	g.wants(opPing, "", "")
	g.write(masked(opPong, ""))
	g.write(masked(opText, "still here"))
	next("client 1: still here")
}

func TestOtherRequestsAreNotUpgraded(t *testing.T) {
	address, _ := start(t, actors.Config{IO: transport.ModePoll, Shards: 1})
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for name, value := range map[string]string{
		"Connection": "close", "Upgrade": "h2c", "Sec-WebSocket-Version": "8",
		"Sec-WebSocket-Key": "", "Origin": "http://elsewhere.example",
	} {
		request, err := http.NewRequest("GET", "http://"+address+"/chat", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = upgrade.Clone()
		request.Header.Set(name, value)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %q: status %s", name, value, response.Status)
		}
	}
	response, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != page {
		t.Errorf("the page: %d bytes, %v", len(body), err)
	}
	response.Body.Close()
}
