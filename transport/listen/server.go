package listen

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// Server listens on endpoints, brings clients through the handshake and delivers their requests to a Handler.
//
//	New -> Listen -> Serve -> [StopAccepting] -> Close
//
// These five are called by one goroutine, in this order; Close may come at any point after New. The other methods are free
// for any goroutine.
type Server struct {
	cfg         Config // complete and valid
	handler     Handler
	base        time.Time              // zero of all times in ns
	requestRate atomic.Pointer[bucket] // written by New and SetRates, read by readers
	addresses   *addressLimiter

	readers   []*reader
	acceptors []*acceptor
	bound     []bound
	serving   bool
	closing   sync.Once
	closed    error // of Close

	stopAccepting  chan struct{} // closed by StopAccepting
	stopping       sync.Once
	handshakeFreed chan struct{} // one token: a place among the handshakes became free

	counters counters
	keys     atomic.Pointer[Keyring] // written by New and SetKeys, read by readers
	ids      atomic.Uint64           // last id of the default NextID; written by readers
}

// New checks a configuration and makes a server of it. It opens nothing.
func New(cfg Config, handler Handler) (*Server, error) {
	if handler == nil {
		return nil, errors.New("listen: no Handler")
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, handler: handler, base: time.Now(),
		addresses:     newAddressLimiter(cfg.ConnectRate, cfg.AddressTable),
		stopAccepting: make(chan struct{}), handshakeFreed: make(chan struct{}, 1),
	}
	s.keys.Store(cfg.Keys)
	requests := cfg.RequestRate.bucket()
	s.requestRate.Store(&requests)
	return s, nil
}

// Listen binds all endpoints. On an error it has bound none.
func (s *Server) Listen() error {
	if s.bound != nil {
		panic("listen: second Listen")
	}
	for i := range s.cfg.Endpoints {
		b, err := s.cfg.open(&s.cfg.Endpoints[i])
		if err == nil {
			var a *acceptor
			if a, err = newAcceptor(s, i, b); err == nil {
				s.acceptors, s.bound = append(s.acceptors, a), append(s.bound, b)
			}
		}
		if err != nil {
			s.releaseSockets()
			return err
		}
	}
	for i := range s.cfg.Readers {
		r, err := newReader(s, i)
		if err != nil {
			s.releaseSockets()
			return err
		}
		s.readers = append(s.readers, r)
	}
	return nil
}

// releaseSockets undoes Listen before Serve.
func (s *Server) releaseSockets() {
	for _, a := range s.acceptors {
		a.close()
	}
	for _, r := range s.readers {
		r.file.Close()
	}
	s.acceptors, s.readers, s.bound = nil, nil, nil
}

// Addresses are the bound addresses in the order of the endpoints, with the port the kernel chose for port 0.
func (s *Server) Addresses() []string {
	addresses := make([]string, len(s.bound))
	for i := range s.bound {
		addresses[i] = s.bound[i].addr
	}
	return addresses
}

// Serve starts the readers and acceptors and returns.
func (s *Server) Serve() {
	if s.bound == nil || s.serving {
		panic("listen: Serve needs one Listen before it, and happens once")
	}
	s.serving = true
	for _, r := range s.readers {
		go r.run()
	}
	for _, a := range s.acceptors {
		go a.run()
	}
}

// StopAccepting closes the listening sockets and removes their files. Connections, and handshakes under way, go on.
func (s *Server) StopAccepting() {
	s.stopping.Do(func() {
		close(s.stopAccepting)
		if !s.serving {
			return
		}
		for _, a := range s.acceptors {
			// Expires the wait of the acceptor; an error says that it is gone already.
			_ = a.file.SetReadDeadline(time.Unix(1, 0))
		}
		for _, a := range s.acceptors {
			<-a.done
		}
	})
}

// Close stops accepting, takes every connection out of epoll, calls Disconnect with ReasonShutdown for each that the
// handler owns, closes the others, and ends all goroutines. Sockets the handler owns stay open: it can still send. A
// handler that does not return within Config.CloseTimeout is reported as an error. Later calls return the same.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.StopAccepting()
		if !s.serving {
			s.releaseSockets()
			return
		}
		for _, r := range s.readers {
			r.mu.Lock()
			r.stop.Store(true)
			r.mu.Unlock()
			r.wake()
		}
		timer := time.NewTimer(s.cfg.CloseTimeout)
		defer timer.Stop()
		for _, r := range s.readers {
			select {
			case <-r.done:
			case <-timer.C:
				s.closed = fmt.Errorf("listen: reader %d is still inside the handler %v after Close",
					r.index, s.cfg.CloseTimeout)
				return
			}
		}
	})
	return s.closed
}

// Counters is a snapshot; its fields are each right but not of one instant.
func (s *Server) Counters() Counters { return s.counters.snapshot() }

// SetKeys replaces the authorized keys for handshakes from now on. Connections stay as they are. A nil ring panics: it
// would shut everyone out, or in.
func (s *Server) SetKeys(k *Keyring) {
	if k == nil {
		panic("listen: SetKeys(nil)")
	}
	s.keys.Store(k)
}

// SetRates replaces the limits of requests per connection and of connections per address, for what comes from now on; the
// zero Rate is no limit. On an error nothing changed.
func (s *Server) SetRates(requests, connects Rate) error {
	if err := requests.Validate(); err != nil {
		return fmt.Errorf("listen: RequestRate: %w", err)
	}
	if err := connects.Validate(); err != nil {
		return fmt.Errorf("listen: ConnectRate: %w", err)
	}
	b := requests.bucket()
	s.requestRate.Store(&b)
	s.addresses.set(connects)
	return nil
}

// now is the time since base in ns, monotonic.
func (s *Server) now() int64 { return int64(time.Since(s.base)) }

func (s *Server) nextID() uint64 {
	if s.cfg.NextID != nil {
		return s.cfg.NextID()
	}
	return s.ids.Add(1)
}

// handshakesFull reports that all places for handshakes are taken.
func (s *Server) handshakesFull() bool {
	return s.counters.handshakes.Load() >= int64(s.cfg.MaxHandshakes)
}

// handshakeDone frees a place among the handshakes.
func (s *Server) handshakeDone() {
	s.counters.handshakes.Add(-1)
	select {
	case s.handshakeFreed <- struct{}{}:
	default:
	}
}

func (s *Server) wakeReaders() {
	for _, r := range s.readers {
		r.wake()
	}
}

// refuseArrival closes a socket that never got into a reader's table.
func (s *Server) refuseArrival(a arrival, reason transport.Reason) {
	s.handshakeDone()
	rec := record{fd: a.fd, uid: a.uid, addr: a.addr, port: a.port}
	s.refuse(Conn{
		FD: a.fd, UID: a.uid, Remote: rec.remote(), Listener: s.cfg.Endpoints[a.endpoint].Name,
	}, reason)
}

// refuse closes a socket the handler never owned and says so.
func (s *Server) refuse(c Conn, reason transport.Reason) {
	s.counters.ended[reason].Add(1)
	unix.Close(int(c.FD))
	if s.cfg.Refused != nil {
		c.FD = -1
		s.cfg.Refused(c, reason)
	}
}
