package transport

import (
	"fmt"
	"syscall"
)

// SimNet is a set of simulated stream sockets for a SimRing. Descriptors are assigned as in a
// kernel, lowest first, so a closed one is soon reused. State changes only when a method is called,
// so two runs with the same calls are identical. It belongs to one goroutine.
//
//	SimRing.Send ──► socket: at most window bytes not yet read ──► SimPeer.Read
//	     fd                                                          client
type SimNet struct {
	sockets []*simSocket // by descriptor; nil = free
	open    int
}

// simFirstFD is the first descriptor. No process can have it (proc(5), fs.nr_open), so a real
// close(2) of a simulated socket fails instead of closing a file.
const simFirstFD = 1 << 20

// Events of poll(2), as the real engines report them.
const (
	pollOut = 0x4
	pollErr = 0x8
	pollHup = 0x10
)

// simSocket is one connection with both its ends.
type simSocket struct {
	window int
	bytes  []byte // sent and not yet read by the peer
	shut   bool   // the server side was shut down or closed
	gone   bool   // the peer closed or reset: sends fail
	short  bool   // the last send was short or failed
	reset  bool   // the next send or poll reports ECONNRESET, later ones EPIPE
	shorts uint64 // sends that were short or failed
	lost   uint64 // bytes that were not read before the peer closed
}

// SimPeer is the client's end of a simulated socket. It stays with its connection when the server's
// descriptor is closed and reused.
type SimPeer struct {
	socket *simSocket
	half   bool
	read   uint64
}

// NewSimNet returns a SimNet without sockets.
func NewSimNet() *SimNet { return &SimNet{} }

// Open creates a connection and returns the server's descriptor and the client's end. window is the
// number of bytes that the connection holds between a send and the client's read, at least 1.
func (n *SimNet) Open(window int) (int32, *SimPeer) {
	if window < 1 {
		panic(fmt.Sprintf("transport: SimNet.Open(window %d); want 1 or more bytes", window))
	}
	socket := &simSocket{window: window}
	n.open++
	for i := range n.sockets {
		if n.sockets[i] == nil {
			n.sockets[i] = socket
			return int32(i + simFirstFD), &SimPeer{socket: socket}
		}
	}
	n.sockets = append(n.sockets, socket)
	return int32(len(n.sockets) - 1 + simFirstFD), &SimPeer{socket: socket}
}

// Live is the number of open descriptors.
func (n *SimNet) Live() int { return n.open }

// Close closes the server's descriptor without a ring, like a process whose ring is gone. No
// request may be pending on it. If it is not open, Close does nothing.
func (n *SimNet) Close(fd int32) {
	if socket := n.at(fd); socket != nil {
		socket.shut = true
		n.release(fd)
	}
}

// at returns the socket of a descriptor, or nil.
func (n *SimNet) at(fd int32) *simSocket {
	i := int(fd) - simFirstFD
	if i < 0 || i >= len(n.sockets) {
		return nil
	}
	return n.sockets[i]
}

// release frees a descriptor.
func (n *SimNet) release(fd int32) {
	n.sockets[int(fd)-simFirstFD] = nil
	n.open--
}

// Read returns up to limit bytes that the server sent, in order, which frees that much room. The
// slice belongs to the caller. It is empty if there are none.
func (p *SimPeer) Read(limit int) []byte {
	return p.Take(nil, limit)
}

// Take is like Read but appends to dst.
func (p *SimPeer) Take(dst []byte, limit int) []byte {
	s := p.socket
	n := min(limit, len(s.bytes))
	dst = append(dst, s.bytes[:n]...)
	s.bytes = s.bytes[:copy(s.bytes, s.bytes[n:])]
	p.read += uint64(n)
	return dst
}

// Waiting is the number of bytes that Read could return now.
func (p *SimPeer) Waiting() int { return len(p.socket.bytes) }

// Taken is the number of bytes that Read has returned in total.
func (p *SimPeer) Taken() uint64 { return p.read }

// Lost is the number of bytes that were not read before the client closed the connection.
func (p *SimPeer) Lost() uint64 { return p.socket.lost }

// Refused reports whether the last send was short or failed.
func (p *SimPeer) Refused() bool { return p.socket.short }

// Refusals is the number of sends that were short or failed.
func (p *SimPeer) Refusals() uint64 { return p.socket.shorts }

// SetWindow changes the number of bytes that the connection holds. Bytes beyond it stay.
func (p *SimPeer) SetWindow(window int) { p.socket.window = window }

// HalfClose ends the client's sending direction, like shutdown(SHUT_WR). It does not affect the
// server's sends.
func (p *SimPeer) HalfClose() { p.half = true }

// HalfClosed reports whether the server's reader would see the end of the stream.
func (p *SimPeer) HalfClosed() bool { return p.half || p.socket.gone || p.socket.shut }

// Close ends the connection from the client's side. Bytes that it did not read are lost; sends fail
// with EPIPE.
func (p *SimPeer) Close() {
	p.socket.gone = true
	p.socket.lost += uint64(len(p.socket.bytes))
	p.socket.bytes = nil
}

// Reset ends the connection from the client's side with a reset: the next send fails with
// ECONNRESET, later ones with EPIPE.
func (p *SimPeer) Reset() {
	p.Close()
	p.socket.reset = true
}

// Ended reports whether the client would read the end of the stream: the server shut the socket
// down or closed it, and all bytes were read.
func (p *SimPeer) Ended() bool { return p.socket.shut && len(p.socket.bytes) == 0 }

// broken returns the error of a send on a socket that accepts no more bytes, or 0.
func (s *simSocket) broken() syscall.Errno {
	switch {
	case s.reset:
		s.reset = false
		return syscall.ECONNRESET
	case s.gone || s.shut:
		return syscall.EPIPE
	}
	return 0
}

// take appends up to limit bytes of b to the stream and returns their number.
func (s *simSocket) take(b []byte, limit int) int {
	n := min(len(b), limit, s.room())
	s.bytes = append(s.bytes, b[:n]...)
	return n
}

// room is the number of bytes that a send could place now.
func (s *simSocket) room() int { return max(0, s.window-len(s.bytes)) }

// events is what a poll for writability reports now; 0 means nothing yet.
func (s *simSocket) events() int32 {
	switch {
	case s.reset:
		return pollOut | pollErr | pollHup
	case s.gone || s.shut:
		return pollOut | pollHup
	case s.room() > 0:
		return pollOut
	}
	return 0
}
