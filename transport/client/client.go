package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"sluice/transport/wire"
)

// Options of a connection. The zero value works with a server that does not require authentication.
type Options struct {
	Key ed25519.PrivateKey // signs the challenge; nil: no key
	// how a server proves who it is; nil: a plain connection, on which nothing is secret
	TLS            *TLS
	Congestion     string // TCP_CONGESTION of tcp(7), such as "cubic", on Linux only; empty: system default
	ReadBuffer     int    // initial size in bytes, default 4096; grows to the largest frame
	MaxFrame       int    // limit on the length of a frame, default that of the longest TopicData
	ShowHeartbeats bool   // Next returns the server's heartbeats instead of skipping them

	// HeartbeatEvery is the interval after which a heartbeat is sent if nothing was flushed, so the
	// client is silent for at most twice that time. 0: no automatic heartbeats.
	HeartbeatEvery time.Duration

	// Heartbeat is the interval of the server's heartbeats that this client wants; the server
	// moves it into its own limits. 0: the server's choice. Server().Heartbeat is what it became.
	Heartbeat time.Duration
}

// Conn is a connection whose handshake is done. Send, Flush, Heartbeat and CloseWrite must be
// called from one goroutine, and Next from one, which may be another. Close and the deadlines may
// be called from any goroutine.
type Conn struct {
	conn    net.Conn // what is read and written: raw, or TLS over it
	raw     net.Conn
	binding []byte // channel binding of TLS; nil on a plain connection
	options Options
	server  wire.ServerReady // does not change after the handshake

	in         []byte // in[start:end] was received but not returned yet
	start, end int
	closed     *CloseError // the server's last frame; nil until it was received

	mu            sync.Mutex // guards the fields below against the heartbeat timer
	out           []byte     // frames not flushed yet
	timer         *time.Timer
	sentSinceTick bool  // a frame was sent since the timer was last set
	err           error // first failure to write
}

// Dial connects over "tcp" or "unix" and does the handshake. ctx bounds both and has no effect
// afterwards.
func Dial(ctx context.Context, network, address string, o Options) (*Conn, error) {
	conn, err := o.dialer(network).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c, err := New(ctx, conn, o.named(network, address))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (o *Options) dialer(network string) *net.Dialer {
	dialer := new(net.Dialer)
	if name := o.Congestion; name != "" && network != "unix" {
		dialer.Control = func(_, _ string, raw syscall.RawConn) error { return setCongestion(raw, name) }
	}
	return dialer
}

// New does the handshake on an existing connection, that of TLS included. After an error, conn still belongs to the
// caller.
func New(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	if o.Key != nil && len(o.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("client: private key has %d bytes, want %d", len(o.Key),
			ed25519.PrivateKeySize)
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = wire.MaxResponse + wire.TopicDataSize
	}
	if o.ReadBuffer == 0 {
		o.ReadBuffer = 4096
	}
	c := &Conn{conn: conn, raw: conn, options: o, in: make([]byte, max(o.ReadBuffer, wire.MaxHandshake))}
	// When the context ends, the deadline moves into the past, which interrupts a blocked read or
	// write.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	var err error
	if o.TLS != nil {
		err = c.startTLS()
	}
	if err == nil {
		err = c.handshake()
	}
	if !stop() && ctx.Err() != nil {
		if errors.Is(err, ErrNoChallenge) {
			return nil, fmt.Errorf("client: handshake: %w: %w", context.Cause(ctx), ErrNoChallenge)
		}
		return nil, fmt.Errorf("client: handshake: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	if o.HeartbeatEvery > 0 {
		c.mu.Lock()
		c.timer = time.AfterFunc(o.HeartbeatEvery, c.heartbeatTick)
		c.mu.Unlock()
	}
	return c, nil
}

// Send buffers a request; Flush sends it.
func (c *Conn) Send(seq uint64, tag uint8, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = wire.AppendRequest(c.out, seq, tag, body)
	return c.err
}

// SendTraced buffers a request with its W3C trace context: trace id, span id and flags, as bytes.
func (c *Conn) SendTraced(seq uint64, trace [wire.TraceSize]byte, tag uint8, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = wire.AppendTraced(c.out, seq, &trace, tag, body)
	return c.err
}

// Flush sends the buffered frames. After an error, every Send and Flush returns it.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

func (c *Conn) flush() error {
	if c.err == nil && len(c.out) > 0 {
		c.sentSinceTick = true
		_, c.err = c.conn.Write(c.out)
	}
	c.out = c.out[:0]
	return c.err
}

// Heartbeat sends the buffered frames, followed by a heartbeat.
func (c *Conn) Heartbeat() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, wire.ClientHeartbeat...)
	return c.flush()
}

// heartbeatTick is called by the timer. It does not flush buffered requests, because only the
// sender knows when they are due.
func (c *Conn) heartbeatTick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return
	}
	if !c.sentSinceTick && c.err == nil {
		_, c.err = c.conn.Write([]byte(wire.ClientHeartbeat))
	}
	c.sentSinceTick = false
	if c.err == nil {
		c.timer.Reset(c.options.HeartbeatEvery)
	}
}

// Next waits for a frame from the server. body is valid until the next call. At the end of the
// stream the error is io.EOF between frames and io.ErrUnexpectedEOF within one. If a deadline
// expires, the next call continues from there. If the server closes the connection for a reason of
// its own, the error is a *CloseError, even if an earlier Flush failed.
func (c *Conn) Next() (tag uint8, body []byte, err error) {
	for {
		tag, body, err = c.next()
		if err == nil && tag == wire.TagHeartbeat && !c.options.ShowHeartbeats {
			continue
		}
		return tag, body, err
	}
}

func (c *Conn) next() (uint8, []byte, error) {
	if c.closed != nil {
		return 0, nil, c.closed
	}
	for {
		tag, body, size, err := wire.NextResponse(c.in[c.start:c.end], c.options.MaxFrame)
		if err != nil {
			return 0, nil, err
		}
		if size > 0 {
			c.start += size
			if tag == wire.TagClose {
				return 0, nil, c.close(body)
			}
			return tag, body, nil
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// fill makes room and receives more bytes.
func (c *Conn) fill() error {
	if c.start == c.end {
		c.start, c.end = 0, 0
	}
	if c.end == len(c.in) {
		if c.start == 0 {
			c.in = append(c.in, make([]byte, len(c.in))...)
		} else {
			c.end = copy(c.in, c.in[c.start:c.end])
			c.start = 0
		}
	}
	n, err := c.conn.Read(c.in[c.end:])
	c.end += n
	if n > 0 {
		return nil // the next read returns the error again
	}
	if err == io.EOF && c.start != c.end {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Server is what the server reported in the handshake: its name, version and limits. Any goroutine.
func (c *Conn) Server() wire.ServerReady { return c.server }

// SetReadDeadline bounds Next; the zero time means no deadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline bounds Flush and Heartbeat; the zero time means no deadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// NetConn is the underlying connection, for socket options. Reading or writing it breaks the
// framing.
func (c *Conn) NetConn() net.Conn { return c.raw }

// CloseWrite flushes and closes the sending direction; responses can still be received. It stops
// automatic heartbeats.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("client: a %T cannot be half-closed", c.conn)
	}
	return errors.Join(c.flush(), half.CloseWrite())
}

// Close closes the connection. Requests that were not flushed are lost.
func (c *Conn) Close() error {
	err := c.conn.Close() // first: this unblocks a Flush or a heartbeat that holds the lock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	return err
}

func (c *Conn) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
