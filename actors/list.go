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

// Listing is one shard's part of a list on its way: the pipeline makes it, the shard fills it over several steps and
// closes done; then it is the pipeline's again.
type Listing struct {
	By   Order
	Now  int64     // when it was asked for, monotonic ns; ages are of this moment, so that those of all shards compare
	Next int       // table entry to look at next
	Open int       // connections seen
	Top  []Figures // a heap with the least at the front, in an array that never grows
	Done chan struct{}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *Listing) Len() int           { return len(l.Top) }
func (l *Listing) Less(i, j int) bool { return l.By.rank(&l.Top[i]) < l.By.rank(&l.Top[j]) }
func (l *Listing) Swap(i, j int)      { l.Top[i], l.Top[j] = l.Top[j], l.Top[i] }
func (l *Listing) Push(any)           { panic("actors: a list of connections grows in place") }
func (l *Listing) Pop() any           { panic("actors: a list of connections never shrinks") }

// offer takes f into the list if it belongs there.
func (l *Listing) offer(f Figures) {
	if len(l.Top) < cap(l.Top) {
		l.Top = append(l.Top, f)
		heap.Fix(l, len(l.Top)-1)
		return
	}
	if len(l.Top) > 0 && l.By.rank(&f) > l.By.rank(&l.Top[0]) {
		l.Top[0] = f
		heap.Fix(l, 0)
	}
}

// AnswerList does one step's worth of the list that was asked for. Connections that come and go meanwhile may be missing;
// each one's figures are of one moment.
func (e *Shard) AnswerList(now int64) int {
	l := e.list
	if l == nil {
		return 0
	}
	for last := min(len(e.conns), l.Next+listBatch); l.Next < last; l.Next++ {
		c := &e.conns[l.Next]
		if !c.Has(transport.StateOpen) {
			continue
		}
		l.Open++
		f := e.figures(c, now)
		f.Age = time.Duration(max(l.Now-c.OpenedAt, 0))
		l.offer(f)
	}
	if l.Next == len(e.conns) {
		e.list = nil
		close(l.Done)
	}
	return 1
}

func (e *Shard) figures(c *transport.Conn, now int64) Figures {
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
	parts, now := make([]*Listing, len(p.shards)), p.Now()
	for i := range parts {
		parts[i] = &Listing{By: by, Now: now, Next: 1, Top: make([]Figures, 0, n), Done: make(chan struct{})}
		if err := p.send(Event{Kind: EventList, FD: int32(i), List: parts[i]}); err != nil {
			return nil, 0, err
		}
	}
	for i, part := range parts {
		select {
		case <-part.Done:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("actors: shard %d has not listed its connections: %w", i, context.Cause(ctx))
		case <-p.ended:
			return nil, 0, ErrEnded
		}
		top, open = append(top, part.Top...), open+part.Open
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
	if err := p.send(Event{Kind: EventAnswer, Conn: conn, Frame: string(frame), Ack: func(err error) { done <- err }}); err != nil {
		return err
	}
	return <-done // always answered: by the shard, or by finish
}

// answer is the shard's part of Answer.
func (e *Shard) answer(ev *Event, now int64) error {
	entry, ok := e.open(ev)
	if !ok || !e.control(entry, ev.Frame, now) {
		return fmt.Errorf("actors: connection %d is gone", ev.Conn)
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
