package trials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// patience bounds every wait for an event that must occur. Reaching it is a failure, so it is
// generous.
const patience = 90 * time.Second

// reader is a client that checks every byte it receives.
type reader struct {
	*client.Conn
	token  uint64
	size   int    // bytes of its notes
	next   uint64 // number of the next note
	seq    uint64
	beats  int          // heartbeats seen, if it asked to see them
	stream atomic.Int64 // checked notes of a stream; read by any goroutine
	frames int          // frames read from the connection
	each   func()       // if set, called by prefix after each note
}

// how is the way in which a client connects.
type how struct {
	network, address string
	tls              *client.TLS // over TCP; nil for a plain connection
	receive          int         // SO_RCVBUF; 0 for the default of the system. If set, TCP segments have 536 B
	beats            bool        // show heartbeats
}

// connect dials and makes the handshake.
func connect(h how, token uint64, size int) (*reader, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := net.Dialer{}
	if h.receive > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			return errors.Join(raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, h.receive)
				if h.network == "tcp" { // with the 64 KiB segments of loopback the window would open in steps of that size
					err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536))
				}
			}), err)
		}
	}
	conn, err := d.DialContext(ctx, h.network, h.address)
	if err != nil {
		return nil, err
	}
	c, err := client.New(ctx, conn, client.Options{ReadBuffer: 1024, ShowHeartbeats: h.beats, TLS: h.tls})
	if err != nil {
		conn.Close()
		return nil, err
	}
	r := &reader{Conn: c, token: token, size: size, next: 1}
	return r, errors.Join(c.SetReadDeadline(time.Now().Add(patience)), c.SetWriteDeadline(time.Now().Add(patience)))
}

// ask requests count notes, numbered from first.
func (r *reader) ask(first uint64, count int) error {
	r.seq++
	a := ask{token: r.token, first: first, count: uint32(count), size: uint32(r.size)}
	return errors.Join(r.SetWriteDeadline(time.Now().Add(patience)), r.Send(r.seq, tagAsk, a.body()))
}

// follow makes the client a follower; it is one when follow returns.
func (r *reader) follow() error {
	r.seq++
	a := ask{token: r.token, size: uint32(r.size)}
	return errors.Join(r.Send(r.seq, tagFollow, a.body()), r.Flush(), r.end())
}

// frame is Next without heartbeats, which are counted.
func (r *reader) frame() (uint8, []byte, error) {
	for {
		if r.frames++; r.frames%256 == 0 { // patience applies to the next frames, not to a whole soak
			if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
				return 0, nil, err
			}
		}
		tag, body, err := r.Next()
		if err != nil || tag != wire.TagHeartbeat {
			return tag, body, err
		}
		r.beats++
	}
}

// notes receives n notes and checks them.
func (r *reader) notes(n int) error {
	for range n {
		tag, body, err := r.frame()
		if err == nil {
			err = verify(tag, body, r.token, r.next, r.size)
		}
		if err != nil {
			return fmt.Errorf("token %#x, before note %d: %w", r.token, r.next, err)
		}
		r.next++
	}
	return nil
}

// whole receives notes up to the BatchEnd of a stream.
func (r *reader) whole() error {
	for {
		if ended, err := r.one(); ended || err != nil {
			return err
		}
	}
}

// one receives the next note of a stream, or its end.
func (r *reader) one() (ended bool, err error) {
	tag, body, err := r.frame()
	if err == nil && tag == wire.TagBatchEnd {
		return true, nil
	}
	if err == nil {
		err = verify(tag, body, r.token, r.next, r.size)
	}
	if err != nil {
		return false, fmt.Errorf("token %#x, before note %d: %w", r.token, r.next, err)
	}
	r.next++
	r.stream.Add(1)
	return false, nil
}

// watch checks the whole streams of clients in the background.
func watch(readers []*reader) <-chan error {
	checked := make(chan error, 1)
	go func() { checked <- all(readers, (*reader).whole) }()
	return checked
}

// end receives the BatchEnd of an answer.
func (r *reader) end() error {
	tag, _, err := r.frame()
	if err != nil || tag != wire.TagBatchEnd {
		return fmt.Errorf("token %#x, after note %d: tag %#x (%w), want BatchEnd", r.token, r.next-1, tag, err)
	}
	return nil
}

// exchange requests n notes and receives them.
func (r *reader) exchange(n int) error {
	return errors.Join(r.ask(r.next, n), r.Flush(), r.notes(n), r.end())
}

// prefix receives notes until the stream ends. The end may cut a note off; anything else is an
// error.
func (r *reader) prefix() error {
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for {
		tag, body, err := r.frame()
		switch {
		case err == nil && tag == wire.TagBatchEnd:
		case err == nil:
			if err := verify(tag, body, r.token, r.next, r.size); err != nil {
				return fmt.Errorf("token %#x: %w", r.token, err)
			}
			r.next++
			if r.each != nil {
				r.each()
			}
		case gone(err):
			return nil
		default:
			return fmt.Errorf("token %#x, after note %d: %w", r.token, r.next-1, err)
		}
	}
}

// gone reports whether an error is the end of a stream, orderly or not.
func gone(err error) bool {
	var end *client.CloseError
	return errors.As(err, &end) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// reset ends a TCP connection with a reset, a unix one with a close.
func (r *reader) reset() {
	if c, ok := r.NetConn().(*net.TCPConn); ok {
		_ = c.SetLinger(0) // on failure it is an ordinary close
	}
	r.Close()
}

// all runs a step of many clients at the same time and returns their errors.
func all(readers []*reader, step func(*reader) error) error {
	errs := make([]error, len(readers))
	var group sync.WaitGroup
	for i, r := range readers {
		group.Go(func() { errs[i] = step(r) })
	}
	group.Wait()
	return errors.Join(errs...)
}
