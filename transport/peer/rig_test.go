package peer

import (
	"bytes"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = time.Minute // until a test gives up

// rig is a cluster in one process. Its addresses are bound before its nodes start.
type rig struct {
	t         *testing.T
	sockets   map[uint8]net.Listener // until their node starts
	addresses map[uint8]string
}

func newRig(t *testing.T, nodes ...uint8) *rig {
	r := &rig{t: t, sockets: map[uint8]net.Listener{}, addresses: map[uint8]string{}}
	for _, n := range nodes {
		socket := listen(t)
		r.sockets[n], r.addresses[n] = socket, socket.Addr().String()
	}
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// got is a frame that Receive was called with.
type got struct {
	from  Sender
	lane  Lane
	frame string
}

// node is a node of a rig, with what it has reported.
type node struct {
	*Links
	t      testing.TB
	got    chan got
	states chan bool // of the append lane
	log    *lines
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// quick are limits of time for tests: short pauses between attempts, and the rest long.
func quick() times {
	return times{hello: patience, dial: patience, silence: patience, idle: patience,
		minBackoff: time.Millisecond, maxBackoff: 10 * time.Millisecond}
}

// config returns the configuration of a node whose peers are all others of the rig.
func (r *rig) config(n uint8) Config {
	c := Config{Cluster: [16]byte{0xc1}, Node: n, Incarnation: 1, Version: "test",
		Listen: r.addresses[n], Socket: r.sockets[n], Peers: map[uint8]Peer{}}
	delete(r.sockets, n)
	for other, address := range r.addresses {
		if other != n {
			c.Peers[other] = Peer{Address: address}
		}
	}
	return c
}

// start starts a node, which is closed when the test ends.
func (r *rig) start(c Config, t times) *node { return startNode(r.t, c, t) }

func startNode(t testing.TB, c Config, limits times) *node {
	t.Helper()
	n := newNode(t, c, limits)
	n.Start()
	return n
}

// newNode makes a node that is not started yet, and is closed when the test ends.
func newNode(t testing.TB, c Config, limits times) *node {
	t.Helper()
	n := &node{t: t, got: make(chan got, 1<<16), states: make(chan bool, 1024), log: &lines{}}
	if c.Receive == nil {
		c.Receive = func(from Sender, lane Lane, frame []byte) { n.got <- got{from, lane, string(frame)} }
	}
	if c.OnState == nil {
		c.OnState = func(_ uint8, lane Lane, up bool) {
			if lane != Append {
				return
			}
			select {
			case n.states <- up:
			default: // more than any test expects
			}
		}
	}
	c.Log = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if n.Links, err = newLinks(c, limits); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// status returns the state of a lane with a node.
func (n *node) status(to uint8, lane Lane) Status {
	for _, s := range n.Status() {
		if s.Node == to && s.Lane == lane {
			return s
		}
	}
	n.t.Fatalf("no status of node %d, %v", to, lane)
	return Status{}
}

// connected waits until all lanes to a node and from it are up.
func (n *node) connected(to uint8) {
	n.t.Helper()
	for lane := Control; lane <= Bulk; lane++ {
		eventually(n.t, lane.String()+" is up", func() bool {
			s := n.status(to, lane)
			return s.Out.Connected && s.In.Connected
		})
	}
}

// sends sends a frame until it is accepted.
func (n *node) sends(to uint8, lane Lane, frame string) {
	n.t.Helper()
	eventually(n.t, "a frame is accepted", func() bool { return n.Send(to, lane, []byte(frame)) })
}

// receives waits for one frame.
func (n *node) receives() got {
	n.t.Helper()
	select {
	case g := <-n.got:
		return g
	case <-time.After(patience):
		n.t.Fatalf("no frame arrived; log:\n%s", n.log)
		return got{}
	}
}

// reaches sends frames until one arrives at another node.
func (n *node) reaches(to *node, lane Lane, frame string) got {
	n.t.Helper()
	var g got
	eventually(n.t, "a frame arrives", func() bool {
		n.Send(to.cfg.Node, lane, []byte(frame))
		select {
		case g = <-to.got:
		default:
		}
		return g.frame == frame
	})
	return g
}

// reports waits for a call of OnState for the append lane.
func (n *node) reports(up bool) {
	n.t.Helper()
	select {
	case got := <-n.states:
		if got != up {
			n.t.Fatalf("the append lane is reported with up=%v, want %v; log:\n%s", got, up, n.log)
		}
	case <-time.After(patience):
		n.t.Fatalf("OnState was not called with %v; log:\n%s", up, n.log)
	}
}

// logs waits for a line with all the words.
func (n *node) logs(words ...string) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		for line := range strings.Lines(n.log.String()) {
			if missing(line, words) == "" {
				return
			}
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("no line with %q in the log:\n%s", words, n.log)
		}
	}
}

// missing returns the first of some words that a text does not have.
func missing(text string, words []string) string {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return w
		}
	}
	return ""
}

func eventually(t testing.TB, fact string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(500 * time.Microsecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", fact)
		}
	}
}

// stranger is a connection to a node from a program of the test.
type stranger struct {
	*stream
	t testing.TB
}

func dialNode(t testing.TB, n *node) *stranger {
	t.Helper()
	conn, err := net.Dial("tcp", n.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &stranger{newStream(conn, conn), t}
}

func (s *stranger) says(b []byte) {
	s.t.Helper()
	if _, err := s.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// refused reads a refusal with all the words, and the end of the connection.
func (s *stranger) refused(words ...string) {
	s.t.Helper()
	k, text, err := s.next()
	if err != nil || k != kindRefusal || missing(string(text), words) != "" {
		s.t.Fatalf("got frame of kind %d, %q, %v; want a refusal with %q", k, text, err, words)
	}
	if _, _, err := s.next(); !ended(err) {
		s.t.Fatalf("after the refusal: %v, want the end of the stream", err)
	}
}

// greets says hello and reads the response.
func (s *stranger) greets(h hello) {
	s.t.Helper()
	s.says(sealed(kindHello, h.encode()))
	if _, err := readHello(&s.frames); err != nil {
		s.t.Fatal(err)
	}
}

// helloOf is what node 2 of a rig says to node 1.
func helloOf() hello {
	return hello{low: protocol, high: protocol, cluster: [16]byte{0xc1}, from: 2, to: 1, lane: Append,
		identity: identity{incarnation: 1, start: 7}, version: "test"}
}
