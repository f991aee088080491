package transport

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRingCloseLeaksNothing closes rings with pending polls and counts descriptors and goroutines.
func TestRingCloseLeaksNothing(t *testing.T) {
	for _, engine := range []string{"uring", "poll"} {
		t.Run(engine, func(t *testing.T) {
			newRig(t, engine+"/unix", 8) // skips if the engine is not available
			mode, _ := ParseMode(engine)
			files, goroutines := openFiles(t), runtime.NumGoroutine()
			for range 20 {
				ring, _, err := Open(mode, RingConfig{Entries: 8, Wake: func() {}})
				if err != nil {
					t.Fatal(err)
				}
				r := &rig{t: t, ring: ring}
				fd, peer := realPair(t, "unix")
				for ring.Send(fd, make([]byte, 1<<16), 1) {
				}
				r.submit()
				r.poll(fd, 1)
				ring.Park()
				ring.Send(fd, []byte{1}, 2)
				for range 2 {
					if err := ring.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if err := ring.Submit(); !errors.Is(err, ErrRingInDoubt) {
					t.Fatalf("Submit after Close: %v; want ErrRingInDoubt", err)
				}
				if n := ring.Queued(); n != 0 {
					t.Fatalf("%d requests queued after Close", n)
				}
				unix.Close(int(fd))
				peer.Drain()
				if !peer.EOF() {
					t.Fatal("the client did not read the end of the stream: the closed ring " +
						"still holds the socket")
				}
				peer.Close()
			}
			settles(t, "open descriptors", files, func() int { return openFiles(t) })
			settles(t, "goroutines", goroutines, runtime.NumGoroutine)
		})
	}
}

// TestMorePollsThanEntries has many more polls pending than the ring has entries, and completes
// them all at once.
func TestMorePollsThanEntries(t *testing.T) {
	for _, engine := range []string{"uring/unix", "poll/unix", "sim"} {
		t.Run(engine, func(t *testing.T) {
			polls := 10_000
			var limit unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
				t.Fatal(err)
			}
			if most := int(limit.Cur-200) / 2; engine != "sim" && polls > most {
				polls = most
				t.Logf("%d polls, because RLIMIT_NOFILE is %d", polls, limit.Cur)
			}
			manyPolls(t, newRig(t, engine, 256), polls)
		})
	}
}

func manyPolls(t *testing.T, r *rig, polls int) {
	fds, peers := make([]int32, polls), make([]rigPeer, polls)
	for i := range fds {
		fds[i], peers[i] = r.open()
		if r.sim != nil {
			r.sim.at(fds[i]).take(make([]byte, 4096), 4096)
		} else {
			fillRaw(t, fds[i])
		}
		for !r.ring.Poll(fds[i], uint64(i)) {
			r.submit()
		}
	}
	r.submit()
	r.none("no socket has room")
	for _, peer := range peers {
		peer.Drain()
	}
	seen := make([]bool, polls)
	for _, c := range r.await(polls) {
		if seen[c.User] || c.Res < 0 || c.Res&unix.POLLOUT == 0 {
			t.Fatalf("completion %+v (seen before: %t); want POLLOUT once", c, seen[c.User])
		}
		seen[c.User] = true
	}
	r.none("every poll completed")
	if c := r.ring.Counters(); c.Polls != uint64(polls) || r.sim != nil && c.Overflows == 0 {
		t.Fatalf("counters %+v; want %d polls and an overflow", *c, polls)
	}
	closeAll(t, r, fds...)
	for _, peer := range peers {
		peer.Close()
	}
}

// fillRaw fills a socket without the ring.
func fillRaw(t *testing.T, fd int32) {
	t.Helper()
	for b := make([]byte, 1<<14); ; {
		if _, err := unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Fatal(fmt.Errorf("filling fd %d: %w", fd, err))
			}
			return
		}
	}
}

// TestRingDoesNotAllocate counts the allocations on the path of every response.
func TestRingDoesNotAllocate(t *testing.T) {
	for _, engine := range []string{"uring/unix", "poll/unix"} {
		t.Run(engine, func(t *testing.T) {
			r := newRig(t, engine, 64)
			var fds [32]int32
			var peers [32]rigPeer
			for i := range fds {
				fds[i], peers[i] = r.open()
			}
			b, done, scrap := make([]byte, 64), make([]Completion, 64), make([]byte, 64)
			step := func() {
				for i, fd := range fds {
					r.ring.Send(fd, b, uint64(i))
				}
				if r.ring.Submit() != nil || r.ring.Reap(done) != len(fds) {
					t.Fatal("a batch did not complete")
				}
				for _, peer := range peers {
					if n, err := unix.Read(peer.(*realPeer).fd, scrap); n != len(b) {
						t.Fatal(n, err)
					}
				}
				r.ring.Poll(fds[0], 1)
				if r.ring.Submit() != nil || r.ring.Reap(done) > 1 {
					t.Fatal("the poll failed")
				}
				r.ring.Cancel(1)
				if r.ring.Submit() != nil {
					t.Fatal("the cancel failed")
				}
				r.ring.Reap(done)
				r.ring.Park()
			}
			step()
			if n := testing.AllocsPerRun(200, step); n != 0 {
				t.Fatalf("%v allocations per step; want 0", n)
			}
			closeAll(t, r, fds[:]...)
		})
	}
}

func checkBadSends(t *testing.T, r *rig) {
	panics(t, "an empty send", func() { r.ring.Send(3, nil, 1) })
	panics(t, "a send to no descriptor", func() { r.ring.Send(-1, []byte{1}, 1) })
	panics(t, "a poll of no descriptor", func() { r.ring.Poll(-1, 1) })
}
