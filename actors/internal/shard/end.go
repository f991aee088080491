package shard

import (
	"errors"
	"fmt"
	"math/bits"

	"sluice/actors/internal/run"
	"sluice/telemetry"
	"sluice/transport"
)

// end closes connections once the inbox is closed and empty. In a drain, a connection is closed
// when its client has everything and its moment has come. In a stop, all are closed after one last
// flush, and past the deadline all are closed at once. The moments are spread so that clients do
// not reconnect all at once.
func (e *Shard) end(now int64) int {
	if e.phase.Fenced() { // since this step began: the end that was seen is a fence
		return e.fence(now)
	}
	force := e.phase.Over() || e.phase.Expired(now)
	if e.ending.began == 0 {
		e.ending.began, e.ending.spread = now, e.phase.Spread(int64(e.cfg.DrainSpread), now)
	}
	if force {
		e.force()
		// A send that was queued early left what was appended after it.
		e.flush(telemetry.EgressFlushStop, now)
		e.farewells(now)
		e.flush(telemetry.EgressFlushStop, now)
	}
	ask := now >= e.timers.acksAt
	if ask {
		e.timers.acksAt = now + int64(e.cfg.Tick)
	}
	work := 0
	for i := 1; i < len(e.table.conns); i++ {
		c := &e.table.conns[i]
		if !c.Has(transport.StateOpen) || c.Has(transport.StateClosing) {
			continue
		}
		if !force && (c.Unsent() != 0 || c.Sending() != 0 || e.behind(c, uint32(i)) ||
			now-e.ending.began < Jitter(c.Hash, e.ending.spread)) {
			continue
		}
		if !force && e.farewellPinned(uint32(i), now) {
			work++
			continue // closed once the client has it
		}
		if force || e.acknowledged(c, ask, now) {
			e.close(uint32(i), transport.ReasonShutdown, now)
			work++
		}
	}
	e.flush(telemetry.EgressFlushStop, now)
	e.ending.overdue = e.phase.Expired(now)
	return work
}

// Behind is a connection that an end waited for when it could not wait any longer.
type Behind struct {
	Conn    uint64
	Unsent  int  // bytes that its socket refused
	Unacked int  // bytes in the kernel that the client has not acknowledged
	Reader  bool // it was shut down, and its reader has not released it
}

// Behind returns whether connections were closed before their time, and which of them were awaited,
// after the shard's goroutine has ended.
func (e *Shard) Behind() (forced bool, behind []Behind) { return e.ending.forced, e.ending.behind }

// force records, once, which connections are awaited before all are closed by force: those whose
// sockets refuse bytes, whose clients have not acknowledged what a drain waits for, or whose readers
// have not released them.
func (e *Shard) force() {
	if e.ending.judged {
		return
	}
	e.ending.judged = true
	for i := 1; i < len(e.table.conns); i++ {
		c := &e.table.conns[i]
		if !c.Has(transport.StateOpen) {
			continue
		}
		e.ending.forced = true
		b := Behind{Conn: c.ID}
		if c.Has(transport.StateClosing) {
			b.Reader = !c.Has(transport.StateReaderGone)
		} else if c.BlockedSince() != 0 {
			b.Unsent, b.Unacked = c.Unsent(), e.ring.Unacked(c.FD)
		}
		if b != (Behind{Conn: c.ID}) {
			e.ending.behind = append(e.ending.behind, b)
		}
	}
}

// farewells appends the farewell to every connection that has everything it was sent.
func (e *Shard) farewells(now int64) {
	for i := 1; i < len(e.table.conns); i++ {
		c := &e.table.conns[i]
		if c.Has(transport.StateOpen) && c.Unsent() == 0 && c.Sending() == 0 &&
			!e.behind(c, uint32(i)) {
			e.farewellPinned(uint32(i), now)
		}
	}
}

// farewellPinned is farewell for a connection that may end in the append.
func (e *Shard) farewellPinned(entry uint32, now int64) bool {
	e.table.conns[entry].Pin()
	appended := e.farewell(entry, transport.ReasonShutdown, now)
	e.unpin(entry, now)
	return appended
}

// acknowledged reports that closing the connection loses nothing that the kernel has taken
// (docs/decisions/0024). A client that acknowledges nothing for its no-progress limit is not
// awaited, and near the deadline none is. After the first check, the kernel is asked only if ask is
// set, once a tick.
func (e *Shard) acknowledged(c *transport.Conn, ask bool, now int64) bool {
	if c.BlockedSince() != 0 && !ask {
		return false
	}
	left := e.ring.Unacked(c.FD)
	if left == 0 {
		return true
	}
	// This starts the no-progress clock only: bytes queued in the client's own kernel do not make
	// it slow.
	c.MarkBlocked(now)
	c.ObserveUnread(left, now)
	return c.SinceProgress(now) >= int64(e.class[c.Class].NoProgress) ||
		e.phase.NearDeadline(e.ending.began, now)
}

// Jitter is a connection's moment in a window of the given ns. It must not depend on the half of
// the hash that selected the shard; otherwise each shard would use only a part of the window.
func Jitter(hash uint64, window int64) int64 {
	high, _ := bits.Mul64(hash<<32, uint64(window))
	return int64(high)
}

// fence sends nothing more (R15): every socket is shut down, every buffer discarded, and every
// response counted as dropped.
func (e *Shard) fence(now int64) int {
	work := 0
	e.force()
	if !e.ending.closing {
		// What Gather appended waits for a flush that does not come, and would hold its connection.
		e.ledger.settled = false
		work += e.settle(now)
	}
	for i := 1; i < len(e.table.conns) && !e.ending.closing; i++ {
		if c := &e.table.conns[i]; c.Has(transport.StateOpen) && !c.Has(transport.StateClosing) {
			e.close(uint32(i), transport.ReasonFenced, now)
			work++
		}
	}
	e.ending.closing = true
	e.Gauges.Fenced.Store(true)
	work += e.takeEvents(now)
	for n := 0; n < e.cfg.DrainMax; n++ {
		b, ok := e.mail.frames.Next()
		if !ok {
			break
		}
		if RecordIn(b).Flags&RecordFailed == 0 {
			e.drop(transport.ReasonFenced, responses(b))
		} else {
			e.drop(transport.ReasonEncodeError, responses(b))
		}
		work++
	}
	e.mail.frames.Release()
	// Cancellations, and sends queued early, whose sockets are shut down and take nothing.
	e.submit(now)
	e.ending.overdue = e.phase.Expired(now)
	return work
}

// orphan removes a connection whose socket may still be in use. The ring is closed, so the kernel
// holds no buffer.
func (e *Shard) orphan(entry uint32, now int64) {
	c := &e.table.conns[entry]
	e.abandon(entry, now)
	e.account(c, now)
	c.Free(e.slab)
	e.unsealAll(entry)
	e.ending.orphans = append(e.ending.orphans,
		Orphan{Conn: c.ID, FD: c.FD, Free: c.Has(transport.StateReaderGone)})
	e.freeEntry(entry)
}

// Orphan is a socket that outlived its shard.
type Orphan struct {
	Conn uint64
	FD   int32
	Free bool // its reader has released it; only the kernel still had a request for it
}

// Close implements Actor. It runs after Done, or when the pipeline has failed and connections are
// still open.
func (e *Shard) Close() error {
	why := transport.ReasonShutdown
	if e.phase.Fenced() {
		why = transport.ReasonFenced
	}
	e.refuse(false)
	now := e.timers.tickAt
	e.ledger.settled = false // account for what was appended last, flushed or not
	e.settle(now)
	for i := 1; i < len(e.table.conns); i++ {
		c := &e.table.conns[i]
		if !c.Has(transport.StateOpen) {
			continue
		}
		if !c.Has(transport.StateClosing) {
			c.Reason = why
			e.notify(NoticeClosed, c, now)
			c.Set(transport.StateClosing)
			e.rec.B.C[telemetry.CloseReason(why).Counter()]++
			if err := e.ring.Shutdown(c.FD); err != nil && e.err == nil {
				continue // the peer closed first
			}
		}
	}
	err := e.ring.Close() // cancels what the kernel still holds; only now can buffers be freed
	for i := 1; i < len(e.table.conns); i++ {
		if e.table.conns[i].Has(transport.StateOpen) {
			e.orphan(uint32(i), now)
		}
	}
	for len(e.topics.list) > 0 {
		e.forgetTopic(e.topics.list[0])
	}
	for {
		b, ok := e.mail.frames.Next()
		if !ok {
			break
		}
		e.drop(why, responses(b))
		e.mail.frames.Release()
	}
	if e.list != nil {
		close(e.list.Done)
	}
	e.Gauges.Fenced.Store(true)
	e.Gauges.Connections.Store(0)
	e.mail.notices.Close()
	e.ending.closed = true
	e.rec.Park()
	if e.err != nil {
		return errors.Join(fmt.Errorf("the ring is in doubt; "+
			"the shard stopped because its streams could be torn: %w", e.err), err)
	}
	return err
}

// Late returns the notices of ended connections that found no room, after its goroutine has ended.
func (e *Shard) Late() []Notice { return e.mail.late }

// Leftover returns the sockets that outlived the shard, after its goroutine has ended. A shard that
// panicked was not closed; its sockets are shut down and returned too.
func (e *Shard) Leftover() []Orphan {
	defer run.Unparked(e.rec)()
	// These were published after the shard failed.
	for b, ok := e.mail.frames.Next(); ok; b, ok = e.mail.frames.Next() {
		e.rec.B.C[telemetry.DropFenced.Counter()] += uint64(responses(b))
		e.mail.frames.Release()
	}
	if e.ending.closed {
		return e.ending.orphans
	}
	for i := range e.table.conns {
		if c := &e.table.conns[i]; c.Has(transport.StateOpen) {
			_ = e.ring.Shutdown(c.FD) // a peer that closed first is not an error
			e.ending.orphans = append(e.ending.orphans,
				Orphan{Conn: c.ID, FD: c.FD, Free: c.Has(transport.StateReaderGone)})
			e.permit.Add(-1)
		}
	}
	_ = e.ring.Close() // the panic is the error that is reported
	return e.ending.orphans
}
