package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// RefusedError is the refusal of the other end, in its words.
type RefusedError struct {
	Text    string
	Removed bool // this node is not a member any more
}

// Error returns the text of the refusal.
func (e *RefusedError) Error() string { return "refused by the peer: " + e.Text }

// link sends the frames of one lane to one node. Its goroutine connects, writes until the connection
// breaks, and connects again.
type link struct {
	links *Links
	to    *remote
	lane  Lane
	tls   *tls.Config // nil: none
	queue queue
	retry chan struct{} // holds a token if the node was heard of
	lines limiter
	flow  flow
	conn  *stream // guarded by Links.mu; nil: not connected
}

// stream is a connection, with TLS or without.
type stream struct {
	net.Conn          // frames
	raw      net.Conn // closing it never waits
	frames
}

func newStream(conn, raw net.Conn) *stream {
	return &stream{Conn: conn, raw: raw, frames: frames{src: conn, max: maxHello}}
}

func (k *link) run() {
	var delay time.Duration
	for k.pause(delay) {
		k.queue.accept(true)
		began := time.Now()
		err := k.connection()
		if k.queue.accept(false) > 0 {
			k.state(false)
		}
		k.failed(err)
		delay = k.backoff(delay, time.Since(began), err)
	}
}

// pause waits before an attempt, and reports whether one is to be made. It ends early if the node
// has connected to this one.
func (k *link) pause(d time.Duration) bool {
	d -= time.Duration(rand.Int64N(int64(d)/2 + 1))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.retry:
	case <-k.to.ctx.Done():
	}
	return k.to.ctx.Err() == nil
}

// backoff returns the longest delay before the next attempt. An attempt that was refused is not
// repeated soon, and one that lasted starts anew.
func (k *link) backoff(last, lasted time.Duration, err error) time.Duration {
	t := k.links.times
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return t.maxBackoff
	case lasted > t.maxBackoff && !errors.Is(err, errNotConnected):
		return t.minBackoff
	}
	return min(max(2*last, t.minBackoff), t.maxBackoff)
}

// errTakenOver is why this node closes a connection to or from an earlier process.
var errTakenOver = errors.New("a later start of the node took over")

// errNotConnected marks the failure of an attempt, as opposed to the end of a connection.
var errNotConnected = errors.New("not connected")

// connection makes one connection and uses it until it breaks, which the error explains.
func (k *link) connection() error {
	s, h, err := k.dial()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotConnected, err)
	}
	defer k.links.release(s.raw)
	if err := k.up(s, h); err != nil {
		refuse(s, err)
		return fmt.Errorf("%w: %w", errNotConnected, err)
	}
	defer k.down()
	k.logState(slog.LevelInfo, "peer connected", "version", h.version, "incarnation", h.incarnation)
	var end error
	gone := make(chan struct{})
	go func() { // ends before this function does
		defer close(gone)
		end = watch(s)
		s.raw.Close()
	}()
	err = k.write(s, gone)
	s.raw.Close()
	<-gone
	return cause(err, end)
}

// cause is why a connection ended on which writing and reading failed with these errors. The kernel tells
// the reason once: if reading was told, writing finds a broken pipe, or a connection that watch has closed.
func cause(writing, reading error) error {
	var refused *RefusedError
	late := errors.Is(writing, syscall.EPIPE) || errors.Is(writing, net.ErrClosed)
	if writing == nil || errors.As(reading, &refused) || late && !errors.Is(reading, net.ErrClosed) {
		return reading
	}
	return writing
}

// dial connects and exchanges hellos.
func (k *link) dial() (s *stream, h hello, err error) {
	l := k.links
	ctx, cancel := context.WithTimeout(k.to.ctx, l.times.dial)
	defer cancel()
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	raw, err := dialer.DialContext(ctx, "tcp", *k.to.address.Load())
	if err != nil {
		return nil, h, err
	}
	if !l.track(raw) {
		return nil, h, net.ErrClosed
	}
	defer func() {
		if err != nil {
			l.release(raw)
		}
	}()
	defer context.AfterFunc(k.to.ctx, func() { raw.Close() })()
	tune(raw, l.times.silence)
	if err = raw.SetDeadline(time.Now().Add(l.times.hello)); err != nil {
		return nil, h, err
	}
	conn := raw
	if k.tls != nil {
		secure := tls.Client(raw, k.tls)
		if err = secure.Handshake(); err != nil {
			return nil, h, explain(err)
		}
		conn = secure
	}
	s = newStream(conn, raw)
	if _, err = s.Write(l.hello(k.to.node, k.lane)); err == nil {
		h, err = readHello(&s.frames)
	}
	if err != nil {
		return nil, h, explain(l.noHello(err))
	}
	if err = l.judge(&h, k.to.node); err == nil {
		err = l.admits(&h)
	}
	if err != nil {
		refuse(s, err)
		return nil, h, err
	}
	return s, h, raw.SetDeadline(time.Time{})
}

// noHello says what an error of a connection means while a hello is awaited.
func (l *Links) noHello(err error) error {
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("no hello within %v: %w", l.times.hello, err)
	case errors.Is(err, net.ErrClosed):
		return errors.New("no hello before newer connections needed its place")
	case ended(err) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("closed by the other end before its hello: %w", err)
	}
	return err
}

// ended reports that the other end closed the connection, perhaps in the midst of a frame.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// up admits the node at the other end, and makes the connection the link's.
func (k *link) up(s *stream, h hello) error {
	l := k.links
	l.mu.Lock()
	err := k.to.admit(&h)
	if err == nil && k.to.ctx.Err() != nil {
		err = net.ErrClosed // it has ceased to be a peer
	}
	if err == nil {
		k.conn = s
		k.flow.set(true)
	}
	l.mu.Unlock()
	if err == nil {
		k.state(true)
	}
	return err
}

// down closes the queue first, so that no frame is accepted and lost after the report.
func (k *link) down() {
	k.queue.accept(false)
	k.links.mu.Lock()
	k.conn = nil
	k.flow.set(false)
	k.links.mu.Unlock()
	k.state(false)
}

func (k *link) state(up bool) {
	if report := k.links.cfg.OnState; report != nil {
		report(k.to.node, k.lane, up)
	}
}

// watch reads what a peer sends on a connection that it accepted, which is at most one refusal. It
// returns when the connection ends.
func watch(s *stream) error {
	k, payload, err := s.next()
	switch {
	case err != nil:
		return err
	case k == kindRefusal, k == kindRemoved:
		return refusalOf(k, payload)
	}
	return fmt.Errorf("a frame of kind %d from the accepting end", k)
}

// write writes frames as they come, all that wait in one call. It returns nil if the connection or
// the Links ended first.
func (k *link) write(s *stream, gone <-chan struct{}) error {
	var buffer, batch []byte
	timer := time.NewTimer(k.links.times.idle)
	defer timer.Stop()
	for {
		var idle <-chan time.Time
		if cap(buffer) > keepSize {
			timer.Reset(k.links.times.idle)
			idle = timer.C
		}
		select {
		case <-k.queue.wake:
		case <-idle:
			buffer = nil
			k.queue.release()
			continue
		case <-gone:
			return nil
		case <-k.to.ctx.Done():
			return nil
		}
		if buffer, batch = k.queue.take(buffer); len(batch) == 0 {
			continue
		}
		n := seal(batch)
		if _, err := s.Write(batch); err != nil {
			k.queue.drop(n)
			return err
		}
		k.flow.frames.Add(uint64(n))
		k.flow.bytes.Add(uint64(len(batch)))
	}
}

// failed records and logs why a connection ended or was not made.
func (k *link) failed(err error) {
	l := k.links
	if k.to.ctx.Err() != nil {
		return
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		l.noMember(refused)
	}
	if err == nil || ended(err) && !errors.Is(err, errNotConnected) {
		err = errors.New("closed by the peer")
	}
	if errors.Is(err, net.ErrClosed) {
		err = errTakenOver
	}
	l.mu.Lock()
	k.flow.fail(err)
	l.mu.Unlock()
	text := "peer disconnected"
	if errors.Is(err, errNotConnected) {
		text = "peer not connected"
	}
	k.logState(slog.LevelWarn, text, "error", err)
}

func (k *link) logState(level slog.Level, text string, attrs ...any) {
	k.lines.log(k.links.cfg.Log, level, text,
		append([]any{"node", k.to.node, "lane", k.lane, "address", *k.to.address.Load()}, attrs...)...)
}
