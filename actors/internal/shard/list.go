package shard

import (
	"container/heap"
	"fmt"
	"time"

	"sluice/transport"
)

// Figures is the state of a connection at one moment.
type Figures struct {
	Conn      uint64
	Shard     int
	Class     uint8         // index of the limits that apply
	Age       time.Duration // since Connect
	Quiet     time.Duration // since the kernel took the last byte, or since Connect
	Lag       time.Duration // time for which the socket has refused bytes; 0 if it does not
	Unsent    int           // bytes of its own buffer
	Responses int           // responses not fully sent
	Sent      uint64        // bytes
	Ended     uint64        // requests whose last response was appended
	Topics    int           // subscriptions, including those that wait for a snapshot
	Behind    int           // bytes of topic frames on a tape that it was not sent; in no buffer of its own
	Slow      bool          // was reported as slow and has not recovered
	Half      bool          // the client sends no more requests and waits for its responses
	Closing   bool          // shut down; the kernel or the reader still uses the socket
}

// listBatch bounds the table entries that a shard examines in one step for a list.
const listBatch = 256

// Listing is one shard's part of a list of connections, or of topics. The pipeline makes it; the shard
// fills it over several steps and closes Done; then it belongs to the pipeline again.
type Listing struct {
	Conns  Ranked[Figures]
	Topics *TopicListing // nil for a list of connections
	Now    int64         // time of the request, monotonic ns; ages of all shards refer to it
	Next   int           // table entry to examine next
	Open   int           // connections seen
	Done   chan struct{}
}

// Ranked is the items with the highest ranks of those that were offered.
type Ranked[T any] struct {
	Rank func(*T) int64
	Top  []T // a heap with the lowest rank at the front; its array never grows

	offered T
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *Ranked[T]) Len() int           { return len(l.Top) }
func (l *Ranked[T]) Less(i, j int) bool { return l.Rank(&l.Top[i]) < l.Rank(&l.Top[j]) }
func (l *Ranked[T]) Swap(i, j int)      { l.Top[i], l.Top[j] = l.Top[j], l.Top[i] }
func (l *Ranked[T]) Push(any)           { panic("actors: a list grows in place") }
func (l *Ranked[T]) Pop() any           { panic("actors: a list never shrinks") }

// offer adds an item to the list if its rank is high enough.
func (l *Ranked[T]) offer(f T) {
	l.offered = f // a field, because Rank takes a pointer
	if len(l.Top) < cap(l.Top) {
		l.Top = append(l.Top, f)
		heap.Fix(l, len(l.Top)-1)
		return
	}
	if len(l.Top) > 0 && l.Rank(&l.offered) > l.Rank(&l.Top[0]) {
		l.Top[0] = f
		heap.Fix(l, 0)
	}
}

// fillList does one step's part of the requested list. What begins or ends meanwhile may be missing; the
// figures of each connection are of one moment.
func (e *Shard) fillList(now int64) int {
	l := e.list
	if l == nil {
		return 0
	}
	done := false
	if l.Topics != nil {
		done = e.fillTopics(l, now)
	} else {
		done = e.fillConns(l, now)
	}
	if done {
		e.list = nil
		close(l.Done)
	}
	return 1
}

func (e *Shard) fillConns(l *Listing, now int64) (done bool) {
	for last := min(len(e.table.conns), l.Next+listBatch); l.Next < last; l.Next++ {
		c := &e.table.conns[l.Next]
		if !c.Has(transport.StateOpen) {
			continue
		}
		l.Open++
		f := e.figures(c, now)
		f.Age = time.Duration(max(l.Now-c.OpenedAt, 0))
		f.Topics, f.Behind = e.subscriptionsOf(uint32(l.Next))
		l.Conns.offer(f)
	}
	return l.Next == len(e.table.conns)
}

func (e *Shard) figures(c *transport.Conn, now int64) Figures {
	f := Figures{
		Conn: c.ID, Shard: e.shard, Class: c.Class, Age: time.Duration(now - c.OpenedAt),
		Quiet:  time.Duration(now - c.LastSent),
		Unsent: c.Unsent(), Responses: c.QueuedUnits() + int(c.Unsettled), Sent: c.Sent,
		Ended: c.Ended,
		Slow:  c.Has(transport.StateSlow), Half: c.Has(transport.StateHalfClosed),
		Closing: c.Has(transport.StateClosing),
	}
	if since := c.BlockedSince(); since != 0 {
		f.Lag = time.Duration(now - since)
	}
	return f
}

// respond is the shard's part of Respond.
func (e *Shard) respond(ev *Event, now int64) error {
	entry, ok := e.open(ev)
	if !ok || !e.appendControl(entry, []byte(ev.Frame), now) {
		return fmt.Errorf("actors: connection %d is gone", ev.Conn)
	}
	e.answered(&e.table.conns[entry], entry, len(ev.Frame), now)
	return nil
}
