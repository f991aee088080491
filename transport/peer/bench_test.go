package peer

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// benchPair returns a node that is connected to another, which calls receive.
func benchPair(b *testing.B, secure bool, receive func(frame []byte)) *Links {
	b.Helper()
	ca := newAuthority(b)
	var sockets [3]net.Listener
	for n := 1; n <= 2; n++ {
		sockets[n] = listen(b)
	}
	var nodes [3]*Links
	up := make(chan bool, 100)
	for n := uint8(1); n <= 2; n++ {
		c := Config{Cluster: [16]byte{1}, Node: n, Incarnation: 1, Socket: sockets[n],
			Peers:   map[uint8]Peer{3 - n: {Address: sockets[3-n].Addr().String()}},
			Receive: func(_ Sender, _ Lane, frame []byte) { receive(frame) }}
		if n == 1 {
			c.OnState = func(uint8, Lane, bool) { up <- true }
		}
		if secure {
			c.TLS, _ = ca.config(ca.node(n))
		}
		var err error
		if nodes[n], err = New(c); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { nodes[n].Close() })
		nodes[n].Start()
	}
	for range lanes {
		<-up
	}
	return nodes[1]
}

// BenchmarkThroughput sends frames as fast as the append lane takes them.
func BenchmarkThroughput(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, size := range []int{64, 4 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("tls=%v/bytes=%d", secure, size), func(b *testing.B) {
				var arrived atomic.Int64
				done, want := make(chan struct{}), int64(b.N)
				l := benchPair(b, secure, func([]byte) {
					if arrived.Add(1) == want {
						close(done)
					}
				})
				frame := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					for !l.Send(2, Append, frame) {
						runtime.Gosched() // the queue is full
					}
				}
				<-done
			})
		}
	}
}

// BenchmarkOneWay sends a frame when the last one has arrived.
func BenchmarkOneWay(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", secure), func(b *testing.B) {
			arrived := make(chan time.Time, 1)
			l := benchPair(b, secure, func([]byte) { arrived <- time.Now() })
			frame := make([]byte, 100)
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				l.Send(2, Control, frame)
				took = append(took, (<-arrived).Sub(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}
