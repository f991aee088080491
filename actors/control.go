package actors

import (
	"runtime"

	"sluice/actors/internal/shard"
	"sluice/mailbox"
	"sluice/telemetry"
)

// control routes events from any goroutine to the shard that owns the connection, and the shards'
// notices to the embedder. It is the only reader of the bounded control mailbox.
type control struct {
	events  *mailbox.Receiver[shard.Event]
	shards  []*mailbox.Writer[shard.Event]
	notices []*mailbox.Reader[shard.Notice]
	notify  func(ConnNotice) // may be nil; must not block
	rec     *telemetry.Recorder
	batch   int

	held    shard.Event // taken from events while its shard's mailbox was full
	holding bool
	gone    []uint64 // connections whose readers released them after their shard had ended
}

// Name implements Actor.
func (c *control) Name() string { return "control" }

// Step implements Actor.
func (c *control) Step(now int64) int {
	c.rec.Poll()
	c.rec.B.Mark(telemetry.MarkInbox, uint64(c.events.Len()))
	work := 0
	for work < c.batch {
		if !c.holding {
			var ok bool
			if c.held, ok = c.events.Recv(); !ok {
				break
			}
		}
		to := c.held.Shard(len(c.shards))
		if c.notices[to].Done() { // it has ended: its events would block those of others forever
			c.settle(&c.held)
			c.held, c.holding = shard.Event{}, false
			work++
			continue
		}
		w := c.shards[to]
		room := w.Claim(1)
		if c.holding = room == nil; c.holding {
			break // the shard is behind; its events stay in order
		}
		room[0] = c.held
		w.Commit(1)
		w.Publish()
		if c.held.Kind <= shard.EventKick {
			c.rec.B.C[counterOf(c.held.Kind)]++
		}
		c.held = shard.Event{}
		work++
	}
	for _, r := range c.notices {
		b := r.Batch(c.batch)
		for i := range b {
			if c.notify != nil {
				c.notify(noticeOf(&b[i]))
			}
		}
		r.Release(len(b))
		work += len(b)
	}
	return work
}

// settle answers an event that no shard will take, because its shard or the whole pipeline has
// ended.
func (c *control) settle(ev *shard.Event) {
	switch ev.Kind {
	case shard.EventConnect, shard.EventRespond, shard.EventSettle:
		ev.Ack(ErrEnded)
	case shard.EventDisconnect:
		c.gone = append(c.gone, ev.Conn)
	case shard.EventList:
		close(ev.List.Done) // it has no connections any more
	}
}

// settleAll answers what is left in a closed control mailbox.
func (c *control) settleAll(events interface {
	Recv() (shard.Event, bool)
	Done() bool
}) {
	for !events.Done() {
		if ev, ok := events.Recv(); ok {
			c.settle(&ev)
		} else {
			runtime.Gosched() // a sender has claimed its place and is about to fill it
		}
	}
}

func counterOf(k shard.EventKind) telemetry.Counter {
	return [...]telemetry.Counter{
		shard.EventConnect:    telemetry.ControlConnected,
		shard.EventDisconnect: telemetry.ControlDisconnected,
		shard.EventBusy:       telemetry.ControlBusy, shard.EventKick: telemetry.ControlKicked,
	}[k]
}

// Recorder implements Actor.
func (c *control) Recorder() *telemetry.Recorder { return c.rec }

// Park implements Actor.
func (c *control) Park() { c.rec.Park() }

// Unpark implements Actor.
func (c *control) Unpark() { c.rec.Unpark() }

// Done implements Actor: control is needed until the last shard has ended, because readers release
// sockets until then.
func (c *control) Done() bool {
	for _, r := range c.notices {
		if !r.Done() {
			return false
		}
	}
	return true
}

// Close implements Actor. The pipeline settles events that are still queued.
func (c *control) Close() error {
	c.rec.Park()
	return nil
}
