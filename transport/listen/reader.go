//go:build linux

package listen

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/wire"
)

const (
	eventsPerWait    = 128 // epoll events taken per wait
	signaturesPerRun = 16  // signatures checked per round, about 50 us each
	expiriesPerRun   = 16  // connections ended per round because their deadline passed
	shedMost         = 64  // requests in one call of Handler.Shed
)

// reader reads its connections on one goroutine. It waits in the Go poller: its epoll(7) instance
// is itself a descriptor, readable while one of its sockets is. So no thread is ever blocked in a
// system call (see docs/decisions/0005).
type reader struct {
	server *Server
	index  int
	epfd   int
	file   *os.File        // owns epfd
	raw    syscall.RawConn // of file
	poll   func(fd uintptr) bool

	table table
	lists
	nonces    map[int32][wire.NonceSize]byte // by slot, of handshaking connections
	leftovers leftovers
	buf       []byte
	ready     []byte           // buffer of a ServerReady
	shed      [shedMost]uint64 // buffer of the numbers for Handler.Shed
	round     round
	tls       readerTLS
	armed     int64 // deadline that file is set to; MaxInt64: none

	mu    sync.Mutex
	inbox []arrival // filled by acceptors, emptied by the reader
	// stop ends the reader. It is written by Server.Close and read by the reader.
	stop atomic.Bool
	done chan struct{} // closed when the goroutine is gone
}

// lists are the connections of a reader. Each is in one of them.
type lists struct {
	handshakes list        // in order of acceptance
	live       list        // in order of last activity
	paused     list        // in the order in which the handler had no room
	resume     atomic.Bool // the paused ones are to be tried again; set by Server.Resume
}

// round is one round of the reader: the events of an epoll_wait(2) and the work that is left.
type round struct {
	count      atomic.Uint64 // of rounds; odd except while the reader waits; others may read it
	events     [eventsPerWait]unix.EpollEvent
	ready      int   // number of events
	err        error // of epoll_wait(2)
	signatures int   // signature checks left
}

// arrival is an accepted socket on its way from an acceptor to a reader.
type arrival struct {
	fd       int32
	uid      uint32
	addr     [16]byte
	port     uint16
	endpoint uint8
}

func newReader(s *Server, index int) (*reader, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("listen: epoll_create1 for reader %d: %w", index, err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil { // os.NewFile polls only non-blocking descriptors
		unix.Close(epfd)
		return nil, fmt.Errorf("listen: making epoll of reader %d non-blocking: %w", index, err)
	}
	r := &reader{
		server: s, index: index, epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll"),
		table: newTable(), lists: lists{handshakes: newList(), live: newList(), paused: newList()}, nonces: map[int32][wire.NonceSize]byte{},
		buf: make([]byte, s.cfg.ReadBuffer), armed: math.MaxInt64, done: make(chan struct{}),
	}
	if err := r.file.SetReadDeadline(time.Time{}); err != nil {
		r.file.Close()
		return nil, fmt.Errorf("listen: epoll of reader %d cannot be polled: %w", index, err)
	}
	r.raw, err = r.file.SyscallConn()
	if err != nil {
		r.file.Close()
		return nil, fmt.Errorf("listen: epoll of reader %d: %w", index, err)
	}
	r.poll = func(uintptr) bool { return r.collect() }
	return r, nil
}

// run is the reader's goroutine.
func (r *reader) run() {
	defer close(r.done)
	defer r.file.Close()
	defer r.reportPanic()
	defer func() { r.round.count.Store((r.round.count.Load() + 1) &^ 1) }()
	for {
		r.takeInbox(r.server.now())
		r.arm() // for the handshakes that have just begun too
		// Order matters. The other side publishes and then expires the deadline of the file, which
		// arm may have undone. So the flag and the inbox are read after arm.
		if r.stop.Load() {
			break
		}
		r.round.count.Store((r.round.count.Load() + 1) &^ 1)
		err := r.wait(r.pending())
		r.round.count.Store(r.round.count.Load() | 1)
		if err != nil {
			panic(fmt.Errorf("epoll: %w", err))
		}
		r.step(r.server.now())
	}
	r.closeAll()
}

// reportPanic reports a panic of the reader and releases every connection, so that the shards can
// close them.
func (r *reader) reportPanic() {
	cause := recover()
	if cause == nil {
		return
	}
	err := fmt.Errorf("listen: reader %d stopped: %v\n%s", r.index, cause, debug.Stack())
	if r.server.cfg.Fatal == nil {
		panic(err)
	}
	r.server.cfg.Fatal(err)
	r.closeAll()
}

// wake makes the reader check its inbox and flags soon. Any goroutine may call it.
func (r *reader) wake() {
	// An error means that the reader has ended already.
	_ = r.file.SetReadDeadline(time.Unix(1, 0))
}

// handOver hands an accepted socket to the reader. It returns false if the reader is closing; the
// socket then still belongs to the caller.
func (r *reader) handOver(a arrival) bool {
	r.mu.Lock()
	ok := !r.stop.Load()
	if ok {
		r.inbox = append(r.inbox, a)
	}
	r.mu.Unlock()
	if ok {
		r.wake()
	}
	return ok
}

// arm sets the deadline of the wait to the next deadline of a connection, unless an earlier one is
// set. Setting it costs a timer, and the heads of the lists change often.
func (r *reader) arm() {
	next := r.nextDeadline()
	if next >= r.armed {
		return
	}
	r.armed = next
	_ = r.file.SetReadDeadline(r.server.base.Add(time.Duration(next))) // cannot fail: it succeeded in newReader
}

func (r *reader) nextDeadline() int64 {
	next := int64(math.MaxInt64)
	if r.handshakes.head != none {
		next = r.table.at(r.handshakes.head).since + r.handshakeTime()
	}
	if r.live.head != none {
		next = min(next, r.table.at(r.live.head).since+int64(r.server.cfg.IdleTimeout))
	}
	return next
}

// pending reports whether acceptors have handed over sockets that were not taken yet, or paused
// connections are to be tried again.
func (r *reader) pending() bool {
	if r.resume.Load() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inbox) > 0 || len(r.tls.shaken) > 0
}

// wait blocks until a socket is readable, a deadline passes or wake is called. With hurry it only
// looks.
func (r *reader) wait(hurry bool) error {
	r.round.ready, r.round.err = 0, nil
	if hurry {
		r.collect()
		return r.round.err
	}
	err := r.raw.Read(r.poll)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The deadline is spent, whatever expired it. Events are collected in any case; otherwise a
		// series of deadlines could keep the sockets from being read.
		r.armed = math.MaxInt64
		err = r.file.SetReadDeadline(time.Time{})
		r.collect()
	}
	return errors.Join(err, r.round.err)
}

// collect takes the pending events and reports whether there were any, or an error. It never
// blocks: epoll_wait(2) with a timeout of 0.
func (r *reader) collect() bool {
	for {
		n, err := unix.EpollWait(r.epfd, r.round.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		r.round.ready, r.round.err = max(n, 0), err
		return n != 0
	}
}

// step tries paused connections again, handles the events that wait collected, then the deadlines.
// now is the time since Server.base, in ns.
func (r *reader) step(now int64) {
	if r.resume.Swap(false) {
		r.resumePaused(now)
	}
	r.round.signatures = signaturesPerRun
	for i := range r.round.ready {
		e := &r.round.events[i]
		if rec := r.table.find(e.Fd, uint32(e.Pad)); rec != nil {
			r.service(e.Fd, rec, e.Events, now)
		}
	}
	r.round.ready = 0
	r.expire(now)
}

// expire ends connections whose deadline has passed. If the handler held the reader up, there may
// be unread bytes in the kernel, so a connection is read once more first.
func (r *reader) expire(now int64) {
	r.round.signatures = signaturesPerRun
	for range expiriesPerRun {
		slot, reason := r.due(now)
		if slot == none {
			return
		}
		rec := r.table.at(slot)
		gen := rec.gen
		r.service(slot, rec, 0, now)
		if again, _ := r.due(now); again != slot || rec.gen != gen {
			continue
		}
		r.end(slot, reason)
	}
}

// due returns a connection whose deadline has passed, and the reason to end it; none if there is
// none.
func (r *reader) due(now int64) (int32, transport.Reason) {
	if slot := r.handshakes.head; slot != none {
		if age := now - r.table.at(slot).since; age >= int64(r.server.cfg.HandshakeTimeout) {
			return slot, transport.ReasonHandshakeTimeout
		} else if age >= r.handshakeTime() {
			return slot, transport.ReasonTooManyHandshakes
		}
	}
	if slot := r.live.head; slot != none &&
		now-r.table.at(slot).since >= int64(r.server.cfg.IdleTimeout) {
		return slot, transport.ReasonSilent
	}
	return none, 0
}

// closeAll releases every connection. No new ones can arrive after it set stop.
func (r *reader) closeAll() {
	r.stop.Store(true)
	r.mu.Lock()
	arrivals := r.inbox
	r.inbox = nil
	r.mu.Unlock()
	for _, a := range arrivals {
		r.server.refuseArrival(a, transport.ReasonShutdown)
	}
	for r.handshakes.head != none {
		r.end(r.handshakes.head, transport.ReasonShutdown)
	}
	for r.live.head != none {
		r.end(r.live.head, transport.ReasonShutdown)
	}
	for r.paused.head != none {
		r.end(r.paused.head, transport.ReasonShutdown)
	}
}
