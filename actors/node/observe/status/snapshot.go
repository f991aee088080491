package status

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/telemetry"
	"sluice/transport/listen"
)

// Snapshot is a Status with the recent past: what the live page and `sluice top` draw. It is the
// JSON of /live.json.
type Snapshot struct {
	Status
	Boot int64 `json:"boot"` // changes when the server starts again; then points count from 1

	Handshakes int     `json:"handshakes"`
	Queues     Queues  `json:"queues"`
	Busy       Busy    `json:"busy"`
	Shards     []Shard `json:"shards"`

	Seconds int     `json:"seconds"` // time that the stages cover
	Stages  []Stage `json:"stages"`
	Points  []Point `json:"points"` // oldest first

	Busiest []Topic  `json:"busiest_topics"` // with most subscribers first; empty without any
	Slow    []Client `json:"slow"`           // clients that do not take their responses; most unsent bytes first
	Tracing Tracing  `json:"tracing"`
	Dropped []Drop   `json:"dropped"`
	Ended   []Ended  `json:"ended"`  // connections, the latest first
	Closed  uint64   `json:"closed"` // connections in this run
}

// Queue is a bounded mailbox.
type Queue struct {
	Depth int64 `json:"depth"`
	Cap   int64 `json:"cap"`
}

// Queues are the mailboxes of the response path.
type Queues struct {
	Requests Queue `json:"requests"` // readers to sequencer, bytes
	Gate     Queue `json:"gate"`     // sequencer to gate, responses
	Encode   Queue `json:"encode"`   // gate to encoder, responses
	Egress   Queue `json:"egress"`   // encoder to all shards, bytes
	Buffered int64 `json:"buffered"` // shards to sockets, bytes
}

// Busy is the share of the last second in which actors worked.
type Busy struct {
	Gate   float64 `json:"gate"`
	Encode float64 `json:"encode"`
}

// Shard is the work of one shard in the last second. Rates are per second.
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

// Client is a connection that does not take its responses.
type Client struct {
	ID        uint64  `json:"id,string"`
	From      string  `json:"from"`
	Shard     int     `json:"shard"`
	State     string  `json:"state"`
	Unsent    int     `json:"unsent"`    // bytes of its own buffer
	Behind    int     `json:"behind"`    // bytes of topic frames on a tape that it was not sent
	Responses int     `json:"responses"` // not fully sent
	Lag       float64 `json:"lag"`       // seconds that the socket has refused bytes
	Age       float64 `json:"age"`       // seconds
}

// Tracing is the connection whose responses an operator traces.
type Tracing struct {
	Connection uint64 `json:"connection,string"` // 0 for none
	Left       int64  `json:"left"`              // responses that will still be traced
}

// Drop is the number of responses dropped in this run, for one reason.
type Drop struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Ended is a connection that ended.
type Ended struct {
	ID     uint64  `json:"id,string"`
	From   string  `json:"from"`
	Reason string  `json:"reason"`
	Ago    float64 `json:"ago"` // seconds
	Unsent int     `json:"unsent"`
}

const (
	slowMost   = 8                      // slow clients in a Snapshot
	endedMost  = 5                      // ended connections in a Snapshot
	slowWithin = 500 * time.Millisecond // for the shards to list their topics and connections

	listEvery = time.Second - 50*time.Millisecond // a list is not made again within
)

// Snapshot assembles the present, and the points after a number. Any goroutine. It waits for the
// shards, 500 ms at most.
func (w *Watcher) Snapshot(ctx context.Context, after uint64) *Snapshot {
	n, now := w.node, time.Now()
	s := &Snapshot{Status: w.Status(), Boot: w.began.UnixMilli()}
	s.Points = w.history.after(after)
	s.Stages, s.Seconds = w.history.stages()
	w.fill(s, len(n.Rings()))
	s.Busiest, s.Slow = w.lists(ctx, now, s.Topics > 0)
	s.Tracing.Connection, s.Tracing.Left = n.Sampler().Load().Following()
	ended, total := n.LastClosed(endedMost)
	s.Closed, s.Ended = total, []Ended{}
	for _, e := range ended {
		s.Ended = append(s.Ended, Ended{
			ID: e.Client.ID, From: from(e.Client), Reason: e.Reason.String(),
			Ago: now.Sub(e.At).Seconds(), Unsent: e.Notice.Unsent,
		})
	}
	return s
}

// fill adds what the newest point is made from.
func (w *Watcher) fill(s *Snapshot, shards int) {
	h := w.history
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.last.gauge
	queue := func(mailbox string) Queue {
		read := func(id telemetry.GaugeID) int64 {
			return int64(h.last.gauges[gaugeKey{id, mailbox, telemetry.NoShard}])
		}
		return Queue{read(telemetry.MailboxDepth), read(telemetry.MailboxCapacity)}
	}
	s.Handshakes = int(g(telemetry.ListenerHandshakes))
	s.Queues = Queues{
		Requests: Queue{
			int64(g(telemetry.SequencerQueue)), int64(g(telemetry.SequencerQueueCapacity)),
		},
		Gate: queue("gate"), Encode: queue("encode"),
		Egress:   Queue{int64(g(telemetry.EgressInbox)), int64(g(telemetry.EgressInboxCapacity))},
		Buffered: int64(g(telemetry.EgressBuffered)),
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

// lists asks the shards for both lists, which have one time together.
func (w *Watcher) lists(ctx context.Context, now time.Time, topics bool) ([]Topic, []Client) {
	ctx, cancel := context.WithTimeout(ctx, slowWithin)
	defer cancel()
	return w.topics(ctx, now, topics), w.slow(ctx, now)
}

// slow lists the slow clients, at most once a second for all readers.
func (w *Watcher) slow(ctx context.Context, now time.Time) []Client {
	w.slowMu.Lock()
	defer w.slowMu.Unlock()
	if now.Sub(w.slowAt) < listEvery {
		return w.slowest
	}
	// By lag first, so that busy connections do not displace blocked ones with few bytes.
	top, _, err := w.node.Top(ctx, actors.ByLag, slowMost)
	if err == nil {
		var more []actors.Figures
		more, _, err = w.node.Top(ctx, actors.ByBuffered, slowMost)
		for _, f := range more {
			if !slices.ContainsFunc(top, func(t actors.Figures) bool { return t.Conn == f.Conn }) {
				top = append(top, f)
			}
		}
	}
	if err != nil {
		return w.slowest // the server is ending, or too busy to say; the list is as old as it was
	}
	w.slowAt, w.slowest = now, []Client{}
	for _, f := range top {
		state := notTaking(&f)
		if state == "" {
			continue
		}
		who, ok := w.node.Client(f.Conn)
		if !ok {
			continue // it ended meanwhile
		}
		c := Client{ID: f.Conn, From: from(who), Shard: f.Shard, State: state, Unsent: f.Unsent, Behind: f.Behind,
			Responses: f.Responses, Lag: f.Lag.Seconds(), Age: f.Age.Seconds()}
		w.slowest = append(w.slowest, c)
	}
	slices.SortStableFunc(w.slowest, func(a, b Client) int { return b.Unsent + b.Behind - a.Unsent - a.Behind })
	w.slowest = w.slowest[:min(slowMost, len(w.slowest))]
	return w.slowest
}

// Condition is the state of a connection in one word, the most telling one: closing, slow, blocked,
// half-closed or open.
func Condition(f *actors.Figures) string {
	switch {
	case f.Closing:
		return "closing"
	case f.Slow:
		return "slow"
	case f.Lag > 0:
		return "blocked"
	case f.Half:
		return "half-closed"
	}
	return "open"
}

// notTaking is the condition of a connection that does not take its responses, empty for others.
// Bytes that its socket has not refused are on their way and say nothing about the client.
func notTaking(f *actors.Figures) string {
	switch c := Condition(f); {
	case c == "slow", c == "blocked", c == "closing" && f.Unsent > 0:
		return c
	}
	return ""
}

// from is the origin of a client in few characters.
func from(c node.Client) string {
	switch {
	case c.UID != listen.NoUID:
		return fmt.Sprintf("uid %d", c.UID)
	case c.Remote != netip.AddrPort{}:
		return c.Remote.String()
	}
	return "unknown"
}
