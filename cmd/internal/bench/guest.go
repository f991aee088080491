package bench

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/transport"
)

// guestFrames is the number of frames that a guest receives before it disconnects.
const guestFrames = 4

// host is a target that accepts and releases clients during a run. Such a transient client is
// called a guest. Peers of other programs are not hosts, because their connection tables are fixed
// for the run.
type host interface {
	// Host is Connect for a guest. The descriptor belongs to the target, even after an error.
	Host(id uint64, fd int) error
	// Leave reports that the guest has closed its end.
	Leave(id uint64)
}

// Host implements host.
func (p *pipeline) Host(id uint64, fd int) error {
	return p.own(actors.Conn{ID: id, FD: fd})
}

// Leave implements host.
func (p *pipeline) Leave(id uint64) { p.Disconnect(id, 0, transport.ReasonPeerClosed) }

// Host implements host.
func (g *goroutines) Host(id uint64, fd int) error { return g.Connect(id, fd) }

// Leave implements host.
func (g *goroutines) Leave(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.conns[id]; c != nil {
		delete(g.conns, id)
		close(c.in) // the last frame has left, since the client has closed
	}
}

// places returns the most connections at a time.
func (s *Spec) places() int { return s.Connections + 4*s.Churn }

// guests is the child's side of churn. It accepts guests while the schedule runs, lets the producer
// publish their frames, and releases them.
//
//	accept --> host.Host --> fresh --> producer: guestFrames slots
//	   \--> epoll: the guest closed --> host.Leave
type guests struct {
	spec     *Spec
	host     host
	listener int // listening socket
	epfd     int
	fresh    chan uint64
	open     map[uint64]bool // belongs to run
	ending   chan struct{}
	wait     sync.WaitGroup
	mu       sync.Mutex
	err      error // first error, guarded by mu
}

// admit starts to accept guests. Without churn, and after an error, it closes the listener and
// returns nil.
func admit(spec *Spec, listener int, t Target) (*guests, error) {
	if spec.Churn == 0 {
		unix.Close(listener)
		return nil, nil
	}
	h, ok := t.(host)
	if !ok {
		unix.Close(listener)
		return nil, fmt.Errorf("bench: server %s accepts no clients during a run; use --churn "+
			"0 for it", spec.Server)
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(listener, true)
	}
	if err != nil {
		unix.Close(listener)
		return nil, fmt.Errorf("bench: accepting transient clients: %w", err)
	}
	g := &guests{spec: spec, host: h, listener: listener, epfd: epfd,
		fresh: make(chan uint64, 1<<12), open: map[uint64]bool{}, ending: make(chan struct{})}
	g.wait.Go(g.run)
	return g, nil
}

// run accepts and releases guests every few milliseconds. A goroutine that wakes up for each guest
// would distort the measurement.
func (g *guests) run() {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	events := make([]unix.EpollEvent, 64)
	for {
		for g.take() {
		}
		n, _ := unix.EpollWait(g.epfd, events, 0) // an error is EINTR
		for i := range max(n, 0) {
			g.leave(uint64(events[i].Fd)) // the id
		}
		select {
		case <-g.ending:
			for id := range g.open {
				g.leave(id)
			}
			return
		case <-tick.C:
		}
	}
}

// take accepts one guest. It reports false if none waits.
func (g *guests) take() bool {
	fd, _, err := unix.Accept4(g.listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return false
	}
	hello, err := greet(g.spec, fd)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	id := uint64(hello.index) + 1
	if err == nil {
		err = g.watch(id, fd)
	}
	if err != nil {
		unix.Close(fd)
	} else {
		err = g.host.Host(id, fd) // owns the socket, even if it fails
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.err == nil {
			g.err = err
		}
		return true
	}
	g.open[id] = true
	select {
	case g.fresh <- id:
	case <-g.ending:
	}
	return true
}

// leave releases a guest.
func (g *guests) leave(id uint64) {
	g.host.Leave(id)
	delete(g.open, id)
}

// watch adds the socket to the epoll for one event when the guest closes. Closing the socket
// removes it.
func (g *guests) watch(id uint64, fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(id)}
	return unix.EpollCtl(g.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

// end stops accepting guests and returns the first error.
func (g *guests) end() error {
	if g == nil {
		return nil
	}
	close(g.ending)
	g.wait.Wait()
	unix.Close(g.listener)
	unix.Close(g.epfd)
	return g.err
}

// serveGuests publishes the frames of new guests.
func (p *producer) serveGuests(now int64) {
	if p.guests == nil {
		return
	}
	for {
		select {
		case id := <-p.guests.fresh:
			seq := uint64(0)
			p.write(guestFrames, func(s *Slot) {
				seq++
				s.Conn = id
				s.Report = Report{Conn: id, Seq: seq, Stamp: now, Size: int32(p.spec.Frame)}
			})
		default:
			return
		}
	}
}

// linger serves guests, and clients that lost topic frames, after the schedule has ended, until stop is called.
func (p *producer) linger() (stop func()) {
	if p.guests == nil && p.fan == nil {
		return func() {}
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			p.beside(p.clock.now())
			select {
			case <-ending:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(ending); <-ended }
}
