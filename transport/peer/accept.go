package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

const (
	places      = 64                    // for hellos of accepted connections
	acceptPause = 50 * time.Millisecond // after an error, such as that of too many open files
	lingerTime  = time.Second           // for a refusal to reach the other end
	lingerBytes = 64 << 10              // discarded meanwhile
)

// inbound is what a node sends on a lane. Its connections follow one another.
type inbound struct {
	flow flow
	now  *arrival // guarded by Links.mu; nil: not connected
}

// arrival is an accepted connection that carries frames.
type arrival struct {
	stream *stream
	hello  hello
	from   *remote
	to     *inbound
	done   chan struct{} // closed after the last call of Receive
}

func (l *Links) accept() {
	for {
		conn, err := l.socket.Accept()
		switch {
		case l.ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return
		case err != nil:
			l.arrivals.log(l.cfg.Log, slog.LevelWarn, "accepting peers failed", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-l.ctx.Done():
				return
			}
		case l.track(conn):
			l.beginGreeting(conn)
			l.wg.Go(func() { l.serve(conn) })
		}
	}
}

// serve is the goroutine of an accepted connection.
func (l *Links) serve(raw net.Conn) {
	defer l.release(raw)
	tune(raw, l.times.silence)
	a, before, err := l.greet(raw)
	l.endGreeting(raw)
	if a == nil {
		return
	}
	defer close(a.done)
	if before != nil {
		<-before // its connection is closed; Receive may still run
	}
	if err == nil {
		err = l.receive(a)
	}
	l.left(a, err)
}

// greet does the handshake. It returns the connection, nil if there is none, and the end of the one before
// it. A refusal is logged, and told to the other end.
func (l *Links) greet(raw net.Conn) (a *arrival, before <-chan struct{}, err error) {
	_ = raw.SetDeadline(time.Now().Add(l.times.hello))
	s, h, err := l.hear(raw)
	if err == nil {
		if err = l.judge(&h, 0); err == nil {
			err = certified(s.Conn, h.from)
		}
		if err == nil {
			err = l.admits(&h)
		}
	}
	if err == nil {
		p := l.peer(h.from)
		if p == nil {
			return nil, nil, l.refuse(raw, s, h, errGone)
		}
		a = &arrival{stream: s, hello: h, from: p, to: &p.in[h.lane-1], done: make(chan struct{})}
		before, err = l.register(a)
	}
	if err == nil {
		_, err = s.Write(l.hello(h.from, h.lane))
		if err == nil {
			err = raw.SetDeadline(time.Time{})
		}
		l.cfg.Log.Debug("peer accepted", "node", h.from, "lane", h.lane, "remote", raw.RemoteAddr())
		s.widen(h.lane.limit())
		return a, before, err
	}
	return nil, nil, l.refuse(raw, s, h, l.noHello(err))
}

// errGone is why a node is refused that has ceased to be a peer a moment ago.
var errGone = errors.New("it is not a peer any more")

// refuse logs and tells a refusal.
func (l *Links) refuse(raw net.Conn, s *stream, h hello, err error) error {
	l.refused(raw, h, err)
	refuse(s, err)
	linger(raw)
	return err
}

// hear does the TLS handshake and reads the Hello. The stream is for a refusal if there is an error.
func (l *Links) hear(raw net.Conn) (*stream, hello, error) {
	conn := raw
	if t := l.cfg.server(); t != nil {
		secure := tls.Server(raw, t)
		if err := secure.Handshake(); err != nil {
			var plain tls.RecordHeaderError
			if errors.As(err, &plain) && plain.Conn != nil {
				return newStream(raw, raw), hello{}, explain(err)
			}
			return nil, hello{}, explain(err)
		}
		conn = secure
	}
	s := newStream(conn, raw)
	h, err := readHello(&s.frames)
	return s, h, err
}

// certified reports why the certificate of the other end is not that of a node.
func certified(conn net.Conn, node uint8) error {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	if err := leaf.VerifyHostname(Name(node)); err != nil {
		return fmt.Errorf("node %d presents a certificate for %q: it needs the DNS name %q", node,
			leaf.DNSNames, Name(node))
	}
	return nil
}

// register makes a connection the one of its node and lane. It closes the one before, and returns a channel
// that is closed when that one has ended; nil if there was none.
func (l *Links) register(a *arrival) (before <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, net.ErrClosed
	case a.from.ctx.Err() != nil:
		return nil, errGone
	}
	if err := a.from.admit(&a.hello); err != nil {
		return nil, err
	}
	if replaced := a.to.now; replaced != nil {
		replaced.stream.raw.Close()
	}
	last := &l.receiving[a.from.node][a.hello.lane-1]
	before, *last, a.to.now = *last, a.done, a
	a.to.flow.set(true)
	for _, k := range a.from.out { // the node is there: do not wait
		select {
		case k.retry <- struct{}{}:
		default:
		}
	}
	return before, nil
}

// receive hands frames to Receive until the connection ends.
func (l *Links) receive(a *arrival) error {
	from := Sender{Node: a.from.node, Generation: a.from.generation, Incarnation: a.hello.incarnation}
	for {
		k, payload, err := a.stream.next()
		switch {
		case err != nil:
			return err
		case k == kindRefusal, k == kindRemoved:
			return refusalOf(k, payload)
		case k != kindData:
			return fmt.Errorf("a frame of kind %d", k)
		}
		a.to.flow.frames.Add(1)
		a.to.flow.bytes.Add(uint64(headerSize + len(payload)))
		l.cfg.Receive(from, a.hello.lane, payload)
	}
}

// left records the end of a connection, unless another has replaced it.
func (l *Links) left(a *arrival, err error) {
	l.mu.Lock()
	current := a.to.now == a && !l.closed
	if a.to.now == a {
		a.to.now = nil
		a.to.flow.set(false)
	}
	if errors.Is(err, net.ErrClosed) {
		err = errTakenOver
	}
	if current {
		a.to.flow.fail(err)
	}
	l.mu.Unlock()
	var network net.Error
	var refused *RefusedError
	if errors.As(err, &refused) {
		l.noMember(refused)
	}
	switch {
	case !current:
	case ended(err) || err == errTakenOver || errors.As(err, &network):
		l.cfg.Log.Debug("peer left", "node", a.from.node, "lane", a.hello.lane, "error", err)
	default:
		l.arrivals.log(l.cfg.Log, slog.LevelWarn, "peer cut off", "node", a.from.node, "lane", a.hello.lane,
			"remote", a.stream.raw.RemoteAddr(), "error", err)
		refuse(a.stream, err)
		linger(a.stream.raw)
	}
}

// refused logs a refusal, and records it if the sender says that it is a peer.
func (l *Links) refused(raw net.Conn, h hello, err error) {
	attrs := []any{"remote", raw.RemoteAddr(), "error", err}
	l.mu.Lock()
	closed := l.closed
	if p := l.peer(h.from); p != nil && h.lane.valid() && h.cluster == l.cfg.Cluster {
		p.in[h.lane-1].flow.fail(err)
		attrs = append(attrs, "node", h.from, "lane", h.lane, "version", h.version)
	}
	l.mu.Unlock()
	if !closed {
		l.arrivals.log(l.cfg.Log, slog.LevelWarn, "peer refused", attrs...)
	}
}

// refuse tells the other end why its connection is closed.
func refuse(s *stream, why error) {
	var refused *RefusedError
	if s == nil || errors.As(why, &refused) {
		return // there is no stream, or the other end knows
	}
	_ = s.raw.SetDeadline(time.Now().Add(lingerTime))
	text, k := why.Error(), kindRefusal
	var removed *removedError
	if errors.As(why, &removed) {
		k = kindRemoved
	}
	_, _ = s.Write(sealed(k, []byte(text[:min(len(text), maxText)])))
}

// linger closes the sending direction, and discards a little of what the other end has sent: closing
// a socket with unread data can destroy what was sent last.
func linger(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(lingerTime))
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, raw, lingerBytes)
	}
}
