package status

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport/listen"
)

// Snapshot is what the page and `sluice top` draw: the present, and the points of the last minutes.
type Snapshot struct {
	Boot    int64   `json:"boot"` // changes when the server starts again; then points count from 1
	State   string  `json:"state"`
	Up      float64 `json:"up"` // s
	Engine  string  `json:"engine"`
	Note    string  `json:"note"` // about the engine, for people
	Falls   bool    `json:"fallback"`
	Policy  string  `json:"policy"`
	Alias   string  `json:"policy_name"`
	Degrade bool    `json:"degraded"`
	Gate    Gate    `json:"gate"`
	Nodes   []Node  `json:"nodes"`

	Clients    int     `json:"clients"`
	Blocked    int     `json:"blocked"` // clients whose sockets refuse bytes
	Handshakes int     `json:"handshakes"`
	Sequenced  uint64  `json:"sequenced"` // last event
	Persisted  uint64  `json:"persisted"` // last event on this node's disk
	Queues     Queues  `json:"queues"`
	Busy       Busy    `json:"busy"`
	Shards     []Shard `json:"shards"`

	Seconds int     `json:"seconds"` // that the stages cover
	Stages  []Stage `json:"stages"`
	Points  []Point `json:"points"` // oldest first

	Slow    []Client `json:"slow"` // most unsent bytes first; only who holds something back
	Tracing Tracing  `json:"tracing"`
	Dropped []Drop   `json:"dropped"`
	Ended   []Ended  `json:"ended"`  // connections, the latest first
	Closed  uint64   `json:"closed"` // connections in this run
}

// Gate says what the durability gate does.
type Gate struct {
	Waiting bool    `json:"waiting"`
	Wedged  bool    `json:"wedged"` // for more than a second
	Event   uint64  `json:"event"`
	Seconds float64 `json:"seconds"`
	Why     string  `json:"why"`
}

// Node is how far events are on a node.
type Node struct {
	ID         int    `json:"id"`
	InMemory   uint64 `json:"in_memory"`
	Persisted  uint64 `json:"persisted"`
	Everything bool   `json:"everything"` // in memory, as on the primary; InMemory is 0 then
}

// Queue is a bounded mailbox.
type Queue struct {
	Depth int64 `json:"depth"`
	Cap   int64 `json:"cap"`
}

// Queues are the mailboxes on the way of an answer. Bytes for the first and the last, else answers.
type Queues struct {
	Requests Queue `json:"requests"` // readers to sequencer, bytes
	Gate     Queue `json:"gate"`     // sequencer to gate
	Encode   Queue `json:"encode"`   // gate to encoder
	Egress   Queue `json:"egress"`   // encoder to the shards, bytes, all added up
	Buffered int64 `json:"buffered"` // shards to sockets, bytes
}

// Busy is the share of the last second that actors worked.
type Busy struct {
	Gate   float64 `json:"gate"`
	Encode float64 `json:"encode"`
}

// Shard is what one shard did in the last second. Rates are per second.
type Shard struct {
	Shard     int     `json:"shard"`
	Responses float64 `json:"responses"`
	Bytes     float64 `json:"bytes"`
	Busy      float64 `json:"busy"` // share of the second
	Clients   int     `json:"clients"`
	Blocked   int     `json:"blocked"`
	Buffered  int64   `json:"buffered"` // bytes
	Queue     int64   `json:"queue"`    // bytes
	QueueCap  int64   `json:"queue_cap"`
}

// Stage is a row of the table of stages.
type Stage struct {
	Name    string   `json:"name"`
	Latency *Latency `json:"latency"` // nil without samples
}

// Client is a connection that holds something back.
type Client struct {
	ID      uint64  `json:"id,string"`
	From    string  `json:"from"`
	Shard   int     `json:"shard"`
	State   string  `json:"state"`
	Unsent  int     `json:"unsent"`  // bytes
	Answers int     `json:"answers"` // not fully sent
	Lag     float64 `json:"lag"`     // s that the socket has refused bytes
	Age     float64 `json:"age"`     // s
}

// Tracing is the connection that an operator has traced.
type Tracing struct {
	Connection uint64 `json:"connection,string"` // 0 for none
	Left       int64  `json:"left"`              // responses still to be traced
}

// Drop is how many answers were dropped in this run, for one reason.
type Drop struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Ended is a connection that ended.
type Ended struct {
	ID     uint64  `json:"id,string"`
	From   string  `json:"from"`
	Reason string  `json:"reason"`
	Ago    float64 `json:"ago"` // s
	Unsent int     `json:"unsent"`
}

const (
	wedgedFor  = time.Second
	slowMost   = 8 // rows of clients
	endedMost  = 5 // rows of ended connections
	slowWithin = 500 * time.Millisecond
)

// snapshot assembles the present, and the points after a number.
func (l *Live) snapshot(ctx context.Context, after uint64) *Snapshot {
	p, now := l.server, time.Now()
	d, policy := p.Diagnosis(), p.Policy().Current()
	s := &Snapshot{
		Boot: l.boot.UnixMilli(), State: l.state(), Up: now.Sub(l.boot).Seconds(), Engine: d.Engine, Note: d.Text, Falls: d.FellBack,
		Policy: policy.String(), Alias: policy.Name(), Gate: l.gate(), Clients: p.Connections(), Nodes: []Node{},
	}
	s.Degrade, _ = p.Degraded()
	var v durability.View
	if l.server.View(&v) {
		for _, n := range v.Nodes[:v.Len] {
			s.Nodes = append(s.Nodes, nodeOf(n))
		}
	}
	s.Points = l.history.after(after)
	s.Stages, s.Seconds = l.history.stages()
	l.fill(s, len(p.Rings()))
	s.Slow = l.slow(ctx, now)
	s.Tracing.Connection, s.Tracing.Left = p.Sampler().Load().Following()
	ended, total := l.server.LastClosed(endedMost)
	s.Closed, s.Ended = total, []Ended{}
	for _, e := range ended {
		s.Ended = append(s.Ended, Ended{ID: e.Client.ID, From: from(e.Client), Reason: e.Reason.String(), Ago: now.Sub(e.At).Seconds(), Unsent: e.Notice.Unsent})
	}
	return s
}

// fill takes from the newest point's tally.
func (l *Live) fill(s *Snapshot, shards int) {
	h := l.history
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.last.gauge
	queue := func(mailbox string) Queue {
		return Queue{int64(h.last.gauges[what{telemetry.MailboxDepth, mailbox, telemetry.NoShard}]), int64(h.last.gauges[what{telemetry.MailboxCapacity, mailbox, telemetry.NoShard}])}
	}
	s.Blocked, s.Handshakes = int(g(telemetry.EgressBlockedConnections)), int(g(telemetry.ListenerHandshakes))
	s.Sequenced, s.Persisted = uint64(g(telemetry.SequencerLastEvent)), uint64(g(telemetry.JournalLastEvent))
	s.Queues = Queues{
		Requests: Queue{int64(g(telemetry.SequencerQueue)), int64(g(telemetry.SequencerQueueCapacity))}, Gate: queue("gate"), Encode: queue("encode"),
		Egress: Queue{int64(g(telemetry.EgressInbox)), int64(g(telemetry.EgressInboxCapacity))}, Buffered: int64(g(telemetry.EgressBuffered)),
	}
	s.Busy = Busy{Gate: h.busy("gate"), Encode: h.busy("encode")}
	s.Shards = make([]Shard, shards)
	for i := range s.Shards {
		s.Shards[i] = h.shard(i)
	}
	s.Dropped = []Drop{}
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		if n := h.last.count(r.Counter()); n > 0 {
			s.Dropped = append(s.Dropped, Drop{r.Name(), n})
		}
	}
}

func (l *Live) state() string {
	select {
	case <-l.server.Ended():
		return "ended"
	default:
	}
	if l.server.Ready() {
		return "ready"
	}
	return "ending"
}

// gate asks the gate itself, since a point can be a second old.
func (l *Live) gate() Gate {
	wait, waiting := l.server.Waiting()
	if !waiting {
		return Gate{}
	}
	g := Gate{Waiting: true, Wedged: wait.For > wedgedFor, Event: uint64(wait.Seq), Seconds: wait.For.Seconds()}
	var v durability.View
	if l.server.View(&v) {
		g.Why = l.server.Policy().Current().Explain(&v, wait.Seq)
	}
	return g
}

// slow lists the clients that hold something back, at most once a second for all who look.
func (l *Live) slow(ctx context.Context, now time.Time) []Client {
	l.slowMu.Lock()
	defer l.slowMu.Unlock()
	if now.Sub(l.slowAt) < time.Second-50*time.Millisecond {
		return l.slowest
	}
	ctx, cancel := context.WithTimeout(ctx, slowWithin)
	defer cancel()
	top, _, err := l.server.Top(ctx, actors.ByLag, slowMost) // first: who is blocked with little must not be behind who is busy
	if err == nil {
		var more []actors.Figures
		more, _, err = l.server.Top(ctx, actors.ByBuffered, slowMost)
		for _, f := range more {
			if !slices.ContainsFunc(top, func(t actors.Figures) bool { return t.Conn == f.Conn }) {
				top = append(top, f)
			}
		}
	}
	if err != nil {
		return l.slowest // the server is ending, or too busy to say; the list is as old as it was
	}
	l.slowAt, l.slowest = now, []Client{}
	for _, f := range top {
		state := holdsBack(f)
		if state == "" {
			continue
		}
		who, ok := l.server.Client(f.Conn)
		if !ok {
			continue // it ended meanwhile
		}
		c := Client{ID: f.Conn, From: from(who), Shard: f.Shard, State: state, Unsent: f.Unsent, Answers: f.Answers, Lag: f.Lag.Seconds(), Age: f.Age.Seconds()}
		l.slowest = append(l.slowest, c)
	}
	slices.SortStableFunc(l.slowest, func(a, b Client) int { return b.Unsent - a.Unsent })
	l.slowest = l.slowest[:min(slowMost, len(l.slowest))]
	return l.slowest
}

// holdsBack says how a connection keeps its answers waiting; empty if it does not. Bytes that its socket has not refused are
// on their way, which is nothing of the client's doing.
func holdsBack(f actors.Figures) string {
	switch {
	case f.Closing && f.Unsent > 0:
		return "closing"
	case f.Slow:
		return "slow"
	case f.Lag > 0:
		return "blocked"
	}
	return ""
}

// from says where a client is, in few characters.
func from(c node.Client) string {
	switch {
	case c.UID != listen.NoUID:
		return fmt.Sprintf("uid %d", c.UID)
	case c.Remote != netip.AddrPort{}:
		return c.Remote.String()
	}
	return "unknown"
}

func nodeOf(n durability.Node) Node {
	if n.InMemory == durability.Everything {
		return Node{ID: n.ID, Persisted: uint64(n.Persisted), Everything: true}
	}
	return Node{ID: n.ID, InMemory: uint64(n.InMemory), Persisted: uint64(n.Persisted)}
}
