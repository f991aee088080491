package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors"
	"sluice/cmd/orderbook"
	"sluice/encode"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// places are addresses of a cluster. At each there is a node that leads, or a listener that directs
// clients to the leader; they follow one another at the socket of the place.
type places struct {
	t       *testing.T
	mode    transport.Mode
	sockets []net.Listener
	leader  atomic.Pointer[string] // its address; empty: not known
	direct  []*listen.Server
	terms   int
	seqs    uint64 // events of all leaders that have ended
}

// idle is the Handler of a listener that directs every client.
type idle struct{ t *testing.T }

func (i idle) Connect(c listen.Conn) error { i.t.Errorf("%v was served", c); return errors.New("idle") }
func (i idle) Request(listen.Conn, wire.Request) error {
	i.t.Error("a request was read")
	return nil
}
func (idle) Shed(listen.Conn, []uint64)                       {}
func (idle) Disconnect(listen.Conn, uint64, transport.Reason) {}

// newPlaces makes n places without a leader.
func newPlaces(t *testing.T, mode transport.Mode, n int) *places {
	p := &places{t: t, mode: mode, direct: make([]*listen.Server, n)}
	p.leader.Store(new(string))
	for i := range n {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socket.Close() })
		p.sockets = append(p.sockets, socket)
		p.follow(i)
	}
	t.Cleanup(func() {
		for _, s := range p.direct {
			if s != nil {
				s.Close()
			}
		}
	})
	return p
}

func (p *places) at(i int) string { return p.sockets[i].Addr().String() }

func (p *places) addresses() (all []string) {
	for i := range p.sockets {
		all = append(all, p.at(i))
	}
	return all
}

// follow has a place direct its clients.
func (p *places) follow(i int) {
	p.t.Helper()
	s, err := listen.New(listen.Config{Endpoints: []listen.Endpoint{{Socket: p.sockets[i], Open: true}},
		Direct: func() (string, bool) { return *p.leader.Load(), true }}, idle{p.t})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	s.Serve()
	p.direct[i] = s
}

// lead has a place serve clients, with a book of its own.
func (p *places) lead(i int) *bookNode {
	p.t.Helper()
	p.terms++
	cfg := config(filepath.Join(p.t.TempDir(), fmt.Sprint(p.terms)), p.mode, &lines{})
	cfg.Listen.Endpoints = []listen.Endpoint{{Socket: p.sockets[i], Open: true}}
	n, _ := serve(p.t, cfg)
	s := p.direct[i]
	p.direct[i] = nil
	if err := s.Close(); err != nil {
		p.t.Error(err)
	}
	at := p.at(i)
	p.leader.Store(&at)
	return n
}

// depose ends a leader, whose clients go to another place.
func (p *places) depose(i int, n *bookNode, next string) {
	p.t.Helper()
	p.leader.Store(&next)
	p.follow(i)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.pipeline.SetFarewell(actors.Farewell{Reason: encode.CloseElsewhere, Address: next}); err != nil {
		p.t.Fatal(err)
	}
	_ = n.Stop(ctx) // says what it dropped
	p.seqs += bookOf(n).Seq()
}

// visited are the states of a session.
type visited struct {
	mu   sync.Mutex
	all  []client.State
	more chan struct{} // holds a token after a change
}

func (c *visited) add(s client.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, s)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *visited) list() []client.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]client.State(nil), c.all...)
}

// until waits until n states match.
func (c *visited) until(t *testing.T, n int, match func(client.State) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		found := 0
		for _, s := range c.list() {
			if match(s) {
				found++
			}
		}
		if found >= n {
			return
		}
		select {
		case <-c.more:
		case <-limit:
			t.Fatalf("%d of %d states after %v, the last of %d is %+v", found, n, patience,
				len(c.list()), c.list()[len(c.list())-1])
		}
	}
}

func lost(s client.State) bool { return s.Phase == client.Disconnected }

// unready is the error of the last attempt.
func unready(s *client.Session) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Ready(ctx)
	return err
}

func session(t *testing.T, o client.SessionOptions, addresses ...string) (*client.Session, *visited) {
	seen := &visited{more: make(chan struct{}, 1)}
	o.MinBackoff, o.MaxBackoff, o.OnState = time.Millisecond, 100*time.Millisecond, seen.add
	s, err := client.OpenSession(o, addresses...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, seen
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A request waits until there is a leader, and is executed there; so is one after a hand-over.
func TestSessionFollowsTheLead(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		p := newPlaces(t, mode, 3)
		s, seen := session(t, client.SessionOptions{}, p.addresses()...)
		var end *client.CloseError
		seen.until(t, 6, lost)
		if err := unready(s); !errors.As(err, &end) || end.Reason != wire.CloseNotLeader || end.Address != "" {
			t.Fatalf("without a leader: %v", err)
		}
		n := p.lead(2)
		for i := range uint64(3) {
			command := order(1, i+1, orderbook.Buy, 100, 1)
			if r, err := s.Do(bounded(t), command.Tag, body(command)); err != nil || len(r.Frames) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if i == 1 { // the third one is executed by another leader
				next := p.lead(0)
				p.depose(2, n, p.at(0))
				n = next
				seen.until(t, 1, func(s client.State) bool { // else the request may still go to the old one
					return errors.As(s.Err, &end) && end.Reason == wire.CloseElsewhere
				})
			}
		}
		p.depose(0, n, "")
		if p.seqs != 3 {
			t.Errorf("%d events, want 3", p.seqs)
		}
		sent := 0
		for _, c := range seen.list() {
			if c.Directed && errors.As(c.Err, &end) && end.Reason == wire.CloseElsewhere &&
				c.Address == p.at(2) && c.Next == p.at(0) {
				sent++
			}
		}
		if sent != 1 {
			t.Errorf("sent from the second leader to the third %d times: %+v", sent, seen.list())
		}
	})
}

// Under load the lead goes round. No order is executed twice or reported wrongly.
func TestHandOversRepeatNoRequest(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		p := newPlaces(t, mode, 3)
		n := p.lead(0)
		s, _ := session(t, client.SessionOptions{Window: 16}, p.at(1), p.at(2))
		var done, unknown, sent atomic.Uint64
		var stop atomic.Bool
		answered := make(chan struct{})
		var traders sync.WaitGroup
		for account := range uint64(8) {
			traders.Go(func() {
				for id := uint64(1); !stop.Load(); id++ {
					command := order(account+1, id, orderbook.Buy, 100, 1)
					_, err := s.Do(bounded(t), command.Tag, body(command))
					switch {
					case err == nil:
						done.Add(1)
						select {
						case answered <- struct{}{}:
						default:
						}
					case errors.Is(err, client.ErrUnknownOutcome):
						unknown.Add(1)
					case !errors.Is(err, client.ErrNotSent):
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
		}
		for round := range 6 {
			for range 20 {
				select {
				case <-answered:
				case <-bounded(t).Done():
					t.Error("no request is answered")
				}
			}
			next := p.lead((round + 1) % 3)
			p.depose(round%3, n, p.at((round+1)%3))
			n = next
		}
		stop.Store(true)
		traders.Wait()
		p.depose(0, n, "")
		if p.seqs < done.Load() || p.seqs > done.Load()+unknown.Load() {
			t.Errorf("%d executed; %d were answered, %d have an unknown outcome", p.seqs, done.Load(), unknown.Load())
		}
		t.Logf("%d of %d answered, %d unknown, %d executed", done.Load(), sent.Load(), unknown.Load(), p.seqs)
	})
}

// Two places direct to each other; the client says so, and finds the leader once there is one.
func TestSessionReportsServersThatDirectToEachOther(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		p := newPlaces(t, mode, 1)
		q := newPlaces(t, mode, 1)
		there, back := q.at(0), p.at(0)
		p.leader.Store(&there)
		q.leader.Store(&back)
		s, seen := session(t, client.SessionOptions{}, p.at(0))
		began := time.Now()
		seen.until(t, 10, lost)
		if err := unready(s); err == nil || !strings.Contains(err.Error(), `not_leader (go to "127.0.0.1:`) {
			t.Errorf("%v", err)
		}
		// Each place asks a client to stay away for 100 ms.
		if took := time.Since(began); took < 4*100*time.Millisecond {
			t.Errorf("10 visits to two places within %v", took)
		}
		q.lead(0)
		if _, err := s.Ready(bounded(t)); err != nil {
			t.Error(err)
		}
	})
}

// The leader named is dead: the client goes on with its list. A pinned client goes nowhere else.
func TestSessionWithoutAWayToTheLeader(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		dead, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		gone := dead.Addr().String()
		dead.Close()
		p, q := newPlaces(t, mode, 1), newPlaces(t, mode, 1)
		p.leader.Store(&gone)
		q.lead(0)
		s, _ := session(t, client.SessionOptions{}, p.at(0), q.at(0))
		if _, err := s.Ready(bounded(t)); err != nil {
			t.Error(err)
		}
		leader := q.at(0)
		p.leader.Store(&leader)
		pinned, seen := session(t, client.SessionOptions{Pinned: true}, p.at(0))
		seen.until(t, 3, lost)
		if unready(pinned) == nil {
			t.Error("a pinned session went to the leader")
		}
		for _, c := range seen.list() {
			if c.Address != p.at(0) || c.Directed {
				t.Errorf("%+v", c)
			}
		}
	})
}
