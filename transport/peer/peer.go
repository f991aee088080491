package peer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Links are the connections of one node with all others: one for each peer, lane and direction. All
// methods may be called by any goroutine.
type Links struct {
	cfg      Config
	times    times
	identity identity
	socket   net.Listener
	remotes  [MaxNode + 1]atomic.Pointer[remote] // by number; nil: not a peer. Written under mu
	arrivals limiter                             // of log lines about connections whose sender is unknown

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // every goroutine

	mu              sync.Mutex // guards all below, and what remote, link and inbound say
	closed, started bool
	conns           map[net.Conn]struct{} // open ones
	// accepted connections whose hello is not finished, oldest first
	greeting []net.Conn
	// closed when the last goroutine that calls Receive, or OnState, for a node and lane has ended. The next
	// one waits for it, also if the node was removed and added again meanwhile
	receiving, reporting [MaxNode + 1][lanes]chan struct{}
}

// times are the limits of time, which only tests change.
type times struct {
	hello      time.Duration // for TLS and hello, at both ends
	dial       time.Duration // for the connection itself
	silence    time.Duration // until a peer that acknowledges nothing is given up
	idle       time.Duration // until the large buffers of a queue are released
	minBackoff time.Duration
	maxBackoff time.Duration
}

func defaultTimes() times {
	return times{hello: 5 * time.Second, dial: 2 * time.Second, silence: 5 * time.Second, idle: 10 * time.Second,
		minBackoff: 5 * time.Millisecond, maxBackoff: time.Second}
}

// remote is another node.
type remote struct {
	node       uint8
	generation uint8
	address    atomic.Pointer[string]
	life
	out     [lanes]*link
	in      [lanes]inbound
	known   identity // the highest that was seen; guarded by Links.mu
	version string   // of the program; guarded by Links.mu
}

// New checks a configuration and binds the address. Nothing is sent or accepted before Start. If it
// returns an error, a Socket is still the caller's.
func New(cfg Config) (*Links, error) { return newLinks(cfg, defaultTimes()) }

func newLinks(cfg Config, t times) (*Links, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	cfg.setDefaults()
	l := &Links{cfg: cfg, times: t, conns: make(map[net.Conn]struct{})}
	var start [8]byte
	_, _ = rand.Read(start[:]) // never fails
	l.identity = identity{incarnation: cfg.Incarnation, start: binary.LittleEndian.Uint64(start[:])}
	l.ctx, l.stop = context.WithCancel(context.Background())
	for n, p := range cfg.Peers {
		l.remotes[n].Store(l.newRemote(n, p))
	}
	l.socket = cfg.Socket
	if l.socket == nil {
		var listen net.ListenConfig
		listen.SetMultipathTCP(false)
		var err error
		if l.socket, err = listen.Listen(l.ctx, "tcp", cfg.Listen); err != nil {
			l.stop()
			return nil, fmt.Errorf("peer: %w: stop the process that listens there, or choose another address", err)
		}
	}
	return l, nil
}

func (l *Links) newRemote(node uint8, peer Peer) *remote {
	p := &remote{node: node, generation: peer.Generation}
	p.address.Store(&peer.Address)
	p.ctx, p.stop = context.WithCancel(l.ctx)
	for lane := Control; lane.valid(); lane++ {
		k := &link{links: l, to: p, lane: lane, tls: l.cfg.client(node), retry: make(chan struct{}, 1)}
		k.queue = queue{most: lane.limit(), wake: make(chan struct{}, 1)}
		switch lane {
		case Control:
			k.queue.frames, k.queue.oldest = l.cfg.ControlFrames, true
		case Append:
			k.queue.bytes = l.cfg.AppendBytes
		case Bulk:
			k.queue.bytes = l.cfg.BulkBytes
		}
		p.out[lane-1] = k
	}
	return p
}

// limit returns the largest payload of a lane.
func (l Lane) limit() int {
	switch l {
	case Control:
		return MaxControl
	case Bulk:
		return MaxBulk
	}
	return MaxFrame
}

// Start begins to accept and to connect. It is called once.
func (l *Links) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.started = true
	l.wg.Go(l.accept)
	for n := range l.remotes {
		if p := l.remotes[n].Load(); p != nil {
			l.startRemote(p)
		}
	}
}

// Address returns the address that is listened on, with the port in use.
func (l *Links) Address() string { return l.socket.Addr().String() }

// Send copies a frame into the queue of a lane to a node. It never blocks. It returns false if the
// frame was dropped: the node is unknown or cannot be reached, the frame is longer than its lane
// allows, or the queue of the append or bulk lane is full. A full control queue drops its oldest
// frame instead. True does not mean that the frame arrives.
func (l *Links) Send(to uint8, lane Lane, frame []byte) bool {
	p := l.peer(to)
	return p != nil && lane.valid() && p.out[lane-1].queue.put(frame)
}

// Close closes the address and all connections, and waits until every goroutine has ended. Frames
// that wait are dropped. It is safe to call it again.
func (l *Links) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.stop()
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	var err error
	if first {
		err = l.socket.Close()
	}
	l.wg.Wait()
	return err
}

// peer returns a node by its number, nil if there is none.
func (l *Links) peer(node uint8) *remote {
	if node > MaxNode {
		return nil
	}
	return l.remotes[node].Load()
}

// members lists the numbers of this node's peers.
func (l *Links) members() string {
	var all []string
	for n := range l.remotes {
		if p := l.remotes[n].Load(); p != nil {
			all = append(all, fmt.Sprint(p.node))
		}
	}
	if len(all) == 0 {
		return "no peers"
	}
	return "the peers " + strings.Join(all, ", ")
}

// track registers a connection to be closed by Close. It returns false, and closes it, after that.
func (l *Links) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

// release closes a connection.
func (l *Links) release(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// beginGreeting takes a place for a hello. If all are taken, the oldest hello is given up: that of a
// node is long finished, so it is one that says nothing.
func (l *Links) beginGreeting(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.greeting) == places {
		l.greeting[0].Close()
		l.greeting = slices.Delete(l.greeting, 0, 1)
	}
	l.greeting = append(l.greeting, c)
}

func (l *Links) endGreeting(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.greeting, c); i >= 0 {
		l.greeting = slices.Delete(l.greeting, i, i+1)
	}
}
