//go:build linux && giouring

package transport

import (
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// uringRig opens a rig with the io_uring engine, or skips the test.
func uringRig(t testing.TB, entries int) (*rig, *uring) {
	t.Helper()
	r := newRig(t, "uring/unix", entries)
	return r, r.ring.(*uring)
}

// TestUringLibrary makes each library call that the engine makes, alone, on a real kernel. Run it
// to evaluate another version of the library.
func TestUringLibrary(t *testing.T) {
	uringRig(t, 8) // skips if io_uring is not available
	ring := giouring.NewRing()
	if err := ring.QueueInit(4, giouring.SetupSubmitAll); err != nil {
		t.Fatalf("QueueInit: %v", err)
	}
	defer ring.QueueExit()
	if ring.SQReady() != 0 || ring.CQReady() != 0 || ring.CQHasOverflow() || ring.RingFd() < 0 {
		t.Fatalf("new ring: SQReady %d, CQReady %d, CQHasOverflow %t, RingFd %d", ring.SQReady(),
			ring.CQReady(), ring.CQHasOverflow(), ring.RingFd())
	}
	if cqe, err := ring.PeekCQE(); err == nil || cqe != nil {
		t.Fatalf("PeekCQE on an empty queue: %v, %v; want nil and an error", cqe, err)
	}
	fd, peer := realPair(t, "unix")
	defer unix.Close(int(fd))
	b := []byte("ring")
	// Twice around the ring, so that every entry is reused by another request.
	for i := range uint64(8) {
		sqe := ring.GetSQE()
		*sqe = giouring.SubmissionQueueEntry{}
		want := int32(0)
		if i%3 == 0 {
			sqe.PrepareNop()
		} else {
			sqe.PrepareSend(int(fd), uintptr(unsafe.Pointer(&b[0])), uint32(len(b)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			want = int32(len(b))
		}
		sqe.UserData = 1<<63 | i
		if n, err := ring.Submit(); n != 1 || err != nil {
			t.Fatalf("Submit: %d, %v; want 1", n, err)
		}
		if ring.CQReady() != 1 {
			t.Fatalf("CQReady %d after request %d; want 1: it did not complete inline", ring.CQReady(), i)
		}
		cqe, err := ring.PeekCQE()
		if err != nil || cqe.UserData != 1<<63|i || cqe.Res != want {
			t.Fatalf("PeekCQE: %+v, %v; want user data %#x, result %d", cqe, err, 1<<63|i, want)
		}
		ring.CQESeen(cqe)
		if want > 0 {
			peer.Take(len(b))
		}
	}
	for ring.GetSQE() != nil {
	}
	if ring.SQReady() != 4 {
		t.Fatalf("SQReady %d of a full queue of 4", ring.SQReady())
	}
}

// TestUringEntriesAreZeroed overwrites every submission entry and checks that the engine gets
// zeroed ones, twice around the ring.
func TestUringEntriesAreZeroed(t *testing.T) {
	_, u := uringRig(t, 4)
	for i := range 8 {
		sqe := u.entry()
		if *sqe != (giouring.SubmissionQueueEntry{}) {
			t.Fatalf("entry %d holds values of its last use: %+v", i, *sqe)
		}
		sqe.PrepareNop()
		_, sqe.UserData = u.sends.take()
		sqe.OpcodeFlags, sqe.Addr3, sqe.BufIG, sqe.SpliceFdIn = 1<<20, 1, 1, 1
		if err := u.Submit(); err != nil {
			t.Fatal(err)
		}
		var done [1]Completion
		if u.Reap(done[:]) != 1 {
			t.Fatal("no completion")
		}
	}
}

// TestUringOverflow completes more sends than the completion queue holds before it reaps.
func TestUringOverflow(t *testing.T) {
	const entries, batches = 8, 20
	r, u := uringRig(t, entries)
	fd, peer := r.open()
	r.widen(fd)
	next := byte(0)
	for range batches {
		for range entries {
			r.ring.Send(fd, []byte{next}, uint64(next))
			next++
		}
		r.submit()
	}
	for i, c := range r.await(entries * batches) {
		if c.User != uint64(i) || c.Res != 1 {
			t.Fatalf("completion %d: %+v", i, c)
		}
	}
	for i, b := range peer.Take(entries * batches) {
		if b != byte(i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	if u.counts.Overflows == 0 {
		t.Fatal("the completion queue did not overflow; the test is invalid")
	}
	closeAll(t, r, fd)
}

// TestUringSubmitErrors makes io_uring_enter return errors that a healthy kernel does not, and
// checks that each byte is sent once.
func TestUringSubmitErrors(t *testing.T) {
	real := func(u *uring) (uint, error) { return u.ring.Submit() }
	fail := func(errno unix.Errno) func(*uring) (uint, error) {
		return func(*uring) (uint, error) { return 0, errno }
	}
	// late does the work and then returns EINTR.
	late := func(u *uring) (uint, error) { _, _ = u.ring.Submit(); return 0, unix.EINTR }
	cases := []struct {
		name  string
		enter []func(*uring) (uint, error)
		check func(Counters) bool
	}{
		{"interrupted before anything was handed over",
			[]func(*uring) (uint, error){fail(unix.EINTR), fail(unix.EINTR), real},
			func(c Counters) bool { return c.Interrupted == 2 && c.Enters == 3 }},
		{"interrupted after everything was handed over", []func(*uring) (uint, error){late, real},
			func(c Counters) bool { return c.Interrupted == 1 }},
		{"busy with a full completion queue, then successful",
			[]func(*uring) (uint, error){fail(unix.EBUSY), real},
			func(c Counters) bool { return c.Starved == 1 }},
		{"short of memory for a moment",
			[]func(*uring) (uint, error){fail(unix.EAGAIN), fail(unix.ENOMEM), real},
			func(c Counters) bool { return c.Starved == 2 }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, u := uringRig(t, 8)
			calls := 0
			u.enter = func() (uint, error) {
				calls++
				return c.enter[min(calls, len(c.enter))-1](u)
			}
			fd, peer := r.open()
			r.widen(fd)
			for i := range 8 {
				r.ring.Send(fd, []byte{byte(i)}, uint64(i))
			}
			r.submit()
			if r.ring.Queued() != 0 {
				t.Fatalf("%d requests are still queued", r.ring.Queued())
			}
			for i, done := range r.await(8) {
				if done.User != uint64(i) || done.Res != 1 {
					t.Fatalf("completion %d: %+v", i, done)
				}
			}
			for i, b := range peer.Take(8) {
				if b != byte(i) {
					t.Fatalf("byte %d is %d", i, b)
				}
			}
			peer.Drain()
			r.none("every send completed once")
			if !c.check(u.counts) {
				t.Fatalf("counters %+v", u.counts)
			}
			closeAll(t, r, fd)
		})
	}
}

// TestUringPartialSubmit makes the kernel stop half-way: without IORING_SETUP_SUBMIT_ALL it stops
// behind a request that it refuses.
func TestUringPartialSubmit(t *testing.T) {
	r, _ := uringRig(t, 8)
	u, err := openUring(RingConfig{Entries: 8, Wake: func() {}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r.ring = u
	fd, peer := r.open()
	r.widen(fd)
	for i := range 8 {
		if i != 3 {
			u.Send(fd, []byte{byte(i)}, uint64(i))
			continue
		}
		slot, key := u.sends.take()
		slot.user = 3
		sqe := u.entry()
		sqe.OpCode, sqe.UserData = 255, key
	}
	r.submit()
	if u.Queued() != 0 || u.counts.Enters != 2 {
		t.Fatalf("%d requests queued, counters %+v; want 2 entries into the kernel", u.Queued(), u.counts)
	}
	for i, c := range r.await(8) {
		want := map[bool]int32{true: -int32(unix.EINVAL), false: 1}[i == 3]
		if c != (Completion{uint64(i), want}) {
			t.Fatalf("completion %d: %+v", i, c)
		}
	}
	if got := peer.Take(7); string(got) != "\x00\x01\x02\x04\x05\x06\x07" {
		t.Fatalf("peer read % x", got)
	}
	closeAll(t, r, fd)
}

// TestUringOutOfMemory uses a kernel that stays out of memory. Submit returns without an error, the
// requests stay queued, Park wakes the owner, and everything is sent once memory is available.
func TestUringOutOfMemory(t *testing.T) {
	r, u := uringRig(t, 8)
	fd, peer := r.open()
	u.enter = func() (uint, error) { return 0, unix.EAGAIN }
	r.ring.Send(fd, []byte{42}, 1)
	r.submit()
	if r.ring.Queued() != 1 || u.counts.Starved != starvedTries {
		t.Fatalf("queued %d, counters %+v", r.ring.Queued(), u.counts)
	}
	r.woken()
	r.ring.Park()
	r.rest()
	u.enter = u.ring.Submit
	r.submit()
	if c := r.await(1)[0]; c != (Completion{1, 1}) || peer.Take(1)[0] != 42 {
		t.Fatalf("completion %+v", c)
	}
	closeAll(t, r, fd)
}

// TestUringInDoubt replaces the ring's descriptor by one of /dev/null, so that io_uring_enter
// fails.
func TestUringInDoubt(t *testing.T) {
	r, u := uringRig(t, 8)
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, u.ring.RingFd(), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	fd, _ := r.open()
	r.ring.Send(fd, []byte{1}, 1)
	for range 2 {
		if err := r.ring.Submit(); !errors.Is(err, ErrRingInDoubt) || !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatalf("Submit: %v; want ErrRingInDoubt wrapping EOPNOTSUPP", err)
		}
	}
	closeAll(t, r, fd)
}

// The kernel took everything, and then reported an error.
func TestUringInDoubtHasSomethingQueued(t *testing.T) {
	r, u := uringRig(t, 8)
	enter := u.enter
	u.enter = func() (uint, error) {
		_, _ = enter()
		return 0, unix.EFAULT
	}
	fd, _ := r.open()
	r.ring.Send(fd, []byte{1}, 1)
	err := r.ring.Submit()
	if left := u.ring.SQReady(); !errors.Is(err, ErrRingInDoubt) || left != 0 || r.ring.Queued() == 0 {
		t.Fatalf("Submit: %v; %d left to the kernel, %d queued", err, left, r.ring.Queued())
	}
	closeAll(t, r, fd)
}

// TestRingUnderSignals sends signals at a rate of about 1 kHz to the process while streams are
// compared byte by byte. Preemption by the Go runtime does the same with SIGURG, at a lower rate.
func TestRingUnderSignals(t *testing.T) {
	for _, engine := range []string{"uring/unix", "uring/tcp", "poll/unix", "poll/tcp"} {
		t.Run(engine, func(t *testing.T) {
			r := newRig(t, engine, 16)
			stop, stopped := make(chan struct{}), make(chan int)
			go func() {
				tick := time.NewTicker(200 * time.Microsecond)
				defer tick.Stop()
				for n := 0; ; n++ {
					select {
					case <-stop:
						stopped <- n
						return
					case <-tick.C:
						_ = unix.Kill(unix.Getpid(), unix.SIGURG)
					}
				}
			}()
			stream(t, r, 4, 2_000_000)
			close(stop)
			t.Logf("%d signals, %d interruptions seen", <-stopped, r.ring.Counters().Interrupted)
		})
	}
}

// stream sends size bytes of the pattern over each of several connections, which block and are
// polled, and compares every byte at the clients.
func stream(t *testing.T, r *rig, conns, size int) {
	fds, sent := make([]int32, conns), make([]int, conns)
	finished := make(chan struct{}, conns)
	for i := range fds {
		fd, peer := r.open()
		fds[i] = fd
		go func() {
			defer func() { finished <- struct{}{} }()
			for at := 0; at < size; {
				at += checkPattern(t, peer.Take(min(1000, size-at)), at)
			}
		}()
	}
	source := pattern(0, size)
	ready, left := make([]int, conns), conns
	for i := range ready {
		ready[i] = i
	}
	var done [8]Completion
	for left > 0 {
		for _, i := range ready {
			r.ring.Send(fds[i], source[sent[i]:min(size, sent[i]+10_000)], uint64(i))
		}
		ready = ready[:0]
		r.submit()
		n := r.ring.Reap(done[:])
		if n == 0 {
			r.ring.Park()
			r.rest()
		}
		for _, c := range done[:n] {
			i := int(c.User & 0xff)
			switch {
			case c.User>>8 == 1: // a poll
				ready = append(ready, i)
			case c.Res == -int32(unix.EAGAIN):
				r.ring.Poll(fds[i], 1<<8|c.User)
			case c.Res < 0 && c.Res != -int32(unix.EINTR):
				t.Fatalf("send: %v", unix.Errno(-c.Res))
			default:
				if sent[i] += int(max(c.Res, 0)); sent[i] == size {
					left--
				} else {
					ready = append(ready, i)
				}
			}
		}
	}
	for range conns {
		<-finished
	}
	closeAll(t, r, fds...)
}

// TestUringPollSeesHalfClose shows why the engine does not use the poll of io_uring: asked for
// writability only, it reports a half-closed peer. If this test fails, the kernel has changed and
// decision record 0003 can be reconsidered.
func TestUringPollSeesHalfClose(t *testing.T) {
	_, u := uringRig(t, 8)
	fd, peer := realPair(t, "unix")
	defer unix.Close(int(fd))
	fillRaw(t, fd)
	peer.HalfClose()
	_, key := u.sends.take()
	sqe := u.entry()
	sqe.PreparePollAdd(int(fd), unix.POLLOUT)
	sqe.UserData = key
	if err := u.Submit(); err != nil {
		t.Fatal(err)
	}
	var done [1]Completion
	if u.Reap(done[:]) != 1 || done[0].Res&unix.POLLOUT != 0 || done[0].Res&unix.POLLRDHUP == 0 {
		t.Errorf("POLL_ADD(POLLOUT) on a full socket of a half-closed peer: %+v; it used to "+
			"report POLLRDHUP immediately", done[0])
		_ = unix.Shutdown(int(fd), unix.SHUT_RDWR)
	}
}
