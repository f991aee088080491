package secure

import (
	"encoding/binary"
	"net"
	"time"
)

// pipe is a Session as its tls.Conn uses it. Until the handshake is done, it reads and writes the socket. Then it
// reads the record that Open was given, and collects what is written.
type pipe Session

// header is the record that is being read in the handshake: crypto/tls would read beyond its end otherwise.
type header struct {
	bytes [headerSize]byte
	n     int // bytes of it that were read
	rest  int // bytes of the record behind it that were not
}

// Read implements net.Conn.
func (p *pipe) Read(b []byte) (int, error) {
	if p.socket == nil {
		if len(p.in) == 0 {
			return 0, more{}
		}
		n := copy(b, p.in)
		p.in = p.in[n:]
		return n, nil
	}
	h := &p.head
	most := h.rest
	if most == 0 {
		most = headerSize - h.n
	}
	n, err := p.socket.Read(b[:min(most, len(b))])
	if h.rest > 0 {
		h.rest -= n
		return n, err
	}
	if h.n += copy(h.bytes[h.n:], b[:n]); h.n == headerSize {
		h.n, h.rest = 0, int(binary.BigEndian.Uint16(h.bytes[3:]))
	}
	return n, err
}

// Write implements net.Conn. crypto/tls calls it under a lock of its own, in the order of the records.
func (p *pipe) Write(b []byte) (int, error) {
	if p.socket != nil {
		return p.socket.Write(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	return len(b), nil
}

// Close implements net.Conn. The socket belongs to the shard.
func (p *pipe) Close() error { return nil }

// LocalAddr implements net.Conn.
func (p *pipe) LocalAddr() net.Addr { return nowhere{} }

// RemoteAddr implements net.Conn.
func (p *pipe) RemoteAddr() net.Addr { return nowhere{} }

// SetDeadline implements net.Conn. Nothing here waits.
func (p *pipe) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (p *pipe) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "tls" }
func (nowhere) String() string  { return "tls" }

// more is the error of a read behind the end of a record. It is temporary, so crypto/tls goes on from there
// with the next read.
type more struct{}

func (more) Error() string   { return "secure: no record" }
func (more) Timeout() bool   { return true }
func (more) Temporary() bool { return true }
