package shard

import (
	"container/heap"
	"fmt"
	"time"

	"sluice/transport"
)

// Figures is what a shard knows about a connection at one moment.
type Figures struct {
	Conn      uint64
	Shard     int
	Class     uint8         // which limits apply
	Age       time.Duration // since Connect
	Quiet     time.Duration // since the kernel took the last byte, or since Connect
	Lag       time.Duration // for how long the socket has refused bytes; 0 = it does not
	Unsent    int           // bytes
	Responses int           // answers not fully sent
	Sent      uint64        // bytes
	Ended     uint64        // requests answered to the end
	Slow      bool          // was reported as slow and has not recovered
	Half      bool          // the client sends no more and waits for its answers
	Closing   bool          // shut down; the kernel or the reader still hold it
}

// listBatch bounds the table entries a shard looks at in one step for a list.
const listBatch = 256

// Listing is one shard's part of a list on its way: the pipeline makes it, the shard fills it over several steps and
// closes done; then it is the pipeline's again.
type Listing struct {
	Rank func(*Figures) int64 // more comes first
	Now  int64                // when it was asked for, monotonic ns; ages are of this moment, so that those of all shards compare
	Next int                  // table entry to look at next
	Open int                  // connections seen
	Top  []Figures            // a heap with the least at the front, in an array that never grows
	Done chan struct{}

	offered Figures
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *Listing) Len() int           { return len(l.Top) }
func (l *Listing) Less(i, j int) bool { return l.Rank(&l.Top[i]) < l.Rank(&l.Top[j]) }
func (l *Listing) Swap(i, j int)      { l.Top[i], l.Top[j] = l.Top[j], l.Top[i] }
func (l *Listing) Push(any)           { panic("actors: a list of connections grows in place") }
func (l *Listing) Pop() any           { panic("actors: a list of connections never shrinks") }

// offer takes f into the list if it belongs there.
func (l *Listing) offer(f Figures) {
	l.offered = f // in place, since a pointer to it is passed on
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

// fillList does one step's worth of the list that was asked for. Connections that come and go meanwhile may be missing;
// each one's figures are of one moment.
func (e *Shard) fillList(now int64) int {
	l := e.list
	if l == nil {
		return 0
	}
	for last := min(len(e.table.conns), l.Next+listBatch); l.Next < last; l.Next++ {
		c := &e.table.conns[l.Next]
		if !c.Has(transport.StateOpen) {
			continue
		}
		l.Open++
		f := e.figures(c, now)
		f.Age = time.Duration(max(l.Now-c.OpenedAt, 0))
		l.offer(f)
	}
	if l.Next == len(e.table.conns) {
		e.list = nil
		close(l.Done)
	}
	return 1
}

func (e *Shard) figures(c *transport.Conn, now int64) Figures {
	f := Figures{
		Conn: c.ID, Shard: e.shard, Class: c.Class, Age: time.Duration(now - c.OpenedAt), Quiet: time.Duration(now - c.LastSent),
		Unsent: c.Unsent(), Responses: c.QueuedUnits() + int(c.Unsettled), Sent: c.Sent, Ended: c.Ended,
		Slow: c.Has(transport.StateSlow), Half: c.Has(transport.StateHalfClosed), Closing: c.Has(transport.StateClosing),
	}
	if since := c.BlockedSince(); since != 0 {
		f.Lag = time.Duration(now - since)
	}
	return f
}

// respond is the shard's part of Respond.
func (e *Shard) respond(ev *Event, now int64) error {
	entry, ok := e.open(ev)
	if !ok || !e.appendControl(entry, ev.Frame, now) {
		return fmt.Errorf("actors: connection %d is gone", ev.Conn)
	}
	e.table.conns[entry].Ended++
	return nil
}
