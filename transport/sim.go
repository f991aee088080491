package transport

import (
	"fmt"
	"syscall"
)

// SimNet is a world of simulated stream sockets for a SimRing. Descriptors are given out as a kernel does, lowest
// first, so a closed one comes back soon. Nothing in it runs by itself: it changes when a method is called, and two
// runs with the same calls are the same. It belongs to one goroutine.
//
//	SimRing.Send ──► socket: at most window bytes not yet read ──► SimPeer.Read
//	     fd                                                          client
type SimNet struct {
	sockets []*simSocket // by descriptor; nil = free
	open    int
}

// simFirstFD is the first descriptor. No process has it (proc(5), fs.nr_open), so that a real close(2) of a simulated
// socket fails instead of closing something.
const simFirstFD = 1 << 20

// poll(2) events, as a real engine reports them.
const (
	pollOut = 0x4
	pollErr = 0x8
	pollHup = 0x10
)

// simSocket is one connection, both ends of it.
type simSocket struct {
	window int
	bytes  []byte // sent and not yet read by the peer
	shut   bool   // our side was shut down or closed
	gone   bool   // the peer closed or reset: sends fail
	short  bool   // the last send was not taken whole
	reset  bool   // the next send or poll reports the reset, ECONNRESET; those after it EPIPE
}

// SimPeer is the client's end of a simulated socket. It stays with its connection when the server's descriptor is
// closed and used again.
type SimPeer struct {
	socket *simSocket
	half   bool
	read   uint64
	lost   uint64 // bytes
}

// NewSimNet returns a world without sockets.
func NewSimNet() *SimNet { return &SimNet{} }

// Open makes a connection and returns the server's descriptor and the client's end. window is how many bytes the
// connection holds between a send and the client's reading, at least 1.
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

// Live is the number of descriptors that are open.
func (n *SimNet) Live() int { return n.open }

// Close closes the server's descriptor outside of any ring, as a process does whose ring is gone. No request may be
// pending on it. One that is not open is no error.
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

// Read takes up to limit bytes that the server sent, in order, which makes room for as many. The slice belongs to the
// caller. It is empty when there is nothing.
func (p *SimPeer) Read(limit int) []byte {
	return p.Take(nil, limit)
}

// Take is Read that appends to dst.
func (p *SimPeer) Take(dst []byte, limit int) []byte {
	s := p.socket
	n := min(limit, len(s.bytes))
	dst = append(dst, s.bytes[:n]...)
	s.bytes = s.bytes[:copy(s.bytes, s.bytes[n:])]
	p.read += uint64(n)
	return dst
}

// Waiting is the number of bytes that Read could take now.
func (p *SimPeer) Waiting() int { return len(p.socket.bytes) }

// Taken is the number of bytes that Read has returned in all.
func (p *SimPeer) Taken() uint64 { return p.read }

// Lost is the number of bytes that nobody will read, since the client closed the connection.
func (p *SimPeer) Lost() uint64 { return p.lost }

// Refused says whether the socket did not take the last send whole.
func (p *SimPeer) Refused() bool { return p.socket.short }

// SetWindow changes how many bytes the connection holds. Bytes beyond it stay.
func (p *SimPeer) SetWindow(window int) { p.socket.window = window }

// HalfClose ends the client's sending direction, as shutdown(SHUT_WR) does. The server's sends are not affected.
func (p *SimPeer) HalfClose() { p.half = true }

// HalfClosed says whether the server's reader would see the end of the stream.
func (p *SimPeer) HalfClosed() bool { return p.half || p.socket.gone || p.socket.shut }

// Close ends the connection from the client's side. What it did not read is lost; sends fail with EPIPE.
func (p *SimPeer) Close() {
	p.socket.gone = true
	p.lost += uint64(len(p.socket.bytes))
	p.socket.bytes = nil
}

// Reset ends the connection from the client's side with a reset: the next send fails with ECONNRESET, later ones with
// EPIPE.
func (p *SimPeer) Reset() {
	p.Close()
	p.socket.reset = true
}

// Ended says whether the client would read the end of the stream: the server shut the socket down or closed it, and
// all bytes were read.
func (p *SimPeer) Ended() bool { return p.socket.shut && len(p.socket.bytes) == 0 }

// broken returns the error of a send on a socket that takes no more bytes, or 0.
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

// take appends up to limit bytes of b to the stream and returns how many.
func (s *simSocket) take(b []byte, limit int) int {
	n := min(len(b), limit, s.room())
	s.bytes = append(s.bytes, b[:n]...)
	return n
}

// room is how many bytes a send could place now.
func (s *simSocket) room() int { return max(0, s.window-len(s.bytes)) }

// events is what a poll for writability reports now; 0 = nothing yet.
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
