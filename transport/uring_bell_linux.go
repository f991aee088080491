//go:build linux && !nogiouring

package transport

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ringBell announces completions to a sleeping owner: the ring's descriptor, which is readable while completions are
// available, in an epoll descriptor with EPOLLONESHOT. Unless armed, completions cost nothing but a look at a mask.
type ringBell struct {
	epfd    int
	ringfd  int32
	armed   bool // by the owner; the kernel may have fired and disarmed it since
	watcher *watcher
}

func (b *ringBell) open(ringfd int, wake func()) error {
	epfd, err := newEpoll()
	if err != nil {
		return err
	}
	event := unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(ringfd)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, ringfd, &event); err != nil {
		unix.Close(epfd)
		return fmt.Errorf("transport: epoll_ctl on the ring: %w", err)
	}
	b.epfd, b.ringfd = epfd, int32(ringfd)
	events := make([]unix.EpollEvent, 1)
	b.watcher, err = newWatcher(epfd, func() {
		// Taking the event disarms the bell; until it is taken it would ring for every completion.
		for {
			n, err := unix.EpollWait(epfd, events, 0)
			if err == unix.EINTR {
				continue
			}
			if n > 0 {
				wake()
			}
			return
		}
	})
	return err
}

// arm makes the next completion, or one that is there already, ring the bell once.
func (b *ringBell) arm() {
	b.set(unix.EPOLLIN | unix.EPOLLONESHOT)
	b.armed = true
}

// disarm spares the flushes of an owner that woke up for another reason one wake-up each.
func (b *ringBell) disarm() {
	if b.armed {
		b.set(unix.EPOLLONESHOT)
		b.armed = false
	}
}

func (b *ringBell) set(events uint32) {
	event := unix.EpollEvent{Events: events, Fd: b.ringfd}
	if err := unix.EpollCtl(b.epfd, unix.EPOLL_CTL_MOD, int(b.ringfd), &event); err != nil {
		panic(fmt.Sprintf("transport: epoll_ctl(MOD, ring fd %d): %v", b.ringfd, err))
	}
}

func (b *ringBell) close() { b.watcher.stop() }
