package shard

import (
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// ErrEnding is returned to a connect that arrives while the pipeline is ending.
var ErrEnding = errors.New("the pipeline is ending")

// takeEvents handles the control events that are queued.
func (e *Shard) takeEvents(now int64) int {
	events := e.mail.events.Batch(EventBatch)
	for i := range events {
		ev := &events[i]
		switch ev.Kind {
		case EventConnect:
			err := e.connect(ev, now)
			if err != nil {
				e.rec.B.C[telemetry.ControlRefused]++
			}
			ev.Ack(err)
		case EventDisconnect:
			e.disconnect(ev, now)
		case EventBusy:
			e.busy(ev, now)
		case EventKick:
			if entry, ok := e.table.index.Get(ev.Hash, ev.Conn); ok &&
				!e.table.conns[entry].Has(transport.StateClosing) {
				e.dismiss(entry, ev.Reason, now)
			}
		case EventRespond:
			ev.Ack(e.respond(ev, now))
		case EventList:
			e.list = ev.List
		case EventSettle:
			ev.Ack(nil)
		}
		*ev = Event{} // EventNone: if a later event panics, this one is not handled twice
	}
	e.mail.events.Release(len(events))
	return len(events)
}

// EventBatch bounds the control events of one step.
const EventBatch = 256

// open finds the connection of an event. It fails if the connection is gone, or gets nothing more.
func (e *Shard) open(ev *Event) (uint32, bool) {
	const ending = transport.StateClosing | transport.StateFarewell
	entry, ok := e.table.index.Get(ev.Hash, ev.Conn)
	return entry, ok && e.table.conns[entry].State&ending == 0
}

// busy sends ServerBusy for requests that were shed, in one piece.
func (e *Shard) busy(ev *Event, now int64) {
	if entry, ok := e.open(ev); ok && len(ev.Frame) > 0 {
		e.rec.B.C[telemetry.EgressBusy] += ev.Owed
		e.appendControl(entry, []byte(ev.Frame), now)
	}
}

// uncounted is Conn.Owed of a connection without a reader.
const uncounted = math.MaxUint64

// connect takes ownership of a socket.
func (e *Shard) connect(ev *Event, now int64) error {
	if e.phase.Ending() {
		return ErrEnding
	}
	if int(ev.Class) >= len(e.class) {
		return fmt.Errorf("actors: connection %d has limits class %d; there are %d classes",
			ev.Conn, ev.Class, len(e.class))
	}
	entry := e.table.free
	if entry == 0 {
		entry = uint32(len(e.table.conns))
	}
	if !e.table.index.Put(ev.Hash, ev.Conn, entry) {
		return fmt.Errorf("actors: connection id %d is live already; "+
			"an id may be used again after its connection was released", ev.Conn)
	}
	if entry == uint32(len(e.table.conns)) {
		e.table.conns = append(e.table.conns, transport.Conn{})
	} else {
		e.table.free = e.table.conns[entry].Next
	}
	c := &e.table.conns[entry]
	c.Open(ev.Conn, ev.Hash, ev.FD, now)
	c.Since, c.Class, c.Heartbeat = ev.Since, ev.Class, int64(e.cfg.Heartbeat)
	if ev.Heartbeat > 0 {
		c.Heartbeat = ev.Heartbeat
		e.timers.beat = min(e.timers.beat, ev.Heartbeat)
	}
	if ev.Sealer != nil {
		e.secure(entry, ev.Sealer)
	}
	if ev.WriteOnly {
		c.Owed = uncounted
		c.Set(transport.StateReaderGone)
	}
	e.table.live++
	return nil
}

// disconnect records that the reader has released the socket. After a half-close the client still
// receives the responses to what it sent (R30). So does a client that sent a malformed frame after
// its requests, and a client whose reader ends because the node does. After anything else the
// connection ends now.
func (e *Shard) disconnect(ev *Event, now int64) {
	entry, ok := e.table.index.Get(ev.Hash, ev.Conn)
	if !ok {
		return // closed by force before; the pipeline closes the socket
	}
	c := &e.table.conns[entry]
	c.Owed = ev.Owed
	c.Set(transport.StateReaderGone)
	switch {
	case c.Has(transport.StateClosing):
		e.release(entry, now)
	case ev.Reason == transport.ReasonShutdown: // the pipeline is about to end and closes it then
	case ev.Reason == transport.ReasonPeerClosed || ev.Reason == transport.ReasonProtocolError:
		c.Set(transport.StateHalfClosed)
		c.Final = ev.Reason
		e.finishSubscriptions(entry, now)
		e.finishHalfClosed(entry, now)
	default:
		e.dismiss(entry, ev.Reason, now)
	}
}

// finishHalfClosed closes a half-closed connection once its client has every response it is owed,
// and the farewell if it gets one. It may run while completions are processed, so the farewell is
// left to part.
func (e *Shard) finishHalfClosed(entry uint32, now int64) {
	c := &e.table.conns[entry]
	switch {
	case c.Ended < c.Owed || c.Unsent() != 0 || c.Sending() != 0:
	case farewellOf(c.Final) == 0 && !c.Has(transport.StateSecure) || c.Has(transport.StateFarewell):
		e.close(entry, c.Final, now)
	default:
		e.outbox.parting = append(e.outbox.parting, entry)
	}
}

// close ends a connection: nothing more is sent, and the socket is shut down in both directions,
// which its reader sees too. The entry is released once neither the kernel nor the reader uses the
// socket. Closing twice keeps the first reason.
func (e *Shard) close(entry uint32, why transport.Reason, now int64) {
	c := &e.table.conns[entry]
	if c.Has(transport.StateClosing) {
		return
	}
	c.Reason = why
	e.notify(NoticeClosed, c, now)
	c.Set(transport.StateClosing)
	c.Clear(transport.StateRetry | transport.StateHalfClosed)
	e.removeBlocked(entry)
	e.unsubscribe(entry, now)
	if err := e.ring.Shutdown(c.FD); err != nil {
		e.rec.B.C[telemetry.EgressShutdownErrors]++ // ENOTCONN: the peer closed first
	}
	if c.Has(transport.StatePolling) {
		e.outbox.cancels = append(e.outbox.cancels, userData(opPoll, c.Gen, entry))
	}
	c.Discard(e.slab)
	e.unseal(c, entry)
	e.rec.B.C[telemetry.CloseReason(why).Counter()]++
	e.release(entry, now)
}

// release frees a closing connection that neither the kernel nor the reader uses any more. It is
// the only place where an entry, its permit and its socket are returned (I10).
func (e *Shard) release(entry uint32, now int64) {
	c := &e.table.conns[entry]
	if !c.Has(transport.StateClosing|transport.StateReaderGone) || !c.Idle() {
		return
	}
	e.account(c, now)
	if err := e.table.sockets.Close(c.FD, e.ring.CloseSocket); err != nil {
		e.rec.B.C[telemetry.EgressCloseErrors]++
	}
	e.freeEntry(entry)
}

// account gives the responses still queued on a closing connection their ledger entries.
func (e *Shard) account(c *transport.Conn, now int64) {
	e.countDelivered(c, now)
	for {
		u, ok := c.TakeUnsent(e.slab)
		if !ok {
			return
		}
		e.dropUnit(u, c.Reason)
	}
}

// dropUnit counts a unit that its connection did not receive.
func (e *Shard) dropUnit(u transport.Unit, why transport.Reason) {
	if u.Topic {
		e.rec.B.C[telemetry.TopicSkippedClosed]++
	}
	if u.Slot {
		e.drop(why, 1)
	}
}

// freeEntry frees the table entry and returns the permit.
func (e *Shard) freeEntry(entry uint32) {
	c := &e.table.conns[entry]
	if !e.table.index.Delete(c.Hash, c.ID) {
		panic(fmt.Sprintf("actors: connection %d is not in the connection table", c.ID))
	}
	c.Vacate(e.table.free)
	if int(entry) < len(e.topics.subs) {
		e.topics.subs[entry] = subscriber{}
	}
	if int(entry) < len(e.sealing.conns) {
		e.sealing.conns[entry] = sealed{}
	}
	e.table.free = entry
	e.table.live--
	if e.permit.Add(-1) < 0 {
		panic("actors: more connection permits returned than were taken")
	}
}

// notify queues a notice. A shard never waits for an observer: if the mailbox is full, the end of a
// connection is kept until there is room, and another notice is dropped and counted.
func (e *Shard) notify(kind NoticeKind, c *transport.Conn, now int64) {
	n := Notice{
		Kind: kind, Reason: c.Reason, Shard: e.shard, Conn: c.ID, At: now,
		Age:    time.Duration(now - c.OpenedAt),
		Unsent: c.Unsent(), Responses: c.QueuedUnits() + int(c.Unsettled), Sent: c.Sent,
	}
	if since := c.BlockedSince(); since != 0 {
		n.Blocked = time.Duration(now - since)
	}
	if c.Reason == transport.ReasonEncodeError {
		n.Error = e.mail.failures[c.ID]
	}
	if kind == NoticeClosed {
		delete(e.mail.failures, c.ID)
	}
	switch e.mail.catchUp(); {
	case len(e.mail.late) == 0 && e.mail.tell(&n):
		e.mail.notices.Publish()
	case kind == NoticeClosed:
		e.mail.late = append(e.mail.late, n)
	default:
		e.rec.B.C[telemetry.EgressNoticesDropped]++
	}
}

// tell copies a notice into the mailbox. It returns false if there is no room.
func (m *mail) tell(n *Notice) bool {
	room := m.notices.Claim(1)
	if room == nil {
		return false
	}
	room[0] = *n
	m.notices.Commit(1)
	return true
}

// catchUp queues the ends of connections that found no room.
func (m *mail) catchUp() (work int) {
	if len(m.late) == 0 {
		return 0
	}
	for work < len(m.late) && m.tell(&m.late[work]) {
		work++
	}
	m.notices.Publish()
	if m.late = m.late[:copy(m.late, m.late[work:])]; len(m.late) == 0 {
		m.late = nil // of a burst, which may be long
	}
	return work
}

// tick checks the limits of blocked connections, retries sends that failed for lack of memory,
// sends heartbeats and updates the gauges.
func (e *Shard) tick(now int64) {
	e.discountPause(now)
	e.timers.tickAt = now + int64(e.cfg.Tick)
	for i := e.blocked.first; i != 0; {
		c, entry := &e.table.conns[i], i
		i = c.Next
		l := &e.class[c.Class]
		if c.SinceProgress(now) > int64(l.NoProgress)/4 {
			c.ObserveUnread(e.ring.Unread(c.FD), now)
		}
		c.UpdateSoftClock(l, now)
		if why := l.Check(c, now); why != transport.ReasonNone {
			e.close(entry, why, now)
			continue
		}
		if !c.Has(transport.StateSlow) && (c.Unsent() > l.SoftBytes ||
			now-c.BlockedSince() > int64(l.NoProgress)/4) {
			c.Set(transport.StateSlow)
			e.notify(NoticeSlow, c, now)
		}
		if c.Has(transport.StateRetry) {
			c.Clear(transport.StateRetry)
			e.markDirty(entry)
		}
	}
	e.heartbeats(now)
	e.sweepTopics(now)
	e.slab.Trim()
	e.Gauges.Connections.Store(int64(e.table.live))
	e.Gauges.Blocked.Store(int64(e.blocked.count))
	e.Gauges.Buffered.Store(e.slab.InUse())
	e.Gauges.Held.Store(e.slab.Held())
}

// discountPause subtracts the time in which the whole shard did not run (its process was stopped,
// its machine suspended or starved) from the clocks of blocked connections. What the clients did
// meanwhile is unknown; the next flush shows which of them read.
func (e *Shard) discountPause(now int64) {
	late := now - e.timers.tickAt
	if late < int64(e.cfg.Pause) {
		return
	}
	for i := e.blocked.first; i != 0; i = e.table.conns[i].Next {
		e.table.conns[i].ShiftClocks(late, now)
	}
	// A drain waits for these connections, which are not on the blocked list.
	for i := 1; i < len(e.table.conns) && e.ending.began != 0; i++ {
		if c := &e.table.conns[i]; c.BlockedSince() != 0 && !c.Has(transport.StateBlocked) {
			c.ShiftClocks(late, now)
		}
	}
}

// heartbeats checks the next part of the table, so that the whole table is checked four times an
// interval. A connection receives a heartbeat between one and one and a quarter intervals after its
// last byte; the spread over that quarter is the jitter. The cost depends on the size of the table
// alone (R24). A half-closed client that waits for its responses gets heartbeats too: a send that
// fails is the only way to notice that such a client is gone.
func (e *Shard) heartbeats(now int64) {
	n := 1 + int(4*int64(len(e.table.conns))*int64(e.cfg.Tick)/e.timers.beat)
	for ; n > 0; n-- {
		if e.timers.sweep++; int(e.timers.sweep) >= len(e.table.conns) {
			e.timers.sweep = 0
			return
		}
		c := &e.table.conns[e.timers.sweep]
		const idle = transport.StateReaderGone | transport.StateHalfClosed | transport.StateWoken |
			transport.StateSecure
		if c.State&^idle != transport.StateOpen || now-c.LastSent < c.Heartbeat ||
			c.Unsent() > 0 || c.BlockedSince() != 0 {
			continue
		}
		var room [encode.MaxControl]byte
		beat := e.cfg.Framing.AppendControl(room[:0], encode.Control{Kind: encode.ControlHeartbeat})
		if len(beat) > 0 {
			e.rec.B.C[telemetry.EgressHeartbeats]++
			e.appendControl(e.timers.sweep, beat, now)
		}
	}
}

// dropReason is why a connection receives no more responses: it was closed, or the ring is in
// doubt.
func dropReason(c *transport.Conn) transport.Reason {
	if c.Reason == transport.ReasonNone {
		return transport.ReasonFenced
	}
	return c.Reason
}
