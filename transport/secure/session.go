package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Session is the TLS of one connection. Handshake comes first, on one goroutine. Then Open belongs to the
// goroutine that reads the socket, and Seal and End to the one that writes it; these two may run at the same
// time.
type Session struct {
	conn    *tls.Conn
	socket  io.ReadWriter // of the handshake; nil once it is done
	head    header        // of the record that the handshake reads
	binding [BindingSize]byte
	err     error // of the handshake

	in     []byte // the rest of the record that Open reads
	failed error  // what Open returned last, and returns from then on
	idle   int64  // time up to which records without data are paid for, ns; the reader's

	mu  sync.Mutex
	out []byte // records that were written and not taken
}

const (
	// BindingSize is the size of a channel binding in bytes.
	BindingSize = 32
	// PlainMost is the largest number of plain bytes in a record.
	PlainMost = 16 << 10
)

const (
	headerSize = 5
	recordMost = headerSize + PlainMost + 256 // RFC 8446, section 5.2

	idleBurst = 32                         // records without data that a client may send at once
	idleEvery = time.Second                // time after which it may send another one
	bindLabel = "EXPORTER-Channel-Binding" // RFC 9266
)

// ErrIdleRecords is the error of Open if the client sends too many records without data.
var ErrIdleRecords = errors.New("secure: too many records without data, such as key updates")

// Server begins a server's session. The handshake reads and writes socket, where Read blocks until there is a
// byte. It reads no byte behind the handshake's last record.
func Server(socket io.ReadWriter, config *tls.Config) *Session {
	s := &Session{socket: socket}
	s.conn = tls.Server((*pipe)(s), config)
	return s
}

// Client begins a client's session, for a program that reads many sockets. The rest is as for Server.
func Client(socket io.ReadWriter, config *tls.Config) *Session {
	s := &Session{socket: socket}
	s.conn = tls.Client((*pipe)(s), config)
	return s
}

// Handshake does the handshake. After an error, which an alert has reported to the other side, the session is useless.
func (s *Session) Handshake() error {
	if s.err = s.conn.Handshake(); s.err != nil {
		return s.err
	}
	state := s.conn.ConnectionState()
	s.binding, s.err = Binding(&state)
	s.socket = nil
	return s.err
}

// Binding is the channel binding of a connection, which both ends know and no other connection has: the exporter
// value of RFC 9266.
func Binding(state *tls.ConnectionState) (binding [BindingSize]byte, err error) {
	value, err := state.ExportKeyingMaterial(bindLabel, nil, BindingSize)
	if err != nil {
		return binding, fmt.Errorf("secure: channel binding: %w", err)
	}
	return [BindingSize]byte(value), nil
}

// Binding is the channel binding, after Handshake.
func (s *Session) Binding() [BindingSize]byte { return s.binding }

// Err is what Handshake returned, once it has.
func (s *Session) Err() error { return s.err }

// Peer is the client's certificate, of which the client has proved that it has the key; nil if it has sent none. If
// the configuration has authorities, one of them has issued it. After Handshake.
func (s *Session) Peer() *x509.Certificate {
	if chain := s.conn.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0]
	}
	return nil
}

// Open decrypts the whole records at the start of records into dst, which is at least as long as records. It
// returns the number of plain bytes and of bytes used. now is monotonic ns. The error is io.EOF once the client
// has ended its direction. After any error, nothing more can be read.
func (s *Session) Open(dst, records []byte, now int64) (n, used int, err error) {
	if s.failed == nil {
		n, used, s.failed = s.open(dst, records, now)
	}
	return n, used, s.failed
}

func (s *Session) open(dst, records []byte, now int64) (n, used int, err error) {
	for {
		size, err := recordSize(records[used:])
		if size == 0 || err != nil {
			return n, used, err
		}
		s.in = records[used : used+size]
		used += size
		m, err := s.conn.Read(dst[n:])
		n += m
		switch {
		case err == error(more{}):
			s.idle = max(s.idle, now) + int64(idleEvery)
			if s.idle-now > idleBurst*int64(idleEvery) {
				return n, used, ErrIdleRecords
			}
		case err != nil:
			return n, used, err
		}
	}
}

// recordSize is the size of the record at the start of b; 0 if it is not whole.
func recordSize(b []byte) (int, error) {
	if len(b) < headerSize {
		return 0, nil
	}
	size := headerSize + int(binary.BigEndian.Uint16(b[3:]))
	if size > recordMost {
		return 0, fmt.Errorf("secure: a record of %d bytes, at most %d are allowed", size, recordMost)
	}
	if size > len(b) {
		return 0, nil
	}
	return size, nil
}

// Seal implements transport.Sealer: plain has from 1 to PlainMost bytes.
func (s *Session) Seal(dst, plain []byte) ([]byte, error) {
	s.lend(dst)
	_, err := s.conn.Write(plain)
	return s.take(), err
}

// End implements transport.Sealer: it appends the alert close_notify.
func (s *Session) End(dst []byte) ([]byte, error) {
	s.lend(dst)
	err := s.conn.CloseWrite()
	return s.take(), err
}

// lend makes dst the place of what is written from now on, behind what was written before.
func (s *Session) lend(dst []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(dst, s.out...)
}

func (s *Session) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}
