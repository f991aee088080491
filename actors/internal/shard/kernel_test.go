package shard

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// kernel is a ring that shows each request it carries out. The descriptor of a client is the
// client's number.
type kernel struct {
	shown   strings.Builder
	sockets map[int32]*socket
	queue   []func() // requests that the next Submit carries out
	polls   map[int32]uint64
	done    []transport.Completion
}

// socket is a client's socket as the kernel has it.
type socket struct {
	room   int        // bytes that it takes before it is full
	errno  unix.Errno // of every send, if not 0
	unread int        // bytes that its peer has neither read nor acknowledged
}

const kernelEntries = 4 // requests that one Submit carries out

func newKernel() *kernel {
	return &kernel{sockets: map[int32]*socket{}, polls: map[int32]uint64{}}
}

func (k *kernel) show(format string, args ...any) {
	fmt.Fprintf(&k.shown, format+"\n", args...)
}

// change makes a socket take more bytes, or none, and completes the poll of one that takes bytes again.
func (k *kernel) change(fd int32, edit func(s *socket)) {
	s := k.sockets[fd]
	edit(s)
	if user, ok := k.polls[fd]; ok && (s.room > 0 || s.errno != 0) {
		k.complete(fd, user, unix.POLLOUT)
	}
}

func (k *kernel) complete(fd int32, user uint64, res int32) {
	delete(k.polls, fd)
	k.done = append(k.done, transport.Completion{User: user, Res: res})
}

func (k *kernel) Send(fd int32, b []byte, user uint64) bool {
	if len(k.queue) == kernelEntries {
		return false
	}
	k.queue = append(k.queue, func() {
		s := k.sockets[fd]
		n := min(len(b), s.room)
		s.room -= n
		switch {
		case s.errno != 0:
			k.show("send to client %d: %d B, %s", fd, len(b), unix.ErrnoName(s.errno))
			n = -int(s.errno)
		case n == 0:
			k.show("send to client %d: %d B, socket full", fd, len(b))
			n = -int(unix.EAGAIN)
		case n < len(b):
			k.show("send to client %d: %d B, %d taken", fd, len(b), n)
		default:
			k.show("send to client %d: %d B%s", fd, len(b), answered(b))
		}
		k.done = append(k.done, transport.Completion{User: user, Res: int32(n)})
	})
	return true
}

// answered says that b is a Close without an address that says that everything was answered.
func answered(b []byte) string {
	if string(b[:min(5, len(b))]) == "\x07\x00\x00\x00\x0d" && b[6]&1 != 0 {
		return ", everything is answered"
	}
	return ""
}

func (k *kernel) Poll(fd int32, user uint64) bool {
	k.queue = append(k.queue, func() {
		k.show("poll client %d", fd)
		k.polls[fd] = user
	})
	return true
}

func (k *kernel) Cancel(user uint64) bool {
	k.queue = append(k.queue, func() {
		for fd, u := range k.polls {
			if u == user {
				k.show("cancel the poll of client %d", fd)
				k.complete(fd, user, -int32(unix.ECANCELED))
			}
		}
	})
	return true
}

func (k *kernel) Submit() error {
	if len(k.queue) > 1 {
		k.show("submit %d requests:", len(k.queue))
	}
	for _, request := range k.queue {
		request()
	}
	k.queue = k.queue[:0]
	return nil
}

func (k *kernel) Reap(dst []transport.Completion) int {
	n := copy(dst, k.done)
	k.done = k.done[n:]
	return n
}

func (k *kernel) Shutdown(fd int32) error {
	k.show("shut down client %d", fd)
	return nil
}

func (k *kernel) CloseSocket(fd int32) error {
	k.show("close client %d", fd)
	return nil
}

func (k *kernel) Unread(fd int32) int           { return k.sockets[fd].unread }
func (k *kernel) Unacked(fd int32) int          { return k.sockets[fd].unread }
func (k *kernel) Queued() int                   { return len(k.queue) }
func (k *kernel) Park()                         {}
func (k *kernel) Counters() *transport.Counters { return new(transport.Counters) }
func (k *kernel) Close() error                  { return nil }
func (k *kernel) Info() transport.Info {
	return transport.Info{Engine: "kernel", Entries: kernelEntries}
}
