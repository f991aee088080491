//go:build linux

package listen

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Server listens on endpoints, does the handshake with clients and delivers their requests to a
// Handler.
//
//	New -> [Bind] -> Listen -> Serve -> [StopAccepting] -> Close
//
// These methods are called by one goroutine, in this order; Close may be called at any point after
// New. All other methods are safe for any goroutine.
type Server struct {
	cfg         Config // validated, with defaults filled in
	handler     Handler
	base        time.Time             // origin of all times in ns
	requestRate atomic.Pointer[limit] // written by New and SetRates, read by readers
	addresses   *addressLimiter

	readers   []*reader
	acceptors []*acceptor
	bound     []bound
	serving   bool
	closing   sync.Once
	closed    error // result of Close

	mute           atomic.Bool   // nothing is sent any more; written by Mute, read by readers and acceptors
	stopAccepting  chan struct{} // closed by StopAccepting
	stopping       sync.Once
	tls            serverTLS
	handshakeFreed chan struct{} // holds one token when a place among the handshakes became free

	shares   shares
	headroom headroom
	counters counters
	ids      atomic.Uint64 // last id given by the default NextID; written by readers
}

// New checks the configuration and creates a server. It opens nothing.
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
	s.headroom.spare = cfg.Spare + 2*len(cfg.Endpoints) // an acceptor may hold a socket that waits, and try a number
	s.addresses.underway = newAddressHandshakes(cfg.MaxHandshakes)
	s.shares.set(cfg.Keys)
	s.tls.config.Store(cfg.TLS)
	s.tls.computing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	s.requestRate.Store(&limit{cfg.RequestRate, cfg.RequestRate.bucket()})
	return s, nil
}

// Bind binds the TCP endpoints and checks the paths of the others, so that an address that cannot be
// used is known early. No client can connect before Listen. After an error, nothing is bound.
func (s *Server) Bind() error {
	if s.bound != nil {
		panic("listen: second Bind")
	}
	for i := range s.cfg.Endpoints {
		b, err := s.cfg.bind(&s.cfg.Endpoints[i])
		if err != nil {
			s.releaseSockets()
			return err
		}
		s.bound = append(s.bound, b)
	}
	return nil
}

// Listen binds the endpoints unless Bind has, and listens on them. After an error, none is bound.
func (s *Server) Listen() error {
	if s.bound == nil {
		if err := s.Bind(); err != nil {
			return err
		}
	}
	if s.acceptors != nil {
		panic("listen: second Listen")
	}
	if err := s.open(); err != nil {
		s.releaseSockets()
		return err
	}
	return nil
}

// open makes the acceptors and the readers.
func (s *Server) open() error {
	for i := range s.bound {
		if err := s.cfg.open(&s.cfg.Endpoints[i], &s.bound[i]); err != nil {
			return err
		}
		a, err := newAcceptor(s, i, s.bound[i])
		if err != nil {
			s.bound[i] = bound{fd: -1} // it is closed
			return err
		}
		s.acceptors = append(s.acceptors, a)
	}
	for i := range s.cfg.Readers {
		r, err := newReader(s, i)
		if err != nil {
			return err
		}
		s.readers = append(s.readers, r)
	}
	return s.headroom.check(s.readers[0].epfd)
}

// releaseSockets undoes Bind and Listen before Serve.
func (s *Server) releaseSockets() {
	for _, a := range s.acceptors {
		a.close()
	}
	for i := len(s.acceptors); i < len(s.bound); i++ {
		s.bound[i].close()
	}
	for _, r := range s.readers {
		r.file.Close()
	}
	s.acceptors, s.readers, s.bound = nil, nil, nil
}

// Addresses returns the bound addresses in the order of the endpoints, with the port that the
// kernel chose for port 0.
func (s *Server) Addresses() []string {
	addresses := make([]string, len(s.bound))
	for i := range s.bound {
		addresses[i] = s.bound[i].addr
	}
	return addresses
}

// Serve starts the readers and acceptors and returns.
func (s *Server) Serve() {
	if s.acceptors == nil || s.serving {
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

// StopAccepting closes the listening sockets and removes their files. Established connections and
// handshakes in progress are not affected.
func (s *Server) StopAccepting() {
	s.stopping.Do(func() {
		close(s.stopAccepting)
		if !s.serving {
			return
		}
		for _, a := range s.acceptors {
			// This ends the wait of the acceptor; an error means that it has ended already.
			_ = a.file.SetReadDeadline(time.Unix(1, 0))
		}
		for _, a := range s.acceptors {
			<-a.done
		}
	})
}

// Mute makes the listener send nothing from now on, as a node must that was superseded: no Challenge,
// no ServerReady, no Close.
func (s *Server) Mute() { s.mute.Store(true) }

// Close stops accepting, removes every connection from epoll, calls Disconnect with ReasonShutdown
// for each connection that the handler owns, rejects the others, and ends all goroutines. Sockets
// that the handler owns stay open, so it can still send. It returns an error if a call of the
// handler does not return within Config.CloseTimeout. Later calls return the same error.
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
		s.tls.shaking.Wait() // they are told, and wait for nothing
	})
	return s.closed
}

// Exposure is that of the server's endpoints.
func (s *Server) Exposure() []string { return Exposure(s.cfg.Endpoints) }

// Counters returns a snapshot. Each field is exact, but not all are of the same instant.
func (s *Server) Counters() Counters { return s.counters.snapshot() }

// Rounds returns for each reader a function that counts its rounds: the number is odd while the
// reader works, also in the Handler, and even while it waits for its sockets. A reader whose number
// is odd and does not change is stuck, and so are its connections. Any goroutine.
func (s *Server) Rounds() (of []func() uint64) {
	for _, r := range s.readers {
		of = append(of, r.round.count.Load)
	}
	return of
}

// SetKeys replaces the authorized keys for later handshakes. Established connections are not
// affected. A nil keyring panics, because it would either reject or admit every client.
func (s *Server) SetKeys(k *Keyring) {
	if k == nil {
		panic("listen: SetKeys(nil)")
	}
	s.shares.set(k)
}

// SetRates replaces the limits of requests per connection and of connections per address, for later
// requests and connections. The zero Rate means no limit. After an error, nothing has changed.
func (s *Server) SetRates(requests, connects Rate) error {
	if err := requests.Validate(); err != nil {
		return fmt.Errorf("listen: RequestRate: %w", err)
	}
	if err := connects.Validate(); err != nil {
		return fmt.Errorf("listen: ConnectRate: %w", err)
	}
	s.requestRate.Store(&limit{requests, requests.bucket()})
	s.addresses.set(connects)
	return nil
}

// Resume has the readers try the connections again that were paused because Handler.Request returned
// ErrBusy, in the order in which they were paused. Any goroutine, at any time; it does not wait, and
// costs a system call at most for each reader.
func (s *Server) Resume() {
	for _, r := range s.readers {
		if !r.resume.Swap(true) {
			r.wake()
		}
	}
}

// now is the time since base in ns, monotonic.
func (s *Server) now() int64 { return int64(time.Since(s.base)) }

func (s *Server) nextID() uint64 {
	if s.cfg.NextID != nil {
		return s.cfg.NextID()
	}
	return s.ids.Add(1)
}

// handshakesFull reports whether all places for handshakes are taken.
func (s *Server) handshakesFull() bool {
	return s.counters.handshakes.Load() >= int64(s.cfg.MaxHandshakes)
}

// crowded reports whether clients wait for the place or the descriptor of a handshake.
func (s *Server) crowded() bool {
	return s.handshakesFull() || s.counters.acceptPaused.Load() > 0
}

// handshakeDone frees a place among the handshakes, of an address or a user of this machine.
func (s *Server) handshakeDone(addr [16]byte, uid uint32) {
	s.addresses.underway.done(addr, uid)
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
