package actors

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// Conn is a socket on its way into the pipeline.
type Conn struct {
	ID        uint64 // never 0; reusable once its connection was released and all its slots published
	FD        int    // a connected, non-blocking stream socket; a duplicate if a net.Conn owns it
	Class     uint8  // which of Config.Limits apply
	WriteOnly bool   // the socket has no reader, so Disconnect is never called

	// Heartbeat is the time without a byte sent after which the client gets a heartbeat; default
	// Config.Heartbeat, at least Config.Egress.Tick.
	Heartbeat time.Duration

	// Sealer encrypts what the shard sends, on the shard's goroutine; nil for a plain connection. What arrives
	// is decrypted by the reader. See transport/secure.
	Sealer transport.Sealer
}

// Connect hands a socket to its shard and returns once the shard owns it: a response published
// afterwards finds its connection (R30). From then on only the shard writes to the socket and
// closes it; the caller may read from it until it calls Disconnect. After an error the socket still
// belongs to the caller.
//
// Nothing else may close the descriptor: not a net.Conn or *os.File that it was taken from, whose
// finalizers do, and after which the kernel gives its number to another client. ConnectNet is for
// those. Connect rejects a descriptor that a live connection of this pipeline owns, that is closed,
// that is not a stream socket with a peer, or that is blocking, because Fd of *os.File makes it so.
func (p *Pipeline[R, Q]) Connect(c Conn) error {
	if c.ID == 0 || c.FD < 0 {
		return fmt.Errorf("actors: connection id %d with descriptor %d; "+
			"an id is not 0 and a descriptor not negative", c.ID, c.FD)
	}
	if p.mail.events.Closed() {
		return ErrEnded
	}
	if n := p.permit.Add(1); n > int64(p.cfg.MaxConnections) {
		p.permit.Add(-1)
		return fmt.Errorf("actors: %w: %d", ErrFull, p.cfg.MaxConnections)
	}
	err := p.own(c)
	if err != nil {
		p.permit.Add(-1)
	}
	return err
}

// own makes the descriptor one of the pipeline's, and hands it to its shard.
func (p *Pipeline[R, Q]) own(c Conn) error {
	if owner := p.sockets.owned.Take(int32(c.FD), c.ID); owner != 0 {
		return fmt.Errorf("actors: descriptor %d belongs to connection %d, which is live; was it "+
			"closed elsewhere and its number used again? Hand over a net.Conn with ConnectNet, or a "+
			"descriptor that nothing else closes", c.FD, owner)
	}
	err := checkSocket(c.FD)
	if err != nil {
		p.sockets.owned.Forget(int32(c.FD))
		return err
	}
	done := make(chan error, 1)
	err = p.send(shard.Event{
		Kind: shard.EventConnect, Conn: c.ID, FD: int32(c.FD), Class: c.Class,
		WriteOnly: c.WriteOnly, Since: p.slots.Published(),
		Heartbeat: int64(p.heartbeat(c.Heartbeat)), Sealer: c.Sealer,
		Ack: func(err error) { done <- err },
	})
	if err == nil {
		err = <-done // always answered: by the shard, or by finish
		if errors.Is(err, shard.ErrEnding) {
			err = ErrEnded
		}
	}
	if err != nil {
		p.sockets.owned.Forget(int32(c.FD))
	}
	return err
}

// heartbeat is the interval of a connection that asked for one.
func (p *Pipeline[R, Q]) heartbeat(wanted time.Duration) time.Duration {
	if wanted <= 0 {
		return p.cfg.Heartbeat
	}
	return max(wanted, p.cfg.Egress.Tick)
}

// ConnectNet connects a *net.TCPConn, or a *net.UnixConn of network "unix". It duplicates the
// descriptor; c.FD is not used. The duplicate belongs to the pipeline, from, with its own
// descriptor, to the caller: one goroutine reads from it and closes it, and calls Disconnect. The
// order of those two does not matter, and no descriptor is ever shared, so the garbage collector
// cannot close one that is in use. Nothing is written to from any more. O_NONBLOCK and socket
// options belong to the socket, which both descriptors share; they stay as they are. A *tls.Conn
// cannot be connected, because its bytes are encrypted on the way to the socket.
func (p *Pipeline[R, Q]) ConnectNet(c Conn, from net.Conn) error {
	socket, err := socketOf(from)
	if err != nil {
		return err
	}
	c.FD, err = duplicate(socket)
	if err != nil {
		return fmt.Errorf("actors: duplicating the descriptor of connection %d: %w", c.ID, err)
	}
	err = p.Connect(c)
	if err != nil {
		_ = closeDescriptor(int32(c.FD))
	}
	return err
}

// socketOf returns a connection whose bytes are those on the socket.
func socketOf(from net.Conn) (syscall.Conn, error) {
	switch conn := from.(type) {
	case *net.TCPConn:
		if conn != nil {
			return conn, nil
		}
	case *net.UnixConn:
		if conn != nil {
			return conn, nil
		}
	case interface{ NetConn() net.Conn }:
		return nil, fmt.Errorf("actors: a %T changes bytes on their way to the socket, which the "+
			"pipeline would not; use Connect with a Sealer (transport/secure), or connect what NetConn "+
			"returns if its bytes are to be sent as they are", from)
	}
	return nil, fmt.Errorf("actors: a %T is not a socket; pass the *net.TCPConn or *net.UnixConn "+
		"that it wraps", from)
}
