package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRingConformance checks each engine against the contract of Ring.
func TestRingConformance(t *testing.T) {
	cases := []struct {
		name    string
		entries int
		check   func(*testing.T, *rig)
	}{
		{"more sends than entries, of many connections, arrive whole and in order", 4, checkOrder},
		{"a full queue rejects a request and accepts it after Submit", 8, checkQueueFull},
		{"a send larger than the room is short, the next is refused, a poll reports room", 8, checkPartial},
		{"a poll of a socket with room completes immediately", 8, checkPollReady},
		{"a poll of a half-closed client's socket waits for room", 8, checkPollHalfClosed},
		{"shutdown completes a pending poll", 8, checkPollShutdown},
		{"closing a socket completes its poll, ends the stream and frees the descriptor for " +
			"another poll", 8, checkPollClose},
		{"cancel completes a pending poll exactly once, and only that one", 8, checkCancel},
		{"polling again while a poll is pending panics", 8, checkDuplicate},
		{"sending to a client that is gone returns an error and raises no signal", 8, checkVanished},
		{"a bad descriptor returns EBADF", 8, checkBadDescriptor},
		{"user values are returned unchanged", 8, checkUserValues},
		{"Park wakes immediately if something is ready or queued", 8, checkParkReady},
		{"a completion after Park wakes the owner, every time", 8, checkParkLate},
		{"counters count what happened", 8, checkCounters},
		{"sends that cannot be carried out panic", 8, checkBadSends},
	}
	for _, engine := range []string{"uring/unix", "uring/tcp", "poll/unix", "poll/tcp", "sim"} {
		for _, c := range cases {
			t.Run(engine+"/"+c.name, func(t *testing.T) { c.check(t, newRig(t, engine, c.entries)) })
		}
	}
}

func checkOrder(t *testing.T, r *rig) {
	const conns, rounds = 7, 30
	var fds [conns]int32
	var peers [conns]rigPeer
	for i := range fds {
		fds[i], peers[i] = r.open()
		r.widen(fds[i])
	}
	var done [3]Completion
	reaped := 0
	flush := func() {
		r.submit()
		for n := r.ring.Reap(done[:]); n > 0; n = r.ring.Reap(done[:]) {
			for _, c := range done[:n] {
				if c.Res != 16 {
					t.Fatalf("send %#x: result %d; want 16", c.User, c.Res)
				}
			}
			reaped += n
		}
	}
	for round := range rounds {
		for i, fd := range fds {
			b := binary.BigEndian.AppendUint64(nil, uint64(i))
			b = binary.BigEndian.AppendUint64(b, uint64(round))
			for !r.ring.Send(fd, b, uint64(i)<<32|uint64(round)) {
				flush()
			}
		}
		flush()
	}
	if reaped != conns*rounds {
		t.Fatalf("%d completions; want %d", reaped, conns*rounds)
	}
	for i, peer := range peers {
		got := peer.Take(16 * rounds)
		for round := range rounds {
			from, nr := binary.BigEndian.Uint64(got[16*round:]), binary.BigEndian.Uint64(got[16*round+8:])
			if from != uint64(i) || nr != uint64(round) {
				t.Fatalf("connection %d, frame %d: got frame %d of connection %d", i, round, nr, from)
			}
		}
	}
	closeAll(t, r, fds[:]...)
}

func closeAll(t testing.TB, r *rig, fds ...int32) {
	t.Helper()
	for _, fd := range fds {
		if err := r.ring.CloseSocket(fd); err != nil {
			t.Error(err)
		}
	}
}

func checkQueueFull(t *testing.T, r *rig) {
	fd, peer := r.open()
	r.widen(fd)
	entries := r.ring.Info().Entries
	for i := range entries {
		if !r.ring.Send(fd, []byte{byte(i)}, uint64(i)) {
			t.Fatalf("send %d of %d was rejected", i, entries)
		}
	}
	if r.ring.Queued() != entries {
		t.Fatalf("Queued() = %d; want %d", r.ring.Queued(), entries)
	}
	if r.ring.Send(fd, []byte{99}, 99) {
		t.Fatal("a full queue accepted another request")
	}
	r.submit()
	if r.ring.Queued() != 0 {
		t.Fatalf("Queued() = %d after Submit; want 0", r.ring.Queued())
	}
	if !r.ring.Send(fd, []byte{99}, 99) {
		t.Fatal("an empty queue rejected a send")
	}
	r.submit()
	r.await(entries + 1)
	got := peer.Take(entries + 1)
	if got[entries-1] != byte(entries-1) || got[entries] != 99 {
		t.Fatalf("peer read % x", got)
	}
	closeAll(t, r, fd)
}

func checkPartial(t *testing.T, r *rig) {
	fd, peer := r.open()
	const size = 1_000_000
	sent := r.fill(fd, func(at int) []byte { return pattern(at, size) })
	if sent >= size {
		t.Fatalf("the socket accepted %d bytes; the test needs one that accepts fewer", sent)
	}
	if r.ring.Counters().Short == 0 {
		t.Fatal("no send was short")
	}
	received := 0
	for received < size {
		r.poll(fd, 5)
		if sent-received > 0 {
			received += checkPattern(t, peer.Take(sent-received), received)
		}
		c := r.await(1)[0]
		if c.User != 5 || c.Res < 0 || c.Res&unix.POLLOUT == 0 {
			t.Fatalf("poll completed with %+v; want user 5 and POLLOUT", c)
		}
		for sent < size {
			res := r.send(fd, pattern(sent, size-sent))
			if res == -int32(unix.EAGAIN) {
				break
			}
			if res <= 0 {
				t.Fatalf("send: %v", unix.Errno(-res))
			}
			sent += int(res)
		}
	}
	closeAll(t, r, fd)
}

func checkPattern(t *testing.T, got []byte, at int) int {
	t.Helper()
	if !bytes.Equal(got, pattern(at, len(got))) {
		t.Fatalf("the stream differs within bytes %d..%d", at, at+len(got))
	}
	return len(got)
}

func checkPollReady(t *testing.T, r *rig) {
	fd, _ := r.open()
	r.poll(fd, 3)
	if c := r.await(1)[0]; c.User != 3 || c.Res&unix.POLLOUT == 0 || c.Res < 0 {
		t.Fatalf("completion %+v; want user 3 and POLLOUT", c)
	}
	r.none("the poll was a one-shot")
	closeAll(t, r, fd)
}

func checkPollHalfClosed(t *testing.T, r *rig) {
	fd, peer := r.open()
	r.fill(fd, zeros)
	peer.HalfClose()
	r.poll(fd, 4)
	r.none("the socket has no room, the client only ended its own direction")
	peer.Drain()
	if c := r.await(1)[0]; c.User != 4 || c.Res < 0 || c.Res&unix.POLLOUT == 0 {
		t.Fatalf("completion %+v; want user 4 and POLLOUT", c)
	}
	closeAll(t, r, fd)
}

func checkPollShutdown(t *testing.T, r *rig) {
	fd, _ := r.open()
	r.fill(fd, zeros)
	r.poll(fd, 6)
	r.none("the socket has no room")
	if err := r.ring.Shutdown(fd); err != nil {
		t.Fatal(err)
	}
	if c := r.await(1)[0]; c.User != 6 {
		t.Fatalf("completion %+v; want user 6", c)
	}
	if res := r.send(fd, []byte{1}); res != -int32(unix.EPIPE) {
		t.Fatalf("send after shutdown: %d; want -EPIPE", res)
	}
	closeAll(t, r, fd)
}

func checkPollClose(t *testing.T, r *rig) {
	fd, peer := r.open()
	r.fill(fd, zeros)
	r.poll(fd, 8)
	if err := r.ring.CloseSocket(fd); err != nil {
		t.Fatal(err)
	}
	// The lowest free descriptor is the one just closed, or the client end of an earlier test.
	next, nextPeer := r.open()
	if c := r.await(1)[0]; c.User != 8 {
		t.Fatalf("completion %+v; want the poll of the closed socket, user 8", c)
	}
	r.fill(next, zeros)
	r.poll(next, 9)
	r.none("the new socket has no room")
	peer.Drain()
	if !peer.EOF() {
		t.Fatal("the client did not read the end of the stream")
	}
	nextPeer.Drain()
	if c := r.await(1)[0]; c.User != 9 {
		t.Fatalf("completion %+v; want user 9", c)
	}
	closeAll(t, r, next)
}

func checkCancel(t *testing.T, r *rig) {
	one, _ := r.open()
	two, peer := r.open()
	r.fill(one, zeros)
	r.fill(two, zeros)
	r.poll(one, 1)
	r.poll(two, 2)
	if !r.ring.Cancel(1) || !r.ring.Cancel(12345) {
		t.Fatal("Cancel returned false on an empty queue")
	}
	r.submit()
	if c := r.await(1)[0]; c.User != 1 || c.Res != -int32(unix.ECANCELED) {
		t.Fatalf("completion %+v; want user 1 and ECANCELED", c)
	}
	r.none("one poll was cancelled, once, and a cancel has no completion of its own")
	r.poll(one, 3) // the socket can be polled again
	peer.Drain()
	if c := r.await(1)[0]; c.User != 2 || c.Res < 0 {
		t.Fatalf("completion %+v; want user 2", c)
	}
	closeAll(t, r, one, two)
	if c := r.await(1)[0]; c.User != 3 {
		t.Fatalf("completion %+v; want user 3", c)
	}
}

func panics(t *testing.T, what string, call func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	call()
}

func checkDuplicate(t *testing.T, r *rig) {
	fd, _ := r.open()
	other, _ := r.open()
	r.fill(fd, zeros)
	r.poll(fd, 1)
	panics(t, "a second poll of the same descriptor", func() { r.ring.Poll(fd, 2) })
	panics(t, "a second poll with the same user value", func() { r.ring.Poll(other, 1) })
	closeAll(t, r, fd, other)
}

func checkVanished(t *testing.T, r *rig) {
	for _, leave := range []func(rigPeer){rigPeer.Close, rigPeer.Reset} {
		fd, peer := r.open()
		r.fill(fd, zeros)
		leave(peer)
		// A socket with queued bytes may still be blocked until it receives the reset; then a poll
		// reports it.
		for {
			res := r.send(fd, []byte{1})
			if res == -int32(unix.EPIPE) || res == -int32(unix.ECONNRESET) {
				break
			}
			if res != -int32(unix.EAGAIN) {
				t.Fatalf("send to a client that is gone: %d; want EPIPE or ECONNRESET", res)
			}
			r.poll(fd, 1)
			r.await(1)
		}
		closeAll(t, r, fd)
	}
}

func checkBadDescriptor(t *testing.T, r *rig) {
	const bad = 1 << 20
	if res := r.send(bad, []byte{1}); res != -int32(unix.EBADF) {
		t.Fatalf("send: %d; want -EBADF", res)
	}
	r.poll(bad, 1)
	if c := r.await(1)[0]; c.Res != -int32(unix.EBADF) {
		t.Fatalf("poll: %d; want -EBADF", c.Res)
	}
	if err := r.ring.CloseSocket(bad); !errors.Is(err, unix.EBADF) {
		t.Fatalf("CloseSocket: %v; want EBADF", err)
	}
	if err := r.ring.Shutdown(bad); !errors.Is(err, unix.EBADF) {
		t.Fatalf("Shutdown: %v; want EBADF", err)
	}
}

func checkUserValues(t *testing.T, r *rig) {
	fd, _ := r.open()
	r.widen(fd)
	for _, user := range []uint64{0, 1, math.MaxUint32, 1 << 63, 1 << 62, math.MaxUint64,
		math.MaxUint64 - 1} {
		r.ring.Send(fd, []byte{1}, user)
		r.submit()
		if c := r.await(1)[0]; c != (Completion{user, 1}) {
			t.Errorf("send with user %#x completed as %+v", user, c)
		}
		r.poll(fd, user)
		if c := r.await(1)[0]; c.User != user {
			t.Errorf("poll with user %#x completed as %+v", user, c)
		}
	}
	closeAll(t, r, fd)
}

func (r *rig) woken() bool {
	select {
	case <-r.wake:
		return true
	default:
		return false
	}
}

func checkParkReady(t *testing.T, r *rig) {
	fd, _ := r.open()
	r.ring.Send(fd, []byte{1}, 1)
	r.woken()
	r.ring.Park()
	r.rest() // queued
	r.submit()
	r.woken()
	r.ring.Park()
	r.rest() // complete
	r.await(1)
	closeAll(t, r, fd)
}

func checkParkLate(t *testing.T, r *rig) {
	fd, peer := r.open()
	for range 10 {
		r.fill(fd, zeros)
		r.poll(fd, 1)
		r.none("the socket has no room")
		r.woken()
		r.ring.Park()
		peer.Drain()
		r.rest()
		r.await(1)
	}
	closeAll(t, r, fd)
}

func checkCounters(t *testing.T, r *rig) {
	fd, _ := r.open()
	sent := r.fill(fd, zeros)
	r.poll(fd, 1)
	r.ring.Cancel(1)
	r.submit()
	r.await(1)
	closeAll(t, r, fd)
	r.send(fd, []byte{1})
	c := *r.ring.Counters()
	if c.Bytes != uint64(sent) || c.Refused == 0 || c.Short == 0 || c.Polls != 1 ||
		c.Cancels != 1 || c.Failed != 1 ||
		c.Sends < 3 || c.Submits < 3 || c.Enters < c.Submits {
		t.Fatalf("%d bytes sent, counters %+v", sent, c)
	}
}
