package transport

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A shard reaps many times for each burst of responses. While a poll of a full socket is pending,
// reaping makes no system calls, and the poll is still reported when the socket has room.
func TestPendingPollCostsNoSystemCalls(t *testing.T) {
	for _, mode := range []Mode{ModeUring, ModePoll} {
		t.Run(mode.String(), func(t *testing.T) {
			looks := 0
			wake := make(chan struct{}, 1)
			ring, err := OpenFailing(mode, RingConfig{Entries: 8, Wake: func() {
				select {
				case wake <- struct{}{}:
				default:
				}
			}}, func(c Call) syscall.Errno {
				if c == CallWait {
					looks++
				}
				return 0
			})
			if err != nil {
				t.Skipf("this engine is not available: %v", err)
			}
			defer ring.Close()
			fd, peer := realPair(t, "unix")
			for full := false; !full; {
				_, err := unix.SendmsgN(int(fd), make([]byte, 512), nil, nil, unix.MSG_DONTWAIT)
				full = err == unix.EAGAIN
			}
			<-wake // the watcher wakes the owner once at its start
			if !ring.Poll(fd, 7) {
				t.Fatal("Poll returned false")
			}
			var done [4]Completion
			for range 10_000 {
				if n := ring.Reap(done[:]); n != 0 {
					t.Fatalf("%d completions for a full socket: %+v", n, done[0])
				}
				ring.Park()
			}
			if looks > 2 {
				t.Errorf("%d calls of epoll_wait in 10,000 rounds without an event", looks)
			}
			peer.Drain()
			for deadline := time.Now().Add(patience); ring.Reap(done[:]) == 0; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("the poll was not reported")
				}
			}
			if done[0].User != 7 || done[0].Res <= 0 {
				t.Errorf("completion %+v", done[0])
			}
		})
	}
}

// A queue that is never empty uses the places of what was taken again.
func TestFifoReusesItsFront(t *testing.T) {
	var f fifo
	pushed, popped := uint64(0), uint64(0)
	for range 10_000 {
		for f.len() < 4 {
			f.push(Completion{User: pushed})
			pushed++
		}
		for f.len() > 1 {
			if c, ok := f.pop(); !ok || c.User != popped {
				t.Fatalf("got %d, %t; want %d", c.User, ok, popped)
			}
			popped++
		}
	}
	if cap(f.items) > 8 {
		t.Errorf("a queue of 1 to 4 completions has room for %d", cap(f.items))
	}
}

// A net.Conn whose descriptor was duplicated may be open longer than the duplicate that is sent on.
func TestPollOfClosedDuplicateIsNotReported(t *testing.T) {
	for _, mode := range []Mode{ModeUring, ModePoll} {
		t.Run(mode.String(), func(t *testing.T) {
			wake := make(chan struct{}, 1)
			ring, _, err := Open(mode, RingConfig{Entries: 8, Wake: func() {
				select {
				case wake <- struct{}{}:
				default:
				}
			}})
			if err != nil {
				t.Skipf("this engine is not available: %v", err)
			}
			defer ring.Close()
			original, peer := realPair(t, "unix")
			defer unix.Close(int(original))
			other, otherPeer := realPair(t, "unix")
			defer ring.CloseSocket(other)
			fill := func(fd int32) {
				for full := false; !full; {
					_, err := unix.SendmsgN(int(fd), make([]byte, 512), nil, nil, unix.MSG_DONTWAIT)
					full = err == unix.EAGAIN
				}
			}
			fill(original)
			fill(other)
			duplicate, err := unix.FcntlInt(uintptr(original), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ring.Poll(int32(duplicate), 7)
			ring.Poll(other, 8)
			if err := ring.CloseSocket(int32(duplicate)); err != nil {
				t.Fatal(err)
			}
			peer.Drain() // the socket is ready, and only the original is open
			otherPeer.Drain()
			var users []uint64
			var done [4]Completion
			for deadline := time.Now().Add(patience); len(users) < 2; runtime.Gosched() {
				for _, c := range done[:ring.Reap(done[:])] { // panics on a poll that is not pending
					users = append(users, c.User)
				}
				if time.Now().After(deadline) {
					t.Fatalf("completions of %v only", users)
				}
			}
			if users[0] != 7 || users[1] != 8 {
				t.Errorf("completions of %v, want 7, 8", users)
			}
		})
	}
}
