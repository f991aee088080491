package transport

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollRing is the portable Ring: one send(2) for each send during Submit, and a pollSet.
type pollRing struct {
	*pollSet
	queue   []queuedSend
	entries int
	wake    func()
	counts  Counters
	closed  bool
}

// queuedSend is a send that waits for Submit.
type queuedSend struct {
	buffer []byte
	user   uint64
	fd     int32
}

func openPoll(cfg RingConfig) (Ring, error) {
	p := &pollRing{entries: cfg.Entries, wake: cfg.Wake, queue: make([]queuedSend, 0, cfg.Entries)}
	var err error
	if p.pollSet, err = newPollSet(cfg, &p.counts); err != nil {
		return nil, err
	}
	return p, nil
}

// Info implements Ring.
func (p *pollRing) Info() Info { return Info{Engine: "poll", Entries: p.entries} }

// Counters implements Ring.
func (p *pollRing) Counters() *Counters { return &p.counts }

// Queued implements Ring.
func (p *pollRing) Queued() int {
	switch {
	case p.closed:
		return 0
	case p.broken != nil:
		return max(1, len(p.queue))
	}
	return len(p.queue)
}

// Send implements Ring.
func (p *pollRing) Send(fd int32, b []byte, user uint64) bool {
	checkSend(fd, b)
	if len(p.queue) == p.entries {
		return false
	}
	p.queue = append(p.queue, queuedSend{fd: fd, buffer: b, user: user})
	return true
}

// Submit implements Ring. It cannot fail as a whole: each send has its own result.
func (p *pollRing) Submit() error {
	if p.closed {
		return fmt.Errorf("transport: %w: it is closed", ErrRingInDoubt)
	}
	if p.broken != nil || len(p.queue) == 0 {
		return p.broken
	}
	p.counts.Submits++
	for i := range p.queue {
		q := &p.queue[i]
		res := p.send(q.fd, q.buffer)
		p.counts.countSend(res, int32(len(q.buffer)))
		p.done.push(Completion{User: q.user, Res: res})
	}
	clear(p.queue) // drop the references to the buffers
	p.queue = p.queue[:0]
	return nil
}

// send calls sendto(2) without an address, which is send(2). It returns the number of bytes or
// -errno.
func (p *pollRing) send(fd int32, b []byte) int32 {
	for {
		p.counts.Enters++
		n, errno := uintptr(0), p.refused(CallSend)
		if errno == 0 {
			n, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd),
				uintptr(unsafe.Pointer(unsafe.SliceData(b))),
				uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		}
		switch errno {
		case 0:
			return int32(n)
		case unix.EINTR:
			p.counts.Interrupted++
		default:
			return -int32(errno)
		}
	}
}

// Reap implements Ring.
func (p *pollRing) Reap(dst []Completion) int {
	n := 0
	for n < len(dst) {
		c, ok := p.done.pop()
		if !ok {
			if !p.collect() {
				break
			}
			continue
		}
		dst[n] = c
		n++
	}
	return n
}

// Park implements Ring. The watcher is always active; one more check covers what it reported
// before.
func (p *pollRing) Park() {
	if p.done.len() > 0 || p.collect() || p.Queued() > 0 {
		p.wake()
	}
}

// Close implements Ring.
func (p *pollRing) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.pollSet.close()
	return nil
}
