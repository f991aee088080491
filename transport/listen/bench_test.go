package listen

import (
	"fmt"
	"net"
	"testing"

	"sluice/transport/wire"
)

// counting is a handler that signals when a number of requests arrived, and sends no responses.
type counting struct {
	nopHandler
	want, got int // reader goroutine
	done      chan struct{}
}

func (c *counting) Request(Conn, wire.Request) error {
	if c.got++; c.got == c.want {
		c.got = 0
		c.done <- struct{}{}
	}
	return nil
}

// BenchmarkOneReader sends requests of 64 bytes to one reader over real sockets, from one sending
// goroutine on the same cores. Each write(2) carries perWrite requests.
func BenchmarkOneReader(b *testing.B) {
	for _, network := range networks {
		for _, conns := range []int{1, 256} {
			for _, perWrite := range []int{1, 16, 256} {
				b.Run(fmt.Sprintf("%s/conns=%d/perWrite=%d", network, conns, perWrite), func(b *testing.B) {
					benchmarkReader(b, network, conns, perWrite)
				})
			}
		}
	}
}

func benchmarkReader(b *testing.B, network string, conns, perWrite int) {
	h := &counting{want: conns * perWrite, done: make(chan struct{}, 1)}
	s, err := New(Config{Endpoints: []Endpoint{endpoint(b, network, true)}, Sockets: Sockets{Congestion: "cubic"}}, h)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		b.Skipf("cannot listen with cubic: %v", err)
	}
	s.Serve()
	defer s.Close()
	var stream []byte
	for range perWrite {
		stream = wire.AppendRequest(stream, 1, 0x10, make([]byte, 51))
	}
	peers := make([]net.Conn, conns)
	for i := range peers {
		peers[i] = greeted(b, network, s.Addresses()[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range peers {
			if _, err := p.Write(stream); err != nil {
				b.Fatal(err)
			}
		}
		<-h.done
	}
	b.ReportMetric(float64(h.want)*float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkProcess measures the part without system calls: frames of 64 bytes from a full read
// buffer to the handler.
func BenchmarkProcess(b *testing.B) {
	s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}}, nopHandler{})
	if err != nil {
		b.Fatal(err)
	}
	r := &reader{server: s, table: newTable(), lists: lists{live: newList(), paused: newList()}}
	slot := r.table.add()
	rec := r.table.at(slot)
	rec.state = established
	r.live.push(&r.table, slot)
	var stream []byte
	for range 1000 {
		stream = wire.AppendRequest(stream, 1, 0x10, make([]byte, 51))
	}
	b.ReportAllocs()
	for b.Loop() {
		r.process(slot, rec, stream, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/request")
}

// BenchmarkHandshake measures the handshake of one client without its socket. The signature check
// dominates.
func BenchmarkHandshake(b *testing.B) {
	_, key := keyPair(0)
	s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: "s"}}, Keys: keyring(b)},
		nopHandler{})
	if err != nil {
		b.Fatal(err)
	}
	r := &reader{server: s, table: newTable(), nonces: map[int32][32]byte{0: {1, 2, 3}}}
	rec := &record{}
	hello := signedHello(key, r.nonces[0])
	b.ReportAllocs()
	for b.Loop() {
		if reason := r.authorize(0, rec, &hello, 0); reason != 0 {
			b.Fatal(reason)
		}
	}
}
