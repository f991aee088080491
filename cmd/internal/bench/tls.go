package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/cmd/internal/config"
	"sluice/transport/secure"
)

// With the network "tls", a client begins a TLS handshake behind its hello:
//
//	sluice      secure.Session, whose Seal the shard calls: a record for each 16 KiB of a send
//	goroutines  a tls.Conn for each connection: a record for each 16 KiB of a Write
//	clients     secure.Session, which decrypts what one large read has returned
//
// Both servers have the same configuration, so their records and ciphers are the same.

// tlsNet is the network of clients over TLS.
const tlsNet = "tls"

// overTCP reports whether the run has TCP sockets.
func (s *Spec) overTCP() bool { return s.Net == "tcp" || s.Net == tlsNet }

// handshakes is the most that the TLS handshakes of all clients may take, on a machine with other work.
func (s *Spec) handshakes() time.Duration {
	if s.Net != tlsNet {
		return 0
	}
	return time.Duration(s.Connections) * 100 * time.Millisecond
}

// secured is a target that speaks TLS.
type secured interface {
	// Secure is Connect for a client that begins a TLS handshake. The socket blocks; it belongs to the
	// target, even after an error.
	Secure(id uint64, fd int, config *tls.Config) error
}

// tlsServers returns the servers that speak TLS.
func tlsServers() []string { return []string{"sluice", slotsServer, "goroutines"} }

// checkTLS rejects what cannot be measured over TLS.
func (p *Plan) checkTLS() error {
	if !slices.Contains(p.Net, tlsNet) {
		return nil
	}
	var plain []string
	for _, name := range p.Peer {
		if !slices.Contains(tlsServers(), name) {
			plain = append(plain, name)
		}
	}
	switch {
	case p.Durable:
		return config.Usagef("--durable with --net tls: it measures plain connections only; leave out tls")
	case len(plain) > 0:
		return config.Usagef("--net tls with --peer %s: no TLS there; only %s have it",
			strings.Join(plain, ","), strings.Join(tlsServers(), ", "))
	case slices.ContainsFunc(p.Churn, notZero), slices.ContainsFunc(p.Stalled, notZero):
		return config.Usagef("--churn and --stalled with --net tls: these clients have no TLS; leave them out")
	}
	return nil
}

func notZero(number string) bool { return number != "0" }

// serverTLS returns the configuration of the server, with a certificate of its own; nil without TLS.
func (s *Spec) serverTLS() (*tls.Config, error) {
	if s.Net != tlsNet {
		return nil, nil
	}
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), "127.0.0.1")
	if err != nil {
		return nil, fmt.Errorf("bench: certificate: %w", err)
	}
	return secure.Config(pair), nil
}

// clientTLS does the TLS handshake of a client on a blocking socket. Without TLS it returns nil.
func (s *Spec) clientTLS(fd int) (*secure.Session, error) {
	if s.Net != tlsNet {
		return nil, nil
	}
	session := secure.Client(blocking(fd), &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, // the server is a child of this process
	})
	if err := session.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return session, nil
}

// Secure implements secured.
func (p *pipeline) Secure(id uint64, fd int, config *tls.Config) error {
	session := secure.Server(blocking(fd), config)
	if err := errors.Join(session.Handshake(), unix.SetNonblock(fd, true)); err != nil {
		unix.Close(fd)
		return fmt.Errorf("bench: TLS handshake of connection %d: %w", id, err)
	}
	return p.own(actors.Conn{ID: id, FD: fd, WriteOnly: true, Sealer: session})
}

// Secure implements secured.
func (g *goroutines) Secure(id uint64, fd int, config *tls.Config) error {
	conn, err := NetConn(fd)
	if err != nil {
		return fmt.Errorf("bench: connection %d: %w", id, err)
	}
	encrypted := tls.Server(conn, config)
	if err := encrypted.Handshake(); err != nil {
		conn.Close()
		return fmt.Errorf("bench: TLS handshake of connection %d: %w", id, err)
	}
	g.serve(id, encrypted)
	return nil
}

// blocking is a blocking socket, of a client or of a server that has not passed it on yet.
type blocking int

// Read implements io.Reader.
func (b blocking) Read(p []byte) (int, error) {
	for {
		switch n, err := unix.Read(int(b), p); {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write implements io.Writer.
func (b blocking) Write(p []byte) (sent int, err error) {
	for sent < len(p) {
		n, err := unix.SendmsgN(int(b), p[sent:], nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EINTR {
			return sent, err
		}
		sent += max(n, 0)
	}
	return sent, nil
}

// fetch reads from one socket into dst, at most one buffer, and decrypts it. full reports that more
// bytes wait.
func (r *receiver) fetch(c *reader, dst []byte) (n int, full bool, err error) {
	if c.session == nil {
		n, err = unix.Read(c.fd, dst)
		if err == nil && n == 0 {
			err = io.EOF
		}
		return n, n == len(dst), err
	}
	if r.sealed == nil {
		r.sealed = make([]byte, readBuffer)
	}
	records := r.sealed[:len(dst)] // whose plain bytes are fewer
	kept := copy(records, c.sealed)
	n, err = unix.Read(c.fd, records[kept:])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return 0, false, err
	}
	full = kept+n == len(records)
	records = records[:kept+n]
	n, used, err := c.session.Open(dst, records, r.clock.now())
	c.sealed = append(c.sealed[:0], records[used:]...)
	if n > 0 {
		err = nil // the next read reports it again
	}
	return n, full, err
}
