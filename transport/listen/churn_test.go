package listen

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Disconnect closes each descriptor, and the next client reuses it at once. Each client sends its
// own number in every request. If a byte went to the wrong connection, two numbers would appear in
// one connection, or requests would be missing.
func TestReusedDescriptorsDoNotMixConnections(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		var owner sync.Map // connection id -> number of its client
		h.request = func(c Conn, r wire.Request) error {
			number := binary.LittleEndian.Uint64(r.Body)
			if was, seen := owner.LoadOrStore(c.ID, number); seen && was != number {
				t.Errorf("connection %d carried requests of clients %d and %d", c.ID, was, number)
			}
			return nil
		}
		_, address := openServer(t, network, h, func(c *Config) { c.Readers = 2 })
		const workers, rounds, requests = 8, 60, 5
		var numbers atomic.Uint64
		var wait sync.WaitGroup
		for range workers {
			wait.Go(func() {
				for i := range rounds {
					c, err := client.Dial(context.Background(), network, address, client.Options{})
					if err != nil {
						t.Error(err)
						return
					}
					c.SetReadDeadline(time.Now().Add(patience))
					body := binary.LittleEndian.AppendUint64(nil, numbers.Add(1))
					for seq := range requests {
						c.Send(uint64(seq), 0x10, body)
					}
					c.Flush()
					for range requests * (i % 2) { // every other client leaves without waiting for responses
						if tag, _, err := c.Next(); err != nil || tag != wire.TagBatchEnd {
							t.Errorf("tag %#x, error %v", tag, err)
						}
					}
					c.Close()
				}
			})
		}
		wait.Wait()
		for range workers * rounds {
			g := await(t, "end", h.ended)
			if g.reason == transport.ReasonPeerClosed && g.requests != requests {
				t.Errorf("a client that closed had %d requests delivered", g.requests)
			}
		}
	})
}

func TestIdleConnectionUsesAtMost200Bytes(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size > 96 {
		t.Errorf("a record has %d bytes", size)
	}
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	s.server.handler = nopHandler{}
	const n = 4096
	fds := make([]int32, 0, 2*n)
	for range n {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Skipf("%d connections need twice as many descriptors: %v", n, err)
		}
		fds = append(fds, int32(pair[0]), int32(pair[1]))
		t.Cleanup(func() { unix.Close(pair[1]) })
	}
	before := heap()
	for i := 0; i < len(fds); i += 2 {
		s.server.counters.handshakes.Add(1)
		s.begin(arrival{fd: fds[i]}, 0)
		sendAll(fds[i+1], plainHello())
	}
	for range n/eventsPerWait + 1 {
		s.advance(0)
	}
	established := heap()
	// Every client sends one and a half requests, then the rest. No buffer must be left after that.
	frame := wire.AppendRequest(nil, 1, 0x10, make([]byte, 500))
	for _, half := range [][]byte{append(frame, frame[:300]...), frame[300:]} {
		for i := 1; i < len(fds); i += 2 {
			sendAll(fds[i], half)
		}
		for range n/eventsPerWait + 1 {
			s.advance(0)
		}
	}
	if got := s.server.counters.requests.Load(); got != 2*n {
		t.Fatalf("%d requests were delivered", got)
	}
	idle := heap()
	perConn := func(after uint64) float64 { return float64(int64(after)-int64(before)) / n }
	t.Logf("record: %d B; heap per connection: %.1f B when connected, %.1f B idle after traffic",
		unsafe.Sizeof(record{}), perConn(established), perConn(idle))
	if perConn(idle) > 200 {
		t.Errorf("an idle connection takes %.1f B, want at most 200", perConn(idle))
	}
	runtime.KeepAlive(s)
}

func heap() uint64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nopHandler accepts everything, stores nothing, and closes its sockets in Disconnect.
type nopHandler struct{}

func (nopHandler) Connect(Conn) error                              { return nil }
func (nopHandler) Request(Conn, wire.Request) error                { return nil }
func (nopHandler) Shed(Conn, []uint64)                             {}
func (nopHandler) Disconnect(c Conn, _ uint64, _ transport.Reason) { unix.Close(int(c.FD)) }

func TestReadingDoesNotAllocate(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	peer := s.connect(t)
	s.server.handler = nopHandler{}
	frame := wire.AppendRequest(nil, 1, 0x10, make([]byte, 64))
	stream := append(append(append([]byte(nil), frame...), frame...), frame[:30]...)
	rest := frame[30:]
	if n := testing.AllocsPerRun(200, func() {
		peer.Write(stream)
		s.advance(0)
		peer.Write(rest)
		s.advance(0)
	}); n != 0 {
		t.Errorf("%v allocations for three requests, one of them in two parts", n)
	}
	if got := s.server.counters.requests.Load(); got != 3*201 {
		t.Errorf("%d requests delivered", got)
	}
}

func TestConnStringNamesEndpointUserRoleAndKey(t *testing.T) {
	c := Conn{ID: 7, UID: 1000, Role: Trader, Listener: "local"}
	if got, want := fmt.Sprint(c), "connection 7 on local (uid 1000, trader, key -)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
