package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"sluice/transport/wire"
)

// ErrServerSilent is the error of a connection on which nothing arrived, not even heartbeats.
var ErrServerSilent = errors.New("client: the server is silent")

// ProtocolError means that the server sent what the protocol does not allow. The session closes
// that connection.
type ProtocolError struct {
	Request uint64 // the request number in the frame
	Text    string
}

// Error names the request number and what is wrong.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("client: protocol error: request %d: %s", e.Request, e.Text)
}

// missedHeartbeats is the number of intervals without a byte after which a server counts as dead.
const missedHeartbeats = 3

// link is one connection of a session. The session's goroutine reads it, one of its own writes it.
type link struct {
	session *Session
	conn    *Conn
	watched *watchedConn // below conn
	window  int

	// guarded by the session's mutex
	pending map[uint64]*Call // under way, by number
	out     []byte           // frames not written yet
	written uint64           // the last request that was given to the kernel, in part at least

	wake    chan struct{} // holds a token while out has frames
	stop    chan struct{} // closed when the reader is done
	stopped chan struct{} // closed when the writer is gone

	frames []Frame // of the response that is arriving; the reader's, as is size
	size   int     // bytes of those frames
	topics topics
}

func newLink(s *Session, conn *Conn) *link {
	l := &link{session: s, conn: conn, watched: conn.raw.(*watchedConn), window: s.options.Window,
		pending: make(map[uint64]*Call), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		stopped: make(chan struct{}), topics: topics{known: make(map[uint64]*Subscription)}}
	l.watched.silence.Store(int64(missedHeartbeats * conn.Server().Heartbeat))
	if l.window == 0 {
		l.window = DefaultWindow
	}
	if most := int(conn.Server().Window); most > 0 {
		l.window = min(l.window, most)
	}
	return l
}

// put queues a request for the writer. The caller holds the session's mutex.
func (l *link) put(c *Call) {
	l.pending[c.request] = c
	l.out = wire.AppendRequest(l.out, c.request, c.tag, c.body)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends requests, and heartbeats at a third of the silence that the server allows. If a write
// fails, the reader learns why: the server may have sent a Close.
func (l *link) write() {
	defer close(l.stopped)
	every := l.conn.Server().Silence / 3
	if every <= 0 {
		every = 365 * 24 * time.Hour
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	var spare []byte
	for {
		beat := false
		select {
		case <-l.stop:
			return
		case <-l.wake:
		case <-timer.C:
			beat = true
		}
		l.session.mu.Lock()
		buf := l.out
		l.out = spare[:0]
		l.written = l.session.request
		l.session.mu.Unlock()
		if beat && len(buf) == 0 {
			buf = append(buf, wire.ClientHeartbeat...)
		}
		if _, err := l.conn.conn.Write(buf); err != nil {
			l.watched.lost()
			return
		}
		spare = buf
		timer.Reset(every)
	}
}

// read handles frames until the connection ends, and returns why.
func (l *link) read() error {
	for {
		tag, body, err := l.conn.Next()
		if err == nil {
			err = l.frame(tag, body)
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) frame(tag uint8, body []byte) error {
	if b := l.topics.snapshot; b != nil {
		switch {
		case tag >= wire.ResponseFirst:
			l.describes(tag, body)
			return nil
		case tag == wire.TagBatchEnd || tag == wire.TagEngineError:
			return inSnapshot(b, fmt.Sprintf("a frame with tag %#02x", tag))
		}
	}
	switch tag {
	case wire.TagExtended:
		return l.extended(body)
	case wire.TagHeartbeat:
		return nil
	case wire.TagBatchEnd:
		request, ok := wire.DecodeBatchEnd(body)
		return l.end(request, ok, "BatchEnd", func(c *Call) error {
			c.response = Response{Request: request, Frames: l.frames}
			l.frames, l.size = nil, 0
			if c.refusal != 0 {
				return &RefusedError{Request: request, Tag: c.tag, Reason: c.refusal}
			}
			return nil
		})
	case wire.TagServerBusy: // may stand between the frames of another response
		request, ok := wire.DecodeServerBusy(body)
		return l.end(request, ok, "ServerBusy", func(*Call) error { return ErrBusy })
	case wire.TagEngineError:
		return l.refused(body)
	case wire.TagAdminResponse: // as ServerBusy
		request, result, ok := wire.DecodeAdminResponse(body)
		return l.end(request, ok, "AdminResponse", func(c *Call) error {
			c.response = Response{Request: request, Frames: []Frame{{tag, append([]byte(nil), result...)}}}
			return nil
		})
	}
	if tag < wire.ResponseFirst {
		return fmt.Errorf("client: protocol error: unexpected tag %#02x from the server", tag)
	}
	if l.session.options.OnFrame(tag, body) {
		return nil
	}
	return l.keep(tag, body)
}

// keep stores a frame of the response that is arriving.
func (l *link) keep(tag uint8, body []byte) error {
	if l.size += 1 + len(body); l.size > l.session.options.MaxResponseBytes {
		return fmt.Errorf("client: a response has more than %d bytes (SessionOptions.MaxResponseBytes)",
			l.session.options.MaxResponseBytes)
	}
	l.frames = append(l.frames, Frame{tag, append([]byte(nil), body...)})
	return nil
}

// end completes a request and gives its place to the next one. result runs under the mutex.
func (l *link) end(request uint64, ok bool, frame string, result func(*Call) error) error {
	c, err := l.complete(request, ok, frame, result)
	if err == nil && c.topic != nil {
		return l.subscribed(c)
	}
	return err
}

func (l *link) complete(request uint64, ok bool, frame string, result func(*Call) error) (*Call, error) {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c := l.pending[request]
	if !ok || c == nil {
		return nil, unexpected(request, ok, frame)
	}
	delete(l.pending, request)
	if c.err = result(c); c.err != nil {
		c.response = Response{}
	}
	close(c.done)
	s.place()
	return c, nil
}

func (l *link) refused(body []byte) error {
	request, reason, ok := wire.DecodeEngineError(body)
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	c := l.pending[request]
	if !ok || c == nil {
		return unexpected(request, ok, "EngineError")
	}
	c.refusal = max(reason, 1)
	return nil
}

func unexpected(request uint64, whole bool, frame string) error {
	if !whole {
		return fmt.Errorf("client: protocol error: the server sent a %s that is too short", frame)
	}
	return &ProtocolError{Request: request, Text: "the server sent " + frame +
		" for it, and it is not under way: it was never sent, or its response is complete already"}
}

// fail ends every request under way.
func (l *link) fail(cause error) {
	s := l.session
	var end *CloseError
	answered := errors.As(cause, &end) && end.Answered
	s.mu.Lock()
	broken := l.lose()
	for request, c := range l.pending {
		outcome := ErrUnknownOutcome
		if answered || request > l.written {
			outcome = ErrNotSent
		}
		c.err = fmt.Errorf("%w: request %d: %w", outcome, request, cause)
		close(c.done)
	}
	clear(l.pending)
	s.mu.Unlock()
	for _, b := range broken {
		if b.live || l.topics.known[b.request.Topic] != nil {
			b.live = false
			b.tell(TopicEvent{Kind: TopicBroken, Epoch: b.epoch, Seq: b.seq})
		}
	}
}

// watchedConn ends a Read when nothing arrives for some time.
type watchedConn struct {
	net.Conn
	silence atomic.Int64 // limit in ns; 0: none; after lost, negative
}

// lost is called when a write failed. What the server sent before is still read; if the end of the
// stream does not follow, reading ends after a second.
func (c *watchedConn) lost() {
	c.silence.Store(-1)
	_ = c.Conn.SetReadDeadline(time.Now().Add(time.Second))
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	silence := time.Duration(c.silence.Load())
	if silence > 0 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(silence))
		if c.silence.Load() < 0 { // lost set its deadline before
			_ = c.Conn.SetReadDeadline(time.Now().Add(time.Second))
		}
	}
	n, err := c.Conn.Read(b)
	if silence > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: nothing for %v, %d times the interval of its heartbeats", ErrServerSilent,
			silence, missedHeartbeats)
	}
	return n, err
}
