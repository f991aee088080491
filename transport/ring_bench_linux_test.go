package transport

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSend is the loop of an egress shard alone: one send of 64 bytes to each dirty
// connection, then submit and reap. ns/send is the figure to compare. The time in which the clients
// read is excluded for all engines.
func BenchmarkSend(b *testing.B) {
	for _, family := range []string{"unix", "tcp"} {
		for _, conns := range []int{1, 16, 256} {
			for _, engine := range []string{"uring", "poll", "write"} {
				b.Run(fmt.Sprintf("%s/conns=%d/%s", family, conns, engine), func(b *testing.B) {
					benchmarkSend(b, engine, family, conns)
				})
			}
		}
	}
}

func benchmarkSend(b *testing.B, engine, family string, conns int) {
	fds, clients := make([]int32, conns), make([]int, conns)
	for i := range fds {
		fd, peer := realPair(b, family)
		fds[i], clients[i] = fd, peer.fd
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
			b.Fatal(err)
		}
		defer unix.Close(int(fd))
	}
	frame, scrap := make([]byte, 64), make([]byte, 1<<16)
	flush := func() {
		for _, fd := range fds {
			if n, err := unix.Write(int(fd), frame); n != len(frame) {
				b.Fatal(n, err)
			}
		}
	}
	if engine != "write" {
		ring := newRig(b, engine+"/"+family, 256).ring
		done := make([]Completion, 256)
		flush = func() {
			for i, fd := range fds {
				ring.Send(fd, frame, uint64(i))
			}
			if err := ring.Submit(); err != nil || ring.Reap(done) != conns {
				b.Fatal("a flush did not complete", err)
			}
		}
	}
	b.ReportAllocs()
	round := 0
	for b.Loop() {
		flush()
		if round++; round%64 == 0 {
			b.StopTimer()
			for _, client := range clients {
				for n, err := unix.Read(client, scrap); n == len(scrap) && err == nil; {
					n, err = unix.Read(client, scrap)
				}
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*conns), "ns/send")
}

// BenchmarkBlocked is a connection that becomes blocked and writable again: refuse, poll, drain,
// reap, send. It includes the wake-ups of the watcher.
func BenchmarkBlocked(b *testing.B) {
	for _, engine := range []string{"uring", "poll"} {
		b.Run(engine, func(b *testing.B) {
			r := newRig(b, engine+"/unix", 8)
			fd, peer := realPair(b, "unix")
			defer unix.Close(int(fd))
			frame, done, scrap := make([]byte, 1<<16), make([]Completion, 8), make([]byte, 1<<16)
			b.ReportAllocs()
			for b.Loop() {
				for res := int32(0); res >= 0; res = done[0].Res {
					r.ring.Send(fd, frame, 1)
					if r.ring.Submit() != nil || r.ring.Reap(done) != 1 {
						b.Fatal("no completion")
					}
				}
				r.ring.Poll(fd, 2)
				for n, err := unix.Read(peer.fd, scrap); n > 0 && err == nil; {
					n, err = unix.Read(peer.fd, scrap)
				}
				if r.ring.Submit() != nil || r.ring.Reap(done) != 1 {
					b.Fatal("the poll did not complete")
				}
			}
		})
	}
}

// BenchmarkWake is the time from a client's read to the wake-up of a sleeping owner.
func BenchmarkWake(b *testing.B) {
	for _, engine := range []string{"uring", "poll"} {
		b.Run(engine, func(b *testing.B) {
			r := newRig(b, engine+"/unix", 8)
			fd, peer := realPair(b, "unix")
			defer unix.Close(int(fd))
			done, scrap := make([]Completion, 8), make([]byte, 1<<16)
			for b.Loop() {
				b.StopTimer()
				for unix.Send(int(fd), scrap[:4096], unix.MSG_DONTWAIT) == nil {
				}
				r.ring.Poll(fd, 2)
				if r.ring.Submit() != nil || r.ring.Reap(done) != 0 {
					b.Fatal("the socket is not full")
				}
				r.woken()
				r.ring.Park()
				b.StartTimer()
				for n, err := unix.Read(peer.fd, scrap); n > 0 && err == nil; {
					n, err = unix.Read(peer.fd, scrap)
				}
				for r.ring.Reap(done) == 0 {
					<-r.wake
				}
			}
		})
	}
}
