package transport

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// harvest is how many poll events one epoll_wait(2) takes.
const harvest = 64

// pollRing is the portable Ring: one sendto(2) per send during Submit, and an epoll descriptor for the polls.
//
// A socket's entry in the epoll descriptor carries the key of its poll, EPOLLOUT and EPOLLONESHOT. After it fired the
// entry stays, disabled, until the socket is closed; the next poll of that socket enables it again.
type pollRing struct {
	epfd    int
	queue   []queued // requests for the next Submit
	entries int
	polls   int // polls in epfd
	pending pending
	done    fifo
	events  []unix.EpollEvent
	wake    func()
	watcher *watcher
	count   Counters
	closed  bool
}

// queued is one request that waits for Submit.
type queued struct {
	buffer []byte
	user   uint64 // of a send or cancel
	key    uint64 // of a poll
	fd     int32
	kind   kind
}

func openPoll(cfg RingConfig) (Ring, error) {
	epfd, err := newEpoll()
	if err != nil {
		return nil, err
	}
	p := &pollRing{
		epfd: epfd, entries: cfg.Entries, pending: newPending(cfg.Entries), wake: cfg.Wake,
		queue: make([]queued, 0, cfg.Entries), events: make([]unix.EpollEvent, harvest),
	}
	if p.watcher, err = newWatcher(epfd, cfg.Wake); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pollRing) Info() Info          { return Info{Engine: "poll", Entries: p.entries} }
func (p *pollRing) Counters() *Counters { return &p.count }
func (p *pollRing) Queued() int         { return len(p.queue) }

// Send implements Ring.
func (p *pollRing) Send(fd int32, b []byte, user uint64) bool {
	checkSend(fd, b)
	if len(p.queue) == p.entries {
		return false
	}
	p.queue = append(p.queue, queued{kind: kindSend, fd: fd, buffer: b, user: user})
	return true
}

// Poll implements Ring.
func (p *pollRing) Poll(fd int32, user uint64) bool {
	checkPoll(fd, user)
	if len(p.queue) == p.entries {
		return false
	}
	_, key := p.pending.takePoll(fd, user)
	p.queue = append(p.queue, queued{kind: kindPoll, fd: fd, key: key})
	p.count.Polls++
	return true
}

// Cancel implements Ring.
func (p *pollRing) Cancel(user uint64) bool {
	if _, ok := p.pending.pollOf(user); !ok {
		return true
	}
	if len(p.queue) == p.entries {
		return false
	}
	p.queue = append(p.queue, queued{kind: kindCancel, user: user})
	p.count.Cancels++
	return true
}

// Submit implements Ring. It cannot fail as a whole: each request has its own result.
func (p *pollRing) Submit() error {
	if p.closed {
		return fmt.Errorf("transport: %w: it is closed", ErrRingInDoubt)
	}
	if len(p.queue) == 0 {
		return nil
	}
	p.count.Submits++
	for i := range p.queue {
		q := &p.queue[i]
		switch q.kind {
		case kindSend:
			res := p.send(q.fd, q.buffer)
			p.count.countSend(res, int32(len(q.buffer)), int32(unix.EAGAIN))
			p.done.push(Completion{User: q.user, Res: res})
		case kindPoll:
			p.watch(q.fd, q.key)
		case kindCancel:
			if key, ok := p.pending.pollOf(q.user); ok {
				p.unwatch(key)
			}
		}
	}
	clear(p.queue) // let go of the buffers
	p.queue = p.queue[:0]
	return nil
}

// send is one sendto(2) without an address; it returns bytes or -errno.
func (p *pollRing) send(fd int32, b []byte) int32 {
	for {
		p.count.Enters++
		n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int32(n)
		case unix.EINTR:
			p.count.Interrupted++
		default:
			return -int32(errno)
		}
	}
}

// watch enables the poll with that key, or completes it with the error.
func (p *pollRing) watch(fd int32, key uint64) {
	if p.pending.find(key) == nil {
		return // it ended while it was queued
	}
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(key), Pad: int32(key >> 32)}
	p.count.Enters++
	err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, int(fd), &event)
	if err == unix.ENOENT {
		p.count.Enters++
		err = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, int(fd), &event)
	}
	if err != nil {
		p.finish(key, -int32(err.(unix.Errno)))
		return
	}
	p.pending.find(key).watched = true
	p.polls++
}

// unwatch ends the poll with that key early.
func (p *pollRing) unwatch(key uint64) {
	if r := p.pending.find(key); r.watched {
		p.count.Enters++
		// Fails only if the socket was closed by somebody else, which took it out of the descriptor as well.
		_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, int(r.fd), nil)
		p.polls--
	}
	p.finish(key, -int32(unix.ECANCELED))
}

// finish completes the poll with that key.
func (p *pollRing) finish(key uint64, res int32) {
	r := p.pending.find(key)
	p.done.push(Completion{User: r.user, Res: res})
	p.pending.release(key)
}

// Reap implements Ring.
func (p *pollRing) Reap(dst []Completion) int {
	n := 0
	for n < len(dst) {
		c, ok := p.done.pop()
		if !ok {
			if p.gather() == 0 {
				break
			}
			continue
		}
		dst[n] = c
		n++
	}
	return n
}

// gather takes the polls that fired out of the epoll descriptor, without waiting, and returns how many.
func (p *pollRing) gather() int {
	found := 0
	if p.polls == 0 || p.closed {
		return 0
	}
	n, err := unix.EpollWait(p.epfd, p.events, 0)
	for err == unix.EINTR {
		p.count.Interrupted++
		n, err = unix.EpollWait(p.epfd, p.events, 0)
	}
	if err != nil {
		panic(fmt.Sprintf("transport: epoll_wait(fd %d): %v", p.epfd, err))
	}
	for i := range p.events[:n] {
		event := &p.events[i]
		key := uint64(uint32(event.Pad))<<32 | uint64(uint32(event.Fd))
		if p.pending.find(key) == nil {
			continue // a poll that ended early
		}
		p.polls--
		p.finish(key, int32(event.Events))
		found++
	}
	return found
}

// Park implements Ring. The watcher is always armed; looking once more covers what it announced before.
func (p *pollRing) Park() {
	if p.done.len() > 0 || len(p.queue) > 0 || p.gather() > 0 {
		p.wake()
	}
}

// Shutdown implements Ring.
func (p *pollRing) Shutdown(fd int32) error { return shutdownSocket(fd) }

// CloseSocket implements Ring. Closing takes the socket out of the epoll descriptor, so its poll ends here.
func (p *pollRing) CloseSocket(fd int32) error {
	if key, ok := p.pending.pollOn(fd); ok {
		p.unwatch(key)
	}
	return closeSocket(fd)
}

// Close implements Ring.
func (p *pollRing) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.watcher.stop()
	return nil
}

// shutdownSocket ends both directions of a socket, see shutdown(2).
func shutdownSocket(fd int32) error {
	if err := unix.Shutdown(int(fd), unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("transport: shutdown of fd %d: %w", fd, err)
	}
	return nil
}

// closeSocket closes a descriptor. On Linux it is gone whatever close(2) reports, so EINTR is not repeated.
func closeSocket(fd int32) error {
	if err := unix.Close(int(fd)); err != nil && err != unix.EINTR {
		return fmt.Errorf("transport: close of fd %d: %w", fd, err)
	}
	return nil
}
