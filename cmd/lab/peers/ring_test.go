package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// TestShortSendIsContinued gives the ring completions that a healthy kernel does not return with
// MSG_WAITALL.
func TestShortSendIsContinued(t *testing.T) {
	for _, tt := range []struct {
		name  string
		res   int32
		want  string // bytes that the kernel is given afterwards
		count uint64 // frames that count as sent at the end
		gone  bool
	}{
		{"a part", 8, "the rest", 3, false},
		{"nothing, asked to come again", -int32(unix.EAGAIN), "what isnthe rest", 3, false},
		{"nothing, interrupted", -int32(unix.EINTR), "what isnthe rest", 3, false},
		{"everything", 16, "", 3, false},
		{"a client that has gone", -int32(unix.EPIPE), "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[1])
			sent := &counts{}
			r, err := newSendRing(1, sent, false)
			if err != nil {
				unix.Close(fds[0])
				t.Skip("io_uring is not to be had here: ", err)
			}
			defer r.close()
			c := &r.conns[0]
			c.fd, c.buf, c.frames = fds[0], []byte("what isnthe rest"), 3
			c.flying.Store(true)
			r.flying = 1
			r.complete(&giouring.CompletionQueueEvent{Res: tt.res})
			r.flush()
			var got [64]byte
			n, _ := unix.Read(fds[1], got[:]) // EAGAIN means that nothing came
			if text := string(bytes.TrimRight(got[:max(n, 0)], "\x00")); text != tt.want {
				t.Errorf("%q was sent, want %q", text, tt.want)
			}
			if sent.frames.Load() != tt.count || c.gone != tt.gone || len(c.buf) != 0 || c.done != 0 || c.flying.Load() || r.flying != 0 {
				t.Errorf("frames %d, want %d; gone %v, want %v; left over: %q, %d done, %d under way",
					sent.frames.Load(), tt.count, c.gone, tt.gone, c.buf, c.done, r.flying)
			}
		})
	}
}

// TestMoreConnectionsThanEntries sends to more connections than the queue holds, several times
// over.
func TestMoreConnectionsThanEntries(t *testing.T) {
	sent := &counts{}
	r, err := newSendRing(100, sent, false)
	if err != nil {
		t.Skip("io_uring is not to be had here: ", err)
	}
	defer r.close()
	r.entries = 8 // of 128
	var far []int
	for i := range r.conns {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		r.conns[i].fd, r.conns[i].buf, r.conns[i].frames = fds[0], []byte(strings.Repeat("x", i+1)), 1
		far = append(far, fds[1])
	}
	for i := range r.conns {
		r.send(uint32(i))
	}
	r.flush()
	for i, fd := range far {
		var got [128]byte
		if n, err := unix.Read(fd, got[:]); n != i+1 || err != nil {
			t.Errorf("connection %d got %d bytes and %v, want %d", i, n, err, i+1)
		}
	}
	if sent.frames.Load() != 100 || sent.sends.Load() != 100 || sent.submits.Load() < 100/8 {
		t.Errorf("%d frames in %d sends and %d submits", sent.frames.Load(), sent.sends.Load(), sent.submits.Load())
	}
}
