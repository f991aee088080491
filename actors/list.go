package actors

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/durability"
	"sluice/transport"
)

// Order says which connections come first in a list.
type Order uint8

const (
	ByBuffered Order = iota // most unsent bytes
	ByAge                   // connected longest
	ByLag                   // behind longest: socket refuses bytes since, or a drain waits for it since
)

// String returns the text form.
func (o Order) String() string {
	switch o {
	case ByBuffered:
		return "buffered"
	case ByAge:
		return "age"
	case ByLag:
		return "lag"
	}
	return fmt.Sprintf("order(%d)", uint8(o))
}

// ParseOrder reads buffered, age or lag.
func ParseOrder(text string) (Order, error) {
	for o := ByBuffered; o <= ByLag; o++ {
		if o.String() == text {
			return o, nil
		}
	}
	return 0, fmt.Errorf("actors: order %q is unknown; use buffered, age or lag", text)
}

// Figures is what a shard knows about a connection at one moment.
type Figures struct {
	Conn    uint64
	Shard   int
	Class   uint8         // which limits apply
	Age     time.Duration // since Connect
	Quiet   time.Duration // since the kernel took the last byte, or since Connect
	Lag     time.Duration // for how long the socket has refused bytes; 0 = it does not
	Unsent  int           // bytes
	Answers int           // answers not fully sent
	Sent    uint64        // bytes
	Ended   uint64        // requests answered to the end
	Slow    bool          // was reported as slow and has not recovered
	Half    bool          // the client sends no more and waits for its answers
	Closing bool          // shut down; the kernel or the reader still hold it
}

// rank is what the list is ordered by; more comes first.
func (o Order) rank(f *Figures) int64 {
	switch o {
	case ByAge:
		return int64(f.Age)
	case ByLag:
		return int64(f.Lag)
	}
	return int64(f.Unsent)
}

// MaxTop is the longest list of connections.
const MaxTop = 1000

// listBatch bounds the table entries a shard looks at in one step for a list.
const listBatch = 256

// listing is one shard's part of a list on its way: the pipeline makes it, the shard fills it over several steps and
// closes done; then it is the pipeline's again.
type listing struct {
	by   Order
	now  int64     // when it was asked for, monotonic ns; ages are of this moment, so that those of all shards compare
	next int       // table entry to look at next
	open int       // connections seen
	top  []Figures // a heap with the least at the front, in an array that never grows
	done chan struct{}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *listing) Len() int           { return len(l.top) }
func (l *listing) Less(i, j int) bool { return l.by.rank(&l.top[i]) < l.by.rank(&l.top[j]) }
func (l *listing) Swap(i, j int)      { l.top[i], l.top[j] = l.top[j], l.top[i] }
func (l *listing) Push(any)           { panic("actors: a list of connections grows in place") }
func (l *listing) Pop() any           { panic("actors: a list of connections never shrinks") }

// offer takes f into the list if it belongs there.
func (l *listing) offer(f Figures) {
	if len(l.top) < cap(l.top) {
		l.top = append(l.top, f)
		heap.Fix(l, len(l.top)-1)
		return
	}
	if len(l.top) > 0 && l.by.rank(&f) > l.by.rank(&l.top[0]) {
		l.top[0] = f
		heap.Fix(l, 0)
	}
}

// answerList does one step's worth of the list that was asked for. Connections that come and go meanwhile may be missing;
// each one's figures are of one moment.
func (e *Egress) answerList(now int64) int {
	l := e.list
	if l == nil {
		return 0
	}
	for last := min(len(e.conns), l.next+listBatch); l.next < last; l.next++ {
		c := &e.conns[l.next]
		if !c.Has(transport.StateOpen) {
			continue
		}
		l.open++
		f := e.figures(c, now)
		f.Age = time.Duration(max(l.now-c.OpenedAt, 0))
		l.offer(f)
	}
	if l.next == len(e.conns) {
		e.list = nil
		close(l.done)
	}
	return 1
}

func (e *Egress) figures(c *transport.Conn, now int64) Figures {
	f := Figures{
		Conn: c.ID, Shard: e.shard, Class: c.Class, Age: time.Duration(now - c.OpenedAt), Quiet: time.Duration(now - c.LastSent),
		Unsent: c.Unsent(), Answers: c.QueuedUnits() + int(c.Unsettled), Sent: c.Sent, Ended: c.Ended,
		Slow: c.Has(transport.StateSlow), Half: c.Has(transport.StateHalfClosed), Closing: c.Has(transport.StateClosing),
	}
	if since := c.BlockedSince(); since != 0 {
		f.Lag = time.Duration(now - since)
	}
	return f
}

// Top returns the first n connections in an order, 1..MaxTop, and how many there are in all. Each shard looks through its
// table a part at a time between its other work, so the answer takes a few steps and is not of one instant.
func (p *Pipeline[R, Q]) Top(ctx context.Context, by Order, n int) (top []Figures, open int, err error) {
	if n < 1 || n > MaxTop || by > ByLag {
		return nil, 0, fmt.Errorf("actors: the first %d connections by %v; ask for 1..%d, by buffered, age or lag", n, by, MaxTop)
	}
	select {
	case p.listTurn <- struct{}{}: // one list at a time: a shard remembers one
		defer func() { <-p.listTurn }()
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("actors: waiting for another list of connections: %w", context.Cause(ctx))
	case <-p.ended:
		return nil, 0, ErrEnded
	}
	parts, now := make([]*listing, len(p.shards)), p.Now()
	for i := range parts {
		parts[i] = &listing{by: by, now: now, next: 1, top: make([]Figures, 0, n), done: make(chan struct{})}
		if err := p.send(event{kind: eventList, fd: int32(i), list: parts[i]}); err != nil {
			return nil, 0, err
		}
	}
	for i, part := range parts {
		select {
		case <-part.done:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("actors: shard %d has not listed its connections: %w", i, context.Cause(ctx))
		case <-p.ended:
			return nil, 0, ErrEnded
		}
		top, open = append(top, part.top...), open+part.open
	}
	slices.SortFunc(top, func(a, b Figures) int {
		return cmp.Or(cmp.Compare(by.rank(&b), by.rank(&a)), cmp.Compare(a.Conn, b.Conn))
	})
	return top[:min(n, len(top))], open, nil
}

// Answer sends a frame that answers one request of a connection to its end without having been a slot: it leaves at a
// frame boundary, before answers that still wait for durability. It returns once the frame is in the connection's send
// buffer. A frame above the connection's hard limit ends the connection.
func (p *Pipeline[R, Q]) Answer(conn uint64, frame []byte) error {
	done := make(chan error, 1)
	if err := p.send(event{kind: eventAnswer, conn: conn, frame: string(frame), ack: func(err error) { done <- err }}); err != nil {
		return err
	}
	return <-done // always answered: by the shard, or by finish
}

// answer is the shard's part of Answer.
func (e *Egress) answer(ev *event, now int64) error {
	entry, ok := e.open(ev)
	if !ok || !e.control(entry, ev.frame, now) {
		return fmt.Errorf("actors: connection %d is gone", ev.conn)
	}
	e.conns[entry].Ended++
	return nil
}

// Wait is what the gate's head slot waits for.
type Wait struct {
	Seq durability.Seq // wire seq of the slot
	For time.Duration  // since the gate first looked at it
}

// Waiting reports whether a slot waits at the gate, and which. The two figures may be of different slots when the gate
// moves on meanwhile.
func (p *Pipeline[R, Q]) Waiting() (w Wait, waiting bool) {
	since := p.gate.oldest.Load()
	if since == 0 {
		return Wait{}, false
	}
	return Wait{Seq: durability.Seq(p.gate.pending.Load()), For: time.Duration(max(p.Now()-since, 0))}, true
}
