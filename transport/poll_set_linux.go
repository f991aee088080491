package transport

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// eventsPerWait is the number of events that one epoll_wait(2) returns at most.
const eventsPerWait = 64

// pollSet implements the writability polls of both real engines: an epoll descriptor, and a watcher
// that wakes the owner of the ring. It belongs to the owner.
//
// The entry of a socket in the epoll descriptor carries the user value of the poll, EPOLLOUT and
// EPOLLONESHOT. After it fired, the entry stays, disabled, until the socket is closed; the next
// poll of that socket enables it again. So the kernel never reports a poll that is not in the two
// maps. A descriptor with a pending poll is removed before close(2), because the kernel keeps the
// entry as long as a duplicate of the descriptor is open.
//
// The owner calls epoll_wait only after the watcher reported a change. A shard collects many times
// for each burst of responses; while one client is blocked, a system call each time would slow all
// the others. The cost: if all processors of the Go runtime are busy, its poller runs only every 10
// ms (sysmon), and a client that starts to read again may wait that long for more. At full speed on
// two cores, throughput and latency were the same with and without (docs/TRACK_RECORD.md, 35).
//
// The poll of io_uring cannot be used: it reports a half-closed peer even if not asked to,
// immediately and every time, but a half-closed client that is slow must be waited for (decision
// record 0003).
type pollSet struct {
	epfd    int
	byUser  map[uint64]int32 // descriptor of each pending poll
	byFD    map[int32]uint64 // user value of each pending poll
	done    fifo             // completions not reaped yet
	events  []unix.EpollEvent
	watcher *watcher
	changed atomic.Bool // set by the watcher before it wakes the owner, cleared by the owner before epoll_wait
	count   *Counters
	broken  error                 // the set has failed; the next Submit returns it
	fail    func(Call) unix.Errno // nil except in tests; see OpenFailing
}

func newPollSet(cfg RingConfig, count *Counters) (*pollSet, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("transport: epoll_create1: %w", err)
	}
	p := &pollSet{
		epfd: epfd, count: count, events: make([]unix.EpollEvent, eventsPerWait),
		byUser: make(map[uint64]int32, cfg.Entries), byFD: make(map[int32]uint64, cfg.Entries),
	}
	p.watcher, err = newWatcher(epfd, func() {
		p.changed.Store(true)
		cfg.Wake()
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Poll implements Ring. It takes effect immediately, so no queue can be full.
func (p *pollSet) Poll(fd int32, user uint64) bool {
	checkPoll(fd, user)
	if other, ok := p.byUser[user]; ok {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x): a poll of fd %d with that user "+
			"value is pending", fd, user, other))
	}
	if other, ok := p.byFD[fd]; ok {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x): a poll of that descriptor is "+
			"pending, user %#x", fd, user, other))
	}
	p.count.Polls++
	p.count.Enters++
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(user),
		Pad: int32(user >> 32)}
	err := p.control(CallArm, unix.EPOLL_CTL_MOD, fd, &event)
	if err == unix.ENOENT {
		p.count.Enters++
		err = p.control(CallArm, unix.EPOLL_CTL_ADD, fd, &event)
	}
	if err != nil {
		p.count.Unpolled++
		p.done.push(Completion{User: user, Res: -int32(err.(unix.Errno))})
		return true
	}
	p.byUser[user], p.byFD[fd] = fd, user
	return true
}

// Cancel implements Ring. It takes effect immediately.
func (p *pollSet) Cancel(user uint64) bool {
	fd, ok := p.byUser[user]
	if !ok {
		return true
	}
	p.count.Cancels++
	p.count.Enters++
	switch err := p.control(CallDisarm, unix.EPOLL_CTL_DEL, fd, nil); err {
	case nil, unix.EBADF, unix.ENOENT: // a socket that was closed elsewhere has left the set as well
		p.finish(user, fd, -int32(unix.ECANCELED))
	default: // the poll is still pending and completes as usual: a socket that was shut is ready
		p.count.Unpolled++
	}
	return true
}

// control calls epoll_ctl(2).
func (p *pollSet) control(c Call, op int, fd int32, event *unix.EpollEvent) error {
	if errno := p.refused(c); errno != 0 {
		return errno
	}
	return unix.EpollCtl(p.epfd, op, int(fd), event)
}

// epollWait calls epoll_wait(2) with a timeout of 0.
func (p *pollSet) epollWait() (int, error) {
	if errno := p.refused(CallWait); errno != 0 {
		return 0, errno
	}
	return unix.EpollWait(p.epfd, p.events, 0)
}

// finish completes a pending poll.
func (p *pollSet) finish(user uint64, fd, res int32) {
	delete(p.byUser, user)
	delete(p.byFD, fd)
	p.done.push(Completion{User: user, Res: res})
}

// collect completes the polls that fired, at most eventsPerWait of them, and reports whether there
// were any. It does not wait.
func (p *pollSet) collect() bool {
	if len(p.byUser) == 0 || p.broken != nil || !p.changed.Load() {
		return false
	}
	p.changed.Store(false) // first: later changes set it again
	n, err := p.epollWait()
	for err == unix.EINTR {
		p.count.Interrupted++
		n, err = p.epollWait()
	}
	if err != nil {
		p.broken = fmt.Errorf("transport: epoll_wait(fd %d) with %d polls pending: %w: %w", p.epfd,
			len(p.byUser), ErrRingInDoubt, err)
		return false
	}
	for _, event := range p.events[:n] {
		user := uint64(uint32(event.Pad))<<32 | uint64(uint32(event.Fd))
		fd, ok := p.byUser[user]
		if !ok {
			panic(fmt.Sprintf("transport: epoll reported a poll that is not pending, user %#x; "+
				"was a polled socket closed without CloseSocket?", user))
		}
		p.finish(user, fd, int32(event.Events))
	}
	if n == len(p.events) {
		p.changed.Store(true) // there may be more, and the watcher reports them only once
	}
	return n > 0
}

// Unread implements Ring.
func (p *pollSet) Unread(fd int32) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil || p.refused(CallUnread) != 0 {
		return 0
	}
	return n
}

// Unacked implements Ring.
func (p *pollSet) Unacked(fd int32) int {
	n := p.Unread(fd)
	if n == 0 {
		return 0
	}
	const closed = 7 // TCP_CLOSE of linux/tcp_states.h: the peer has reset it and acknowledges nothing more
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State == closed { // an error: not a TCP socket
		return 0
	}
	return n
}

// Shutdown implements Ring.
func (p *pollSet) Shutdown(fd int32) error {
	if errno := p.refused(CallShutdown); errno != 0 {
		return fmt.Errorf("transport: shutdown of fd %d: %w", fd, errno)
	}
	if err := unix.Shutdown(int(fd), unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("transport: shutdown of fd %d: %w", fd, err)
	}
	return nil
}

// CloseSocket implements Ring. The descriptor is closed whatever close(2) reports, so EINTR is not
// an error.
func (p *pollSet) CloseSocket(fd int32) error {
	if user, ok := p.byFD[fd]; ok {
		_ = p.control(CallDisarm, unix.EPOLL_CTL_DEL, fd, nil) // fails only if it is closed already
		p.finish(user, fd, -int32(unix.ECANCELED))
	}
	discardUnread(int(fd))
	err := unix.Close(int(fd))
	if errno := p.refused(CallClose); errno != 0 {
		err = errno
	}
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("transport: close of fd %d: %w", fd, err)
	}
	return nil
}

// discardUnread takes what the peer has sent and the reader has not read, up to 256 KiB. Linux
// answers a close with a reset instead of an end of stream if there is any (RFC 2525, 2.17), and a
// reset can destroy the last frames on their way to the peer.
func discardUnread(fd int) {
	var unread [4 << 10]byte
	for range 64 {
		if n, _, err := unix.Recvfrom(fd, unread[:], unix.MSG_DONTWAIT); n <= 0 || err != nil {
			return
		}
	}
}

// close stops the watcher and forgets the polls.
func (p *pollSet) close() {
	p.watcher.stop()
	clear(p.byUser)
	clear(p.byFD)
}

// fifo is a queue of completions. It never shrinks, and allocates only when more than half of it is in use.
type fifo struct {
	items []Completion
	head  int
}

func (f *fifo) push(c Completion) {
	if len(f.items) == cap(f.items) && 2*f.head >= len(f.items) {
		f.items, f.head = f.items[:copy(f.items, f.items[f.head:])], 0
	}
	f.items = append(f.items, c)
}

func (f *fifo) pop() (Completion, bool) {
	if f.head == len(f.items) {
		return Completion{}, false
	}
	c := f.items[f.head]
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return c, true
}

func (f *fifo) len() int { return len(f.items) - f.head }
