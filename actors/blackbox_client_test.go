package actors

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/encode"
	"sluice/transport"
	"sluice/transport/secure"
)

// askedFirst is the request number of report 0 in these tests.
const askedFirst = 1 << 40

// client is the far end of a connection, as a user has it.
type client struct {
	t    testing.TB
	id   uint64
	file *os.File
	raw  stream // what in reads: file, or TLS over it
	in   *bufio.Reader
	open bool

	heartbeats, busies int                // seen while waiting for something else
	told               encode.CloseReason // of the Close frame, after which nothing may come; 0 before
	last               []byte             // body of the Close frame
}

func newClient(t testing.TB, fd int) *client {
	f := os.NewFile(uintptr(fd), "client")
	c := &client{t: t, file: f, raw: f, in: bufio.NewReaderSize(f, 64<<10), open: true}
	c.file.SetReadDeadline(time.Now().Add(patience))
	t.Cleanup(c.close)
	return c
}

// close ends the connection from the client's side. Nothing can be read after it.
func (c *client) close() {
	if c.open {
		c.open = false
		c.file.Close()
		c.in = nil // the rig keeps every client, including the 250,000th of a long test
	}
}

// fd gives the descriptor to f without changing its mode.
func (c *client) fd(f func(fd int)) {
	raw, err := c.file.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		c.t.Error(err)
	}
}

// reset ends the connection with a reset where the family knows one.
func (c *client) reset() {
	c.fd(func(fd int) {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	c.close()
}

// ask sends n requests; in these tests a request is one byte.
func (c *client) ask(n int) {
	c.t.Helper()
	if _, err := c.raw.Write(make([]byte, n)); err != nil {
		c.t.Fatal(err)
	}
}

// halfClose ends the client's sending side.
func (c *client) halfClose() {
	if encrypted, ok := c.raw.(*tls.Conn); ok {
		if err := encrypted.CloseWrite(); err != nil {
			c.t.Error(err)
		}
		return
	}
	c.fd(func(fd int) { unix.Shutdown(fd, unix.SHUT_WR) })
}

// frame reads one whole frame, whatever it is.
func (c *client) frame() (tag byte, body []byte, err error) {
	if c.in.Buffered() == 0 && c.file != nil { // the limit is for progress
		c.file.SetReadDeadline(time.Now().Add(patience))
	}
	var head [5]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > encode.MaxFrameLimit {
		return 0, nil, fmt.Errorf("torn stream: a frame of %d bytes", n)
	}
	body = make([]byte, n-1)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, fmt.Errorf("torn frame of tag %#x: %w", head[4], err)
	}
	if c.told != 0 {
		return 0, nil, fmt.Errorf("a frame of tag %#x after Close", head[4])
	}
	if head[4] == encode.TagClose {
		c.told, c.last = encode.CloseReason(body[0]), body
	}
	return head[4], body, nil
}

// next reads the next frame that is neither a heartbeat, ServerBusy nor Close; those are noted.
func (c *client) next() (tag byte, body []byte, err error) {
	for {
		tag, body, err = c.frame()
		switch {
		case err == nil && tag == encode.TagHeartbeat:
			c.heartbeats++
		case err == nil && tag == encode.TagServerBusy:
			c.busies++
		case err == nil && tag == encode.TagClose:
		default:
			return tag, body, err
		}
	}
}

// report reads one report with its BatchEnd and checks every byte of it.
func (c *client) report(want uint64) error {
	tag, body, err := c.next()
	if err != nil {
		return fmt.Errorf("client %d, report %d: %w", c.id, want, err)
	}
	if tag != tickTag || len(body) < 8 {
		return fmt.Errorf("client %d, report %d: got tag %#x with %d bytes", c.id, want, tag,
			len(body))
	}
	if n := binary.LittleEndian.Uint64(body); n != want {
		return fmt.Errorf("client %d: got report %d, want %d", c.id, n, want)
	}
	for i, b := range body[8:] {
		if b != byte(want+uint64(i+13)) {
			return fmt.Errorf("client %d, report %d: wrong byte at %d", c.id, want, i+13)
		}
	}
	// Nothing may stand between a payload and its BatchEnd.
	if tag, body, err = c.frame(); err != nil || tag != encode.TagBatchEnd {
		return fmt.Errorf("client %d: report %d is followed by tag %#x (%v), want BatchEnd", c.id,
			want, tag, err)
	}
	if n := binary.LittleEndian.Uint64(body); n != want+askedFirst {
		return fmt.Errorf("client %d: report %d ends request %d, want %d", c.id, want, n, want+askedFirst)
	}
	return nil
}

// reports reads n reports numbered from first.
func (c *client) reports(first uint64, n int) error {
	for i := range uint64(n) {
		if err := c.report(first + i); err != nil {
			return err
		}
	}
	return nil
}

// wants fails the test unless n reports numbered from first arrive.
func (c *client) wants(first uint64, n int) {
	c.t.Helper()
	if err := c.reports(first, n); err != nil {
		c.t.Fatal(err)
	}
}

// wantsTag fails the test unless the next frame has that tag.
func (c *client) wantsTag(want byte) {
	c.t.Helper()
	tag, _, err := c.next()
	if err != nil || tag != want {
		c.t.Fatalf("client %d: got tag %#x (%v), want %#x", c.id, tag, err, want)
	}
}

// wantsEnd fails the test unless the stream ends here. A reset counts: it is how TCP says that what
// was sent is lost.
func (c *client) wantsEnd() {
	c.t.Helper()
	tag, _, err := c.next()
	if !ended(err) {
		c.t.Fatalf("client %d: got tag %#x (%v), want the end of the stream", c.id, tag, err)
	}
}

func ended(err error) bool { return err == io.EOF || errors.Is(err, unix.ECONNRESET) }

// prefix reads reports from first until the stream ends and returns how many whole ones there were.
// The last one may be cut off by the end, since a connection can be ended while the kernel has a
// part of a frame.
func (c *client) prefix(first uint64) (n int) {
	c.t.Helper()
	for {
		switch err := c.report(first + uint64(n)); {
		case err == nil:
			n++
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err,
			unix.ECONNRESET):
			return n
		default:
			c.t.Fatal(err)
		}
	}
}

// rest reads to the end of the stream and returns the number of bytes.
func (c *client) rest() int {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.in)
	if err != nil && !ended(err) && err != io.ErrUnexpectedEOF { // within a record
		c.t.Fatal(err)
	}
	return int(n)
}

// silent fails the test if the client has been sent anything that it has not read.
func (c *client) silent() {
	c.t.Helper()
	waiting := c.in.Buffered()
	c.fd(func(fd int) {
		if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil {
			waiting += n
		}
	})
	if waiting != 0 {
		c.t.Fatalf("client %d has %d bytes to read, want none", c.id, waiting)
	}
}

// allWant lets every client read n reports at the same time.
func allWant(t testing.TB, clients []*client, first uint64, n int) {
	t.Helper()
	errs := make(chan error, len(clients))
	for _, c := range clients {
		go func() { errs <- c.reports(first, n) }()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func ids(clients []*client) (all []uint64) {
	for _, c := range clients {
		all = append(all, c.id)
	}
	return all
}

// connector is what a watcher needs of a pipeline.
type connector interface {
	Disconnect(conn uint64, accepted uint64, why transport.Reason)
}

// watcher reads the server's ends of all connections with one epoll(7), as the server's listener
// does: it counts requests (bytes) and releases a socket when its stream ends.
type watcher struct {
	to      connector
	session func(fd int32) *secure.Session // of a socket with TLS; may be nil
	epoll   int
	wake    int
	mu      sync.Mutex
	conns   map[int32]*watched
	ended   chan struct{}
	once    sync.Once
}

func newWatcher(t testing.TB, to connector) *watcher {
	t.Helper()
	w := &watcher{to: to, conns: map[int32]*watched{}, ended: make(chan struct{})}
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	}
	if err == nil {
		err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, w.wake,
			&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.wake)})
	}
	if err != nil {
		t.Fatal(err)
	}
	go w.run()
	return w
}

// add begins to read a socket.
func (w *watcher) add(fd int, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &watched{id: id}
	if w.session != nil {
		c.session = w.session(int32(fd))
	}
	w.conns[int32(fd)] = c
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
}

// forget undoes add, for a socket that the pipeline refused.
func (w *watcher) forget(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, int32(fd))
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

func (w *watcher) run() {
	defer close(w.ended)
	var events [64]unix.EpollEvent
	buffer := make([]byte, 4096)
	for {
		n, err := unix.EpollWait(w.epoll, events[:], -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for _, ev := range events[:n] {
			if ev.Fd == int32(w.wake) {
				return
			}
			w.read(ev.Fd, buffer)
		}
	}
}

// read reads what has arrived and releases the socket at the end of its stream.
func (w *watcher) read(fd int32, buffer []byte) {
	w.mu.Lock()
	c := w.conns[fd]
	w.mu.Unlock()
	if c == nil {
		return
	}
	n, err := unix.Read(int(fd), buffer)
	if n > 0 && c.session != nil {
		if n, err = c.decrypt(buffer[:n]); err == nil {
			c.requests += uint64(n)
			return
		}
		c.requests, n = c.requests+uint64(n), 0
		if err == io.EOF {
			err = nil
		}
	}
	switch {
	case n > 0:
		c.requests += uint64(n)
		return
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	}
	why := transport.ReasonPeerClosed
	if err != nil {
		why = transport.ReasonPeerReset
	}
	w.forget(int(fd))
	w.to.Disconnect(c.id, c.requests, why)
}

// forgetAll checks that every socket was released: the pipeline shut each of them (trap 8).
func (w *watcher) forgetAll(t testing.TB) {
	t.Helper()
	eventually(t, "the reader saw the end of every stream", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.conns) == 0
	})
}

// stop ends the watcher.
func (w *watcher) stop() {
	w.once.Do(func() {
		unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		<-w.ended
		unix.Close(w.wake)
		unix.Close(w.epoll)
	})
}
