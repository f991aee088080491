package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

// peer is the server's side of one connection in a test: its methods are a script.
type peer struct {
	net.Conn
	in []byte
}

// next returns the next frame of the client, heartbeats included.
func (p *peer) next() (wire.Request, error) {
	for {
		r, size, err := wire.NextRequest(p.in, 1<<20)
		if err != nil {
			return r, err
		}
		if size > 0 {
			r.Body = bytes.Clone(r.Body)
			p.in = p.in[size:]
			return r, nil
		}
		b := make([]byte, 4096)
		n, err := p.Read(b)
		p.in = append(p.in, b[:n]...)
		if err != nil && n == 0 {
			return r, err
		}
	}
}

// request returns the next request, without heartbeats.
func (p *peer) request() (wire.Request, error) {
	for {
		if r, err := p.next(); err != nil || r.Tag != wire.TagHeartbeat {
			return r, err
		}
	}
}

// requests reads n requests and returns their numbers.
func (p *peer) requests(n int) (numbers []uint64, err error) {
	for range n {
		r, err := p.request()
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, r.Seq)
	}
	return numbers, nil
}

func (p *peer) send(frames ...[]byte) error {
	_, err := p.Write(bytes.Join(frames, nil))
	return err
}

// hello sends a Challenge and reads the Hello.
func (p *peer) hello() error {
	if err := p.send(wire.AppendChallenge(nil, &wire.Challenge{})); err != nil {
		return err
	}
	r, err := p.next()
	if err == nil && r.Tag != wire.TagHello {
		err = fmt.Errorf("tag %#x, want Hello", r.Tag)
	}
	return err
}

// admit does the handshake of a server that leads. Zero limits become those of a usual server.
func (p *peer) admit(s wire.ServerReady) error {
	s.Leads = true
	return p.welcome(s)
}

// welcome does the handshake.
func (p *peer) welcome(s wire.ServerReady) error {
	s.Version = 1
	if s.MaxRequest == 0 {
		s.MaxRequest = 1024
	}
	return errors.Join(p.hello(), p.send(wire.AppendServerReady(nil, &s)))
}

// drain reads until the client closes the connection.
func (p *peer) drain() error {
	for {
		if _, err := p.next(); err != nil {
			return nil
		}
	}
}

func numbered(tag uint8, request uint64, rest ...byte) []byte {
	return wire.AppendResponse(nil, tag, append(binary.LittleEndian.AppendUint64(nil, request), rest...))
}

func endOf(request uint64) []byte { return numbered(wire.TagBatchEnd, request) }
func busy(request uint64) []byte  { return numbered(wire.TagServerBusy, request) }
func refusal(request uint64, reason wire.Refusal) []byte {
	return numbered(wire.TagEngineError, request, byte(reason))
}

func frame(tag uint8, text string) []byte { return wire.AppendResponse(nil, tag, []byte(text)) }

func goodbye(reason wire.CloseReason, again time.Duration) []byte {
	return wire.AppendClose(nil, wire.Close{Reason: reason, RetryAfter: again})
}

// world is a session whose servers are scripts, in a bubble with a clock of its own.
type world struct {
	t *testing.T
	*Session
	servers sync.WaitGroup

	mu      sync.Mutex
	states  []State
	dialled []string // "address at time since the start"
	began   time.Time
}

// script serves the nth connection, from 0, to an address.
type script func(n int, address string, p *peer) error

var errUnreachable = errors.New("unreachable")

// inWorld runs a test with a session whose connections are served by the script. A nil script
// refuses every connection, and so does an address that begins with dead. An error of the script fails
// the test. The bubble reports goroutines that outlive the session.
func inWorld(t *testing.T, o SessionOptions, addresses []string, serve script, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, began: time.Now()}
		o.OnState = func(s State) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.states = append(w.states, s)
		}
		n := 0 // of the session's goroutine
		o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			w.mu.Lock()
			w.dialled = append(w.dialled, fmt.Sprintf("%s at %v", address, time.Since(w.began)))
			w.mu.Unlock()
			if serve == nil || strings.HasPrefix(address, "dead") {
				return nil, errUnreachable
			}
			client, server := net.Pipe()
			k := n
			n++
			w.servers.Go(func() {
				defer server.Close()
				if err := serve(k, address, &peer{Conn: server}); err != nil {
					t.Errorf("server, connection %d: %v", k, err)
				}
			})
			return client, nil
		}
		var err error
		if w.Session, err = OpenSession(o, addresses...); err != nil {
			t.Fatal(err)
		}
		test(w)
		w.Session.Close()
		w.servers.Wait()
	})
}

// last returns the last state of a phase, after everything that can happen now has happened.
func (w *world) last(p Phase) (found State) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.states {
		if s.Phase == p {
			found = s
		}
	}
	if found.Phase == 0 {
		w.t.Fatalf("never %v: %+v", p, w.states)
	}
	return found
}

// attempts is the number of connections that were tried.
func (w *world) attempts() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dialled)
}

// start sends a request without waiting for its response.
func (w *world) start(text string) *Call {
	w.t.Helper()
	c, err := w.Send(context.Background(), 0x10, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// elapse lets time pass, the bubble's.
func elapse(d time.Duration) { pause(context.Background(), d) }

// wait waits for a response, at most a minute of the bubble.
func wait(c *Call) (Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Wait(ctx)
}

func texts(r Response) (list []string) {
	for _, f := range r.Frames {
		list = append(list, fmt.Sprintf("%#x %s", f.Tag, f.Body))
	}
	return list
}
