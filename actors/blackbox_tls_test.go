package actors

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport/secure"
)

// TLS is a way of the black-box tests: the clients are those of crypto/tls, and the watcher decrypts as the server's
// reader does.

// stream is what a client reads and writes.
type stream interface {
	io.Reader
	io.Writer
}

// rigTLS is the TLS of a rig's sockets.
type rigTLS struct {
	mu       sync.Mutex
	config   *tls.Config
	sessions map[int32]*secure.Session // by descriptor of the server
}

// session is that of a socket; nil if it has none.
func (r *rigTLS) session(fd int32) *secure.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[fd]
}

// Connect is that of the pipeline. A socket with TLS has its Sealer.
func (r *rig) Connect(c Conn) error {
	if s := r.tls.session(int32(c.FD)); s != nil {
		c.Sealer = s
	}
	return r.Pipeline.Connect(c)
}

// shake does the TLS handshake of a client with the server's end of its socket.
func (r *rig) shake(c *client, far int) {
	r.t.Helper()
	r.tls.mu.Lock()
	if r.tls.config == nil {
		pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "localhost")
		r.must(err)
		r.tls.config, r.tls.sessions = secure.Config(pair), map[int32]*secure.Session{}
	}
	s := secure.Server(descriptor(far), r.tls.config)
	r.tls.sessions[int32(far)] = s
	r.tls.mu.Unlock()
	encrypted := tls.Client(fileConn{c.file}, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	r.must(encrypted.Handshake())
	r.must(<-done)
	c.raw, c.in = encrypted, bufio.NewReaderSize(encrypted, 64<<10)
}

// descriptor is a non-blocking socket as the handshake uses it.
type descriptor int

func (d descriptor) wait(events int16) {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d), Events: events}}, int(patience/time.Millisecond))
}

func (d descriptor) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), b)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == unix.EAGAIN:
			d.wait(unix.POLLIN)
		case err != unix.EINTR:
			return 0, err
		}
	}
}

func (d descriptor) Write(b []byte) (int, error) {
	for sent := 0; ; {
		n, err := unix.Write(int(d), b[sent:])
		if sent += max(n, 0); sent == len(b) {
			return sent, nil
		}
		if err == unix.EAGAIN {
			d.wait(unix.POLLOUT)
		} else if err != nil && err != unix.EINTR {
			return sent, err
		}
	}
}

// fileConn is a client's socket as crypto/tls takes it.
type fileConn struct{ *os.File }

func (fileConn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (fileConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// watched is a socket of the watcher.
type watched struct {
	id, requests uint64
	session      *secure.Session // nil without TLS
	kept         []byte          // of a record that is not whole
}

// decrypt returns how many bytes a socket has received that are whole in records.
func (c *watched) decrypt(b []byte) (n int, err error) {
	c.kept = append(c.kept, b...)
	n, used, err := c.session.Open(make([]byte, len(c.kept)), c.kept, 0)
	c.kept = c.kept[used:]
	return n, err
}
