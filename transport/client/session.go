package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/transport/wire"
)

// Errors of a request of a Session. One that is none of these, nor a RefusedError, is a mistake of
// the caller, and nothing was sent.
var (
	// ErrBusy means that the server shed the request: it was not executed.
	ErrBusy = errors.New("client: the server shed the request; it was not executed")
	// ErrNotSent means that the request was not carried out and never will be: no byte of it was sent, or
	// the server ended the connection in order and had not read it (wire.Close.Answered). It can be sent
	// again.
	ErrNotSent = errors.New("client: the request was not carried out")
	// ErrUnknownOutcome means that the request was sent and its response did not arrive: it may have
	// been executed, or may still be. The application's own means find out.
	ErrUnknownOutcome = errors.New("client: the request was sent and got no response; it may have been executed")
	// ErrSessionClosed is the cause of errors after Session.Close.
	ErrSessionClosed = errors.New("client: session is closed")
)

// RefusedError means that the server refused a request: it was not executed.
type RefusedError struct {
	Request uint64 // its number
	Tag     uint8
	Reason  wire.Refusal
}

// Error names the request and the reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("client: the server refused request %d (tag %#02x): %v", e.Request, e.Tag, e.Reason)
}

// Defaults for zero fields of SessionOptions.
const (
	DefaultWindow           = 256
	DefaultMaxResponseBytes = 16 << 20
	DefaultDialTimeout      = 5 * time.Second
	DefaultMinBackoff       = 100 * time.Millisecond
	DefaultMaxBackoff       = 10 * time.Second
)

// SessionOptions are the options of a Session. The zero value works with a server that does not
// require authentication.
type SessionOptions struct {
	Conn Options // of each connection; HeartbeatEvery and ShowHeartbeats are the session's

	Window           int           // requests under way at most, fewer if the server says so
	MaxResponseBytes int           // bytes of the frames of one response at most
	DialTimeout      time.Duration // for connecting and handshake
	MinBackoff       time.Duration // delay after the first failure; doubles with each further one
	MaxBackoff       time.Duration // limit of that delay; a connection that lasted longer resets it

	// Once: do not reconnect: the first failure ends the session. It goes where a server sends it
	// that does not lead, until it was Ready.
	Once bool

	// Pinned: connect to the session's own addresses only. Otherwise the session goes to any address
	// in a server's Close, such as that of the leader of its cluster, with the same key; to a
	// unix-domain socket only from another one. Pin it if a server, or the network to it, might send
	// the client where it must not go. Dial may refuse an address, too.
	Pinned bool

	// Dial makes the network connection, for example through TLS. nil: as the function Dial does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// OnState is called with each change of the connection, from one goroutine of the session. The
	// session waits for it. It must not call Send, Do or Close.
	OnState func(State)

	// OnFrame is called with each application frame as it arrives, before its response is complete,
	// under the same rules. It returns true for a frame that the server sent unasked: such a frame
	// is no part of a response. body is valid during the call.
	OnFrame func(tag uint8, body []byte) (push bool)
}

func (o SessionOptions) withDefaults() SessionOptions {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&o.MaxResponseBytes, DefaultMaxResponseBytes)
	orDuration(&o.DialTimeout, DefaultDialTimeout)
	orDuration(&o.MinBackoff, DefaultMinBackoff)
	orDuration(&o.MaxBackoff, DefaultMaxBackoff)
	o.MaxBackoff = max(o.MaxBackoff, o.MinBackoff)
	o.Conn.HeartbeatEvery, o.Conn.ShowHeartbeats = 0, true
	if o.OnState == nil {
		o.OnState = func(State) {}
	}
	if o.OnFrame == nil {
		o.OnFrame = func(uint8, []byte) bool { return false }
	}
	return o
}

// checkAddress reports why an address cannot be one of a server.
func (o *SessionOptions) checkAddress(a string) error {
	if !utf8.ValidString(a) || strings.ContainsFunc(a, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("client: address %q has characters that cannot be printed", a)
	}
	if o.Dial == nil && network(a) == "tcp" && !strings.Contains(a, ":") {
		return fmt.Errorf("client: address %q: write host:port, or the path of a unix-domain "+
			"socket with a slash, such as ./%s", a, a)
	}
	return nil
}

// Phase is what a session does.
type Phase uint8

// Phases of a session.
const (
	Connecting   Phase = iota + 1 // an attempt begins
	Ready                         // requests are sent
	Disconnected                  // a connection or an attempt failed; another one follows
	Ended                         // nothing follows
)

// String is the phase in one word.
func (p Phase) String() string {
	names := [...]string{"unknown", "connecting", "ready", "disconnected", "ended"}
	if int(p) < len(names) {
		return names[p]
	}
	return names[0]
}

// State is a change of a session's connection.
type State struct {
	Phase   Phase
	Address string           // of the connection or attempt
	Server  wire.ServerReady // Ready: what the server said
	Err     error            // Disconnected, Ended: why; a *CloseError if the server said why
	Next    string           // Disconnected: the address of the next attempt
	In      time.Duration    // Disconnected: the time until then

	Directed bool // Disconnected: the server sent the client to Next
}

// Session keeps a connection to one of several servers and matches responses with requests by
// their numbers. Its methods may be called from any goroutine.
//
// In a cluster, the session goes to the leader: a server that does not lead, or ceases to, says where
// it is. Until the session is Ready there, no request is sent.
//
// When a connection breaks, every request under way fails, with an error that says whether it may
// have been executed. The session connects again; it never sends a request a second time. Requests
// that were not sent yet wait for the next connection.
type Session struct {
	options   SessionOptions
	addresses []string
	cancel    context.CancelFunc
	done      chan struct{} // closed when the session's goroutines are gone

	mu      sync.Mutex
	link    *link         // the connection; nil while there is none
	changed chan struct{} // closed and replaced when link or ended changes
	waiting []*Call       // not sent yet, in order
	request uint64        // number of the last request; they rise over all connections
	topics  map[uint64]*Subscription
	failure error // of the last attempt or connection
	ended   error // why the session ended; nil before
}

// OpenSession creates a session with the servers at the addresses, in order of preference:
// "host:port", or the path of a unix-domain socket with a slash in it, such as "./socket", or
// "@name" for an abstract one. It returns at once; Session.Ready waits for the first connection, and
// so does a request.
func OpenSession(o SessionOptions, addresses ...string) (*Session, error) {
	if len(addresses) == 0 || slices.Contains(addresses, "") {
		return nil, fmt.Errorf("client: addresses %q: name at least one server, and no empty one", addresses)
	}
	for _, a := range addresses {
		if err := o.checkAddress(a); err != nil {
			return nil, err
		}
	}
	if o.Window < 0 || o.MaxResponseBytes < 0 || o.DialTimeout < 0 || o.MinBackoff < 0 || o.MaxBackoff < 0 {
		return nil, errors.New("client: a negative Window, MaxResponseBytes, DialTimeout or Backoff")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{options: o.withDefaults(), addresses: slices.Clone(addresses), cancel: cancel,
		done: make(chan struct{}), changed: make(chan struct{}), topics: make(map[uint64]*Subscription)}
	go s.run(ctx)
	return s, nil
}

// Ready waits until the session is connected and returns what the server said. The error is that of
// the last attempt if ctx ends first, and the final one if the session has ended.
func (s *Session) Ready(ctx context.Context) (wire.ServerReady, error) {
	for {
		s.mu.Lock()
		link, ended, changed := s.link, s.ended, s.changed
		s.mu.Unlock()
		switch {
		case link != nil:
			return link.conn.Server(), nil
		case ended != nil:
			return wire.ServerReady{}, ended
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			return wire.ServerReady{}, s.disconnected(context.Cause(ctx))
		}
	}
}

// disconnected is the error of a wait for a connection. The caller holds the mutex.
func (s *Session) disconnected(cause error) error {
	if s.failure == nil {
		return fmt.Errorf("client: not connected: no attempt has ended yet (%w)", cause)
	}
	return fmt.Errorf("client: not connected: %w (%w)", s.failure, cause)
}

// Close ends the session and its goroutines. Requests that were not sent fail with ErrNotSent,
// those under way with ErrUnknownOutcome.
func (s *Session) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// Frame is an application frame of a response.
type Frame struct {
	Tag  uint8
	Body []byte
}

// Response is a complete response. It belongs to the caller.
type Response struct {
	Request uint64  // number of the request
	Frames  []Frame // in the order of arrival; may be empty
}

// Call is a request that was sent. Its methods may be called from any goroutine.
type Call struct {
	session *Session
	tag     uint8
	body    []byte        // of the sender, until placed is closed
	topic   *Subscription // that the request is for; nil: it is the caller's
	leaves  bool          // it is an Unsubscribe
	placed  chan struct{} // closed when the request has a number, or failed before
	done    chan struct{} // closed when response and err are set

	request  uint64       // set before placed is closed
	refusal  wire.Refusal // guarded by the session's mutex, as the fields below are until done
	response Response
	err      error
}

// Request is the number of the request.
func (c *Call) Request() uint64 { return c.request }

// Done is closed when the response is complete, or the request failed.
func (c *Call) Done() <-chan struct{} { return c.done }

// Wait waits for the response. If ctx ends first, the error matches ErrUnknownOutcome and the cause
// of ctx; the request stays under way and keeps its place, and Wait can be called again.
func (c *Call) Wait(ctx context.Context) (Response, error) {
	select {
	case <-c.done:
		return c.response, c.err
	default:
	}
	select {
	case <-c.done:
		return c.response, c.err
	case <-ctx.Done():
		return Response{}, fmt.Errorf("%w: request %d: %w", ErrUnknownOutcome, c.request, context.Cause(ctx))
	}
}

// Do sends a request and waits for its response, until ctx ends.
func (s *Session) Do(ctx context.Context, tag uint8, body []byte) (Response, error) {
	c, err := s.Send(ctx, tag, body)
	if err != nil {
		return Response{}, err
	}
	return c.Wait(ctx)
}

// Send sends a request. Requests of one goroutine are sent in the order of its calls. If there is
// no connection, or as many requests as the window allows are under way, it waits until ctx ends;
// then the error matches ErrNotSent. body may be used again when Send returns.
func (s *Session) Send(ctx context.Context, tag uint8, body []byte) (*Call, error) {
	if (tag < wire.RequestFirst || tag > wire.RequestLast) && tag != wire.TagAdminCommand {
		return nil, fmt.Errorf("client: tag %#02x is not one of a request: want %#02x to %#02x", tag,
			wire.RequestFirst, wire.RequestLast)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx))
	}
	c := &Call{session: s, tag: tag, body: body, placed: make(chan struct{}), done: make(chan struct{})}
	s.mu.Lock()
	if s.ended != nil {
		defer s.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrNotSent, s.ended)
	}
	s.waiting = append(s.waiting, c)
	s.place()
	s.mu.Unlock()
	select {
	case <-c.placed:
	case <-ctx.Done():
		if err := s.withdraw(c, context.Cause(ctx)); err != nil {
			return nil, err
		}
	}
	if c.request == 0 {
		return nil, c.err
	}
	return c, nil
}

// withdraw removes a request that still waits. It returns nil if it was placed meanwhile.
func (s *Session) withdraw(c *Call, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, c)
	if i < 0 {
		return nil
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if s.link == nil {
		cause = s.disconnected(cause)
	}
	return fmt.Errorf("%w: %w", ErrNotSent, cause)
}

// place sends waiting requests while there is a connection and the window has places. The caller
// holds the mutex.
func (s *Session) place() {
	for s.link != nil && len(s.waiting) > 0 && len(s.link.pending) < s.link.window {
		c := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		if limit := s.link.conn.Server().MaxRequest; uint64(wire.RequestHeaderSize+len(c.body)) > uint64(limit) {
			c.err = fmt.Errorf("client: the request (tag %#02x) has length %d, and the server takes at most %d",
				c.tag, wire.RequestHeaderSize+len(c.body), limit)
			if c.topic != nil {
				c.topic.end(c.err)
			}
			close(c.placed)
			continue
		}
		s.request++
		c.request = s.request
		if c.topic != nil {
			c.topic.link = s.link
		}
		s.link.put(c)
		c.body = nil
		close(c.placed)
	}
}
