package bench

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"sluice/transport/secure"
)

// receiver reads some of the connections on one goroutine, with large reads and an epoll(7) inside
// the poller of Go, so that waiting blocks no thread. It checks every frame and records its
// latency.
type receiver struct {
	clock  clock
	cell   *cell
	epfd   int
	file   *os.File
	conns  []*reader // epoll events carry the index
	buf    []byte
	sealed []byte // records as they were read; nil without TLS
	latency
	open   int
	from   int64 // frames scheduled in from..to count
	to     int64
	lag    int64   // lag of the durability cursors, ns
	each   bool    // keep every sample
	last   []int64 // by topic frame: latency to the last client of this receiver, ns; nil without topics
	events [256]unix.EpollEvent
	ready  int
	err    error
	ended  atomic.Bool // written by the parent after the run, read by the receiver: a closed connection is no fault then
}

// latency has the measurements of a receiver.
type latency struct {
	hist  *hdrhistogram.Histogram // latencies of frames scheduled in the measured time, ns
	all   []timed                 // the same frame by frame, with Spec.Hiccups
	inRun uint64                  // frames received within the measured time
	reads uint64                  // reads within the measured time
	full  uint64                  // reads that filled the buffer, so more data waited
}

// reader is one connection of a receiver.
type reader struct {
	fd      int
	session *secure.Session // nil without TLS
	sealed  []byte          // bytes of an incomplete record
	check   checker
	rest    []byte         // bytes of an incomplete frame
	got     atomic.Uint64  // written by the receiver, read by the parent: number of the last frame, of topics the sum
	topics  *subscriptions // nil without topics
}

const (
	readBuffer  = 256 << 10
	latencyMost = int64(time.Minute)
)

func newReceiver(c clock, progress *cell, from, to int64) (*receiver, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bench: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil { // os.NewFile polls only non-blocking descriptors
		unix.Close(epfd)
		return nil, fmt.Errorf("bench: epoll of a receiver: %w", err)
	}
	return &receiver{
		clock: c, cell: progress, epfd: epfd, file: os.NewFile(uintptr(epfd),
			"epoll"), from: from, to: to,
		buf: make([]byte, readBuffer), latency: latency{hist: hdrhistogram.New(1, latencyMost, 3)},
	}, nil
}

// add adds a connection. It must be called before run.
func (r *receiver) add(c *reader) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(len(r.conns))}
	if err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		return fmt.Errorf("bench: epoll_ctl: %w", err)
	}
	r.conns = append(r.conns, c)
	r.open++
	return nil
}

// run reads until every connection has ended, or deadline is set on the file.
func (r *receiver) run() error {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("bench: epoll of a receiver: %w", err)
	}
	for r.open > 0 && r.err == nil {
		if err := raw.Read(func(uintptr) bool { return r.collect() }); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return fmt.Errorf("bench: waiting for frames: %w", err)
		}
		for i := range r.ready {
			r.read(r.conns[r.events[i].Fd])
		}
	}
	return r.err
}

// collect reads the pending events. It returns false if there are none, which makes the caller
// wait.
func (r *receiver) collect() bool {
	n, err := unix.EpollWait(r.epfd, r.events[:], 0)
	for err == unix.EINTR {
		n, err = unix.EpollWait(r.epfd, r.events[:], 0)
	}
	r.ready = max(n, 0)
	if err != nil {
		r.err = fmt.Errorf("bench: epoll_wait: %w", err)
	}
	return n != 0
}

// read reads from one socket, at most one buffer.
func (r *receiver) read(c *reader) {
	kept := copy(r.buf, c.rest)
	n, full, err := r.fetch(c, r.buf[kept:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil {
		r.end(c)
		return
	}
	now := r.clock.now()
	var frames uint64
	if c.topics != nil {
		lost := c.topics.skipped
		frames, err = r.parseTopics(c, r.buf[:kept+n], now)
		r.cell.frames.Add(c.topics.skipped - lost) // they are not in flight any more
		c.got.Store(c.check.next + c.topics.sum)
	} else {
		frames, err = r.parse(c, r.buf[:kept+n], now)
		c.got.Store(c.check.next)
	}
	r.cell.frames.Add(frames)
	if now >= r.from && now < r.to {
		r.inRun += frames
		r.reads++
		if full {
			r.full++
		}
	}
	if err != nil {
		c.check.torn(err)
		r.end(c)
	}
}

// parse checks the frames of b and keeps the rest for the next read.
func (r *receiver) parse(c *reader, b []byte, now int64) (n uint64, err error) {
	for {
		f, size, err := nextFrame(b)
		if size == 0 {
			c.rest = append(c.rest[:0], b...)
			return n, err
		}
		b = b[size:]
		if f.Conn == 0 {
			continue // a heartbeat
		}
		n++
		c.check.frame(&f)
		c.check.early(now-f.Stamp, r.lag)
		if f.Stamp >= r.from && f.Stamp < r.to {
			took := min(max(now-f.Stamp, 1), latencyMost)
			_ = r.hist.RecordValue(took) // within the bounds
			if r.each {
				r.all = append(r.all, timed{f.Stamp, took})
			}
		}
	}
}

// end removes a connection.
func (r *receiver) end(c *reader) {
	if !r.ended.Load() {
		c.check.faults.Closed++
		c.check.note("the server closed it early")
	}
	_ = unix.EpollCtl(r.epfd, unix.EPOLL_CTL_DEL, c.fd, nil) // close does the same later
	r.open--
}

// fleet has all clients of a run and their receivers.
type fleet struct {
	address   string // address of the server
	receivers []*receiver
	healthy   []*reader
	stalled   []*reader
	running   sync.WaitGroup
	errs      []error // by receiver; read after running
}

// isStalled distributes the clients that never read over the indices.
func isStalled(spec *Spec, index int) bool {
	return (index+1)*spec.Stalled/spec.Connections > index*spec.Stalled/spec.Connections
}

// connect connects all clients. On an error the caller must stop the fleet.
func (f *fleet) connect(spec *Spec, address string) error {
	f.address = address
	for i := range spec.Connections {
		h := hello{index: uint32(i), stalled: isStalled(spec, i)}
		fd, session, err := dial(spec, address, h)
		if err != nil {
			return err
		}
		c := &reader{fd: fd, session: session, check: checker{conn: uint64(i) + 1}, topics: newSubscriptions(spec, i)}
		if h.stalled {
			f.stalled = append(f.stalled, c)
		} else {
			f.healthy = append(f.healthy, c)
		}
	}
	return nil
}

// start distributes the healthy clients over n receivers and runs these.
func (f *fleet) start(n int, c clock, spec *Spec, shared *progress, from, to int64) error {
	n = min(n, len(f.healthy), len(shared.cells))
	for i := range n {
		r, err := newReceiver(c, shared.cells[i], from, to)
		if err != nil {
			return err
		}
		r.lag, r.last = int64(spec.Lag), spec.lastEvents()
		if r.each = spec.Hiccups; r.each {
			r.all = make([]timed, 0, int(spec.Wanted()*spec.Run.Seconds())*5/4/n) // growing would delay the receiver
		}
		f.receivers = append(f.receivers, r)
	}
	for i, c := range f.healthy {
		if err := f.receivers[i%n].add(c); err != nil {
			return err
		}
	}
	f.errs = make([]error, n)
	for i, r := range f.receivers {
		f.running.Go(func() { f.errs[i] = r.run() })
	}
	return nil
}

// complete waits until every healthy client has received all frames, at most until deadline
// (CLOCK_MONOTONIC, ns).
func (f *fleet) complete(c clock, published, topics []uint64, deadline int64) {
	for c.now() < deadline {
		left := 0
		for _, cl := range f.healthy {
			if cl.got.Load() < published[cl.check.conn-1]+cl.topics.expected(topics) {
				left++
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends the receivers and closes the sockets, so that the server can release stalled clients.
func (f *fleet) stop() error {
	for _, r := range f.receivers {
		r.ended.Store(true)
		_ = r.file.SetReadDeadline(time.Unix(1, 0)) // an error means that it has ended
	}
	f.running.Wait()
	for _, r := range f.receivers {
		r.file.Close()
	}
	for _, list := range [][]*reader{f.healthy, f.stalled} {
		for _, c := range list {
			unix.Close(c.fd)
		}
	}
	return errors.Join(f.errs...)
}
