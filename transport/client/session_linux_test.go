package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// echoes responds with the body of each request, on the reader's goroutine.
type echoes struct{ executed, shed atomic.Int64 }

func (*echoes) Connect(listen.Conn) error { return nil }

func (e *echoes) Request(c listen.Conn, r wire.Request) error {
	e.executed.Add(1)
	return write(c, append(wire.AppendResponse(nil, 0x30, r.Body), numbered(wire.TagBatchEnd, r.Seq)...))
}

func (e *echoes) Shed(c listen.Conn, requests []uint64) {
	var frames []byte
	for _, n := range requests {
		e.shed.Add(1)
		frames = append(frames, numbered(wire.TagServerBusy, n)...)
	}
	_ = write(c, frames) // the reader notices a client that has left
}

func (*echoes) Disconnect(c listen.Conn, _ uint64, _ transport.Reason) { unix.Close(int(c.FD)) }

func numbered(tag uint8, request uint64) []byte {
	return wire.AppendResponse(nil, tag, binary.LittleEndian.AppendUint64(nil, request))
}

func write(c listen.Conn, frames []byte) error {
	n, err := unix.Write(int(c.FD), frames)
	if err == nil && n < len(frames) {
		err = errors.New("the socket's buffer is full")
	}
	return err
}

// listening starts a server.
func listening(t *testing.T, cfg listen.Config, h listen.Handler) *listen.Server {
	t.Helper()
	s, err := listen.New(cfg, h)
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Serve()
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSessionsAttributeEveryResponseUnderLoad(t *testing.T) {
	for _, endpoint := range []listen.Endpoint{
		{Network: "tcp", Address: "127.0.0.1:0", Open: true},
		{Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Open: true},
	} {
		h := new(echoes)
		server := listening(t, listen.Config{Endpoints: []listen.Endpoint{endpoint},
			RequestRate: listen.Rate{PerSecond: 2000, Burst: 20}}, h)
		s, err := client.OpenSession(client.SessionOptions{Window: 40}, server.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		var workers sync.WaitGroup
		var done, shed atomic.Int64
		for i := range 50 {
			workers.Go(func() {
				for k := range 20 {
					text := fmt.Sprint(i, k)
					r, err := s.Do(context.Background(), 0x10, []byte(text))
					switch {
					case errors.Is(err, client.ErrBusy):
						shed.Add(1)
					case err != nil || len(r.Frames) != 1 || string(r.Frames[0].Body) != text:
						t.Errorf("response %+v to %q, error %v", r, text, err)
					default:
						done.Add(1)
					}
				}
			})
		}
		workers.Wait()
		s.Close()
		if done.Load() != h.executed.Load() || shed.Load() != h.shed.Load() || done.Load()+shed.Load() != 1000 ||
			shed.Load() == 0 {
			t.Errorf("client: %d done, %d shed; server: %d executed, %d shed", done.Load(), shed.Load(),
				h.executed.Load(), h.shed.Load())
		}
	}
}

func TestSessionSurvivesRestartOfItsServer(t *testing.T) {
	cfg := listen.Config{Endpoints: []listen.Endpoint{
		{Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Open: true}}}
	server := listening(t, cfg, new(echoes))
	s, err := client.OpenSession(client.SessionOptions{MinBackoff: time.Millisecond},
		cfg.Endpoints[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		for range 3 {
			// The server may still be ending the last connection when the first request is sent, or
			// about to be sent.
			r, err := s.Do(context.Background(), 0x10, []byte("x"))
			for errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, client.ErrNotSent) {
				r, err = s.Do(context.Background(), 0x10, []byte("x"))
			}
			if err != nil || len(r.Frames) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		server.Close()
		server = listening(t, cfg, new(echoes))
	}
}

func TestSessionWithUnknownKeyEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	known, err := client.GenerateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	unknown := filepath.Join(t.TempDir(), "unknown")
	if _, err := client.GenerateKey(unknown); err != nil {
		t.Fatal(err)
	}
	line := listen.AppendKeyLine(nil, listen.Trader, known, "")
	keys, err := listen.ParseKeys("keys", bytes.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	server := listening(t, listen.Config{Keys: keys,
		Endpoints: []listen.Endpoint{{Network: "tcp", Address: "127.0.0.1:0"}}}, new(echoes))
	for path, want := range map[string]error{path: nil, unknown: client.ErrAuthFailed} {
		key, err := client.ReadKey(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := client.OpenSession(client.SessionOptions{Conn: client.Options{Key: key}}, server.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Do(context.Background(), 0x10, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		s.Close()
	}
}
